"""The adaptive mode of the AWS SDKs, beside series that botocore and its siblings publish (Apache-2.0)."""

import pytest

from benchmarks.bans.contenders.adaptive import BETA, Cubic, RateClocker, RateLimiter


def test_the_rate_after_successes_follows_the_published_curve() -> None:
    cubic = Cubic(10.0, 5.0)
    published = [
        7.0,
        9.64893600966,
        10.000030849917364,
        10.453284520772092,
        13.408697022224185,
        21.26626835427364,
        36.425998516920465,
    ]

    assert published == pytest.approx([cubic.succeeded(now) for now in (5, 6, 7, 8, 9, 10, 11)], rel=1e-9)


def test_the_rate_among_successes_and_denials_follows_the_published_series() -> None:
    cubic = Cubic(10.0, 5.0)
    rate, rates = 0.0, []
    for now in (5, 6, 7, 8, 9, 10, 11, 12):
        rate = cubic.throttled(rate, now) if now in {7, 8} else cubic.succeeded(now)
        if now in {7, 8}:
            cubic = Cubic(rate, now)
        rates.append(rate)
    published = [
        7.0,
        9.64893600966,
        6.754255206761999,
        4.727978644733399,
        4.670125557970046,
        4.770870456867401,
        6.011819748005445,
        10.792973431384178,
    ]

    assert published == pytest.approx(rates, rel=1e-9)


def test_the_limiter_follows_the_published_series_of_answers() -> None:
    limiter = RateLimiter(0.0)
    published = [
        (0.2, False, 0.0, 0.5), (0.4, False, 0.0, 0.5), (0.6, False, 4.8, 0.5), (0.8, False, 4.8, 0.5), (1.0, False, 4.16, 0.5),
        (1.2, False, 4.16, 0.6912), (1.4, False, 4.16, 1.0976), (1.6, False, 5.632, 1.6384), (1.8, False, 5.632, 2.3328),
        (2.0, True, 4.3264, 3.02848), (2.2, False, 4.3264, 3.48663917347026), (2.4, False, 4.3264, 3.821874416040255),
        (2.6, False, 5.66528, 4.053385727709987), (2.8, False, 5.66528, 4.200373108479454),
        (3.0, False, 4.333056, 4.282036558348658), (3.2, True, 4.333056, 2.99742559084406),
        (3.4, False, 4.333056, 3.4522263943863463),
    ]  # fmt: skip
    for now, throttled, measured, rate in published:
        limiter.answered(now, throttled=throttled)

        assert (measured, rate) == pytest.approx((limiter.measured, limiter.fill_rate), rel=1e-9)


def test_the_measured_rate_is_smoothed_over_half_seconds() -> None:
    clocker = RateClocker(0.0)

    assert 9.6 == pytest.approx([clocker.record(now) for now in (0.1, 0.2, 0.3, 0.4, 0.49, 0.5)][-1])


def test_a_token_that_was_denied_is_not_taken_and_all_waiters_wait_alike() -> None:
    limiter = RateLimiter(0.0)
    assert 0.0 == limiter.wait(0.0)
    limiter.answered(0.0, throttled=True)

    assert [1.9] * 10 == pytest.approx([limiter.wait(0.1) for _ in range(10)])
    assert 0.0 == limiter.wait(2.1)
    assert 0 < limiter.wait(2.1)
    assert 0.7 == BETA


def test_the_rate_is_never_more_than_twice_the_measured_one() -> None:
    limiter = RateLimiter(0.0)
    for tenth in range(600):
        limiter.answered(tenth / 10, throttled=False)

    assert 2 * limiter.measured == pytest.approx(limiter.fill_rate)
