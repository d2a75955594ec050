"""Lines on the logger `governor`: a change of state is logged once, requests are not, and a flood is bounded."""

import logging
from collections.abc import Callable

import anyio
import pytest

from governor import Config, Governor
from governor.instrumentation.notices import MAX_LINES
from governor.testing import loop_clock
from tests.support.answers import granted

pytestmark = [pytest.mark.anyio]

Lines = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What was logged since the last call, without the time of day."""
    caplog.set_level(logging.INFO, logger="governor")

    def said() -> list[tuple[str, str]]:
        told = [(record.levelname, record.getMessage().split(", until")[0]) for record in caplog.records]
        caplog.clear()
        return told

    return said


def governed(breaker: object = None, **global_: object) -> Governor:
    scope = {"limits": [], "breaker": breaker or {"failures": 3, "open_for": "30s"}}
    return Governor(Config.from_mapping({"global": global_, "outbound": {"default": scope}}), clock=loop_clock())


def call(governor: Governor, scope: str, *statuses: int) -> None:
    for status in statuses:
        granted(governor.try_permit(*scope.split(":"))).record(status=status)


@pytest.mark.promise("R06")
async def test_a_breaker_logs_why_it_opens_for_how_long_and_that_it_closes(lines: Lines) -> None:
    async with governed() as governor:
        call(governor, "weather:get", 200, 500, 503, 500)
        for _ in range(100):
            governor.try_permit("weather", "get")
        await anyio.sleep(30)
        call(governor, "weather:get", 500)
        await anyio.sleep(60)
        call(governor, "weather:get", 200, 200, 200)

    assert [
        ("WARNING", "The circuit breaker of weather:get opened after 3 failures in a row: no calls for 30.0 s"),
        ("WARNING", "The circuit breaker of weather:get opened again after a failed probe: no calls for 36.0 s"),
        ("INFO", "The circuit breaker of weather:get closed: its probes went well."),
    ] == lines()


@pytest.mark.promise("R06")
@pytest.mark.parametrize("window", [{"window_calls": 10}, {"window": "1h"}])
async def test_a_breaker_that_opens_on_a_rate_logs_the_rate(lines: Lines, window: dict[str, object]) -> None:
    async with governed({"failures": "off", "failure_rate": 0.5, "minimum_calls": 4, **window}) as governor:
        call(governor, "weather", 200, 500, 200, 500)

    assert [("WARNING", "The circuit breaker of weather opened after 2 of 4 calls failed: no calls for 60.0 s")] == lines()


@pytest.mark.promise("R06")
async def test_breakers_that_flap_log_so_many_lines_in_a_minute_and_then_how_many_more_there_were(lines: Lines) -> None:
    async with governed({"failures": 1}, degraded_after_failures="off", requests_per_minute="off") as governor:
        for number in range(1_000):
            call(governor, f"weather{number}", 500)
        flood = lines()
        await anyio.sleep(59)
        nothing = lines()
        await anyio.sleep(2)
        rest = lines()
        await anyio.sleep(3600)
        call(governor, "weather", 500)
        later = lines()

    assert MAX_LINES == len(flood)
    assert ([], [("WARNING", f"{1_000 - MAX_LINES} more lines about circuit breakers were held back in the last minute.")]) == (
        nothing,
        rest,
    )
    assert [("WARNING", "The circuit breaker of weather opened after a failure: no calls for 60.0 s")] == later


@pytest.mark.promise("R08")
async def test_degraded_mode_logs_who_began_it_and_that_it_is_over(lines: Lines) -> None:
    async with governed({"failures": 1000}) as governor:
        for _ in range(2):
            call(governor, "weather", *[500] * 6)
            call(governor, "traffic", *[500] * 4)
            for _ in range(100):
                governor.try_permit("weather")
            await anyio.sleep(61)

    pause = [
        ("WARNING", "Degraded mode began: failures in a row of weather, traffic. Outbound traffic is paused for 60.0 s"),
        ("INFO", "Degraded mode ended: outbound traffic goes on."),
    ]
    assert pause * 2 == lines()


@pytest.mark.promise("R08")
async def test_a_pause_by_the_cap_and_its_early_end_are_logged(lines: Lines) -> None:
    async with governed(requests_per_minute=2) as governor:
        for _ in range(4):
            governor.try_permit("weather")
        await anyio.sleep(5)
        governor.resume()
        governor.resume()
        said = lines()
        await anyio.sleep(100)

    assert [
        "More than 80 % of the cap of 2 requests per minute is used: 2 in the last 60 s.",
        (
            "Degraded mode began: the cap of 2 requests per minute denied too many of weather. "
            "Outbound traffic is paused for 60.0 s"
        ),
        "Degraded mode ended: outbound traffic goes on.",
    ] == [text for _, text in said]
    assert [] == lines()


@pytest.mark.promise("R07")
async def test_use_of_the_cap_is_warned_of_when_it_passes_four_fifths_and_again_only_after_it_has_fallen(lines: Lines) -> None:
    async with governed() as governor:
        call(governor, "weather", *[200] * 800)
        before = lines()
        call(governor, "weather", *[200] * 200)
        await anyio.sleep(61)
        fallen = lines()
        for _ in range(600):  # 900 in each minute, for half an hour.
            call(governor, "weather", *[200] * 45)
            await anyio.sleep(3)
        high = lines()
        await anyio.sleep(9)  # It falls to 720 or so: that is not far enough.
        call(governor, "weather", *[200] * 100)
        never_calm = lines()
        await anyio.sleep(40)
        call(governor, "weather", *[200] * 600)
        again = lines()

    warning = "More than 80 % of the cap of 1000 requests per minute is used: 801 in the last 60 s."
    assert ([], [("WARNING", warning)], [], []) == (before, fallen, high[1:], never_calm)
    assert [("WARNING", "More than 80 % of the cap of 1000 requests per minute is used")] == [
        (level, text.split(":")[0]) for level, text in high
    ]
    assert [("WARNING", warning)] == again


@pytest.mark.promise("R07")
async def test_without_a_cap_nothing_is_warned_of_and_with_a_new_one_it_is(lines: Lines) -> None:
    async with governed(requests_per_minute="off") as governor:
        call(governor, "weather", *[200] * 5000)
        before = lines()
        governor.reconfigure(
            Config.from_mapping({"outbound": {"default": {"limits": []}}, "global": {"requests_per_minute": 6000}})
        )
        call(governor, "weather")
        granted(governor.try_permit("weather"))
        after = lines()

    assert ([], 1) == (before, len(after))


async def test_handlers_of_logging_that_fail_disturb_nothing() -> None:
    class Failing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ZeroDivisionError

    failing, logger = Failing(), logging.getLogger("governor")
    logger.addFilter(failing)
    try:
        async with governed() as governor:
            call(governor, "weather", 500, 500, 500)
            breaker = governor.statistics().scopes["weather"].breaker
    finally:
        logger.removeFilter(failing)

    assert "open" == breaker.status
