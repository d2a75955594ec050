"""The daemon remembers the rates and events of the last hour, and no more than that."""

from typing import Any

import anyio
import pytest

from governor import Config, Governor, Reason
from governor.daemon.history import ALL, INTERVAL, LENGTH, MAX_ENTRIES, MAX_SERIES, History
from governor.daemon.reading import Observer
from governor.daemon.recorder import recording
from governor.instrumentation import Entry, Tone
from governor.testing import ManualClock
from tests.unit.daemon.statuses import NOW, scope, statistics

SCOPE = "outbound:github:get"


def seen(*looks: tuple[float, int, int], key: str = SCOPE, **options: Any) -> History:
    """A history of a scope that had granted and denied so many calls at these times."""
    history = History()
    for at, granted, denied in looks:
        counted = scope(requests=granted, denied={Reason.RATE_LIMIT: denied} if denied else {})
        history.add(statistics({key: counted}, now=NOW + at, **options))
    return history


def entry(at: float, group: str = "") -> Entry:
    return Entry(at=at, event="call_denied", tone=Tone.DENIED, subject="github", text="denied", group=group)


def test_rates_are_those_between_two_readings() -> None:
    report = seen((0, 0, 0), (10, 50, 0), (20, 60, 30)).report(SCOPE)

    assert ([NOW, NOW + 10, NOW + 20], [None, 5.0, 1.0], [None, 0.0, 3.0]) == (
        report.times,
        report.series[SCOPE].granted,
        report.series[SCOPE].denied,
    )
    assert report.series[SCOPE] == report.series[ALL]


def test_readings_in_between_change_nothing() -> None:
    assert [None, 5.0] == seen((0, 0, 0), (1, 9, 0), (5, 20, 0), (10, 50, 0)).report().series[ALL].granted


def test_nothing_is_known_of_a_time_without_readings() -> None:
    assert [None, 5.0, None, 1.0] == seen((0, 0, 0), (10, 50, 0), (100, 60, 0), (110, 70, 0)).report().series[ALL].granted


def test_a_clock_set_back_starts_over() -> None:
    assert [NOW - 50] == seen((0, 0, 0), (10, 50, 0), (-50, 60, 0)).report().times


def test_a_new_scope_has_no_rates_before_its_first_reading() -> None:
    history = seen((0, 0, 0))
    history.add(statistics({SCOPE: scope(), "outbound:new": scope(requests=10)}, now=NOW + 10))

    assert [None, 1.0] == history.report("outbound:new").series["outbound:new"].granted


def test_an_hour_is_kept_and_no_more() -> None:
    history = seen(*((number * INTERVAL, number, 0) for number in range(LENGTH + 9)))

    assert (LENGTH, LENGTH, 3600.0) == (
        len(history.report().times),
        len(history.report().series[ALL].granted),
        LENGTH * INTERVAL,
    )


def test_so_many_scopes_have_rates_and_the_sum_is_true_all_the_same() -> None:
    history = History()
    for at, granted in ((0, 0), (10, 10)):
        history.add(
            statistics({f"outbound:{number}": scope(requests=granted) for number in range(MAX_SERIES + 5)}, now=NOW + at)
        )

    assert [None, float(MAX_SERIES + 5)] == history.report().series[ALL].granted
    assert {ALL} == set(history.report(f"outbound:{MAX_SERIES + 4}").series)


def test_so_many_events_are_kept_and_alike_ones_are_one() -> None:
    history = History()
    for number in range(MAX_ENTRIES + 10):
        history.tell(entry(NOW + number, group="github rate" if number % 2 else ""))
    told = history.report().timeline

    assert NOW + MAX_ENTRIES + 8 == told[-1].at
    assert [NOW + number for number in range(1, MAX_ENTRIES, 30)] == [one.at for one in told if one.group][
        : MAX_ENTRIES // 30 + 1
    ]
    assert len(told) <= MAX_ENTRIES


@pytest.mark.promise("R30")
@pytest.mark.anyio
async def test_the_history_grows_while_no_page_is_open() -> None:
    with Governor(Config.from_mapping({}), clock=ManualClock()) as governor:
        observer = Observer(governor)
        with recording(observer):
            while not observer.history.report().times:  # noqa: ASYNC110 - a thread that sets nothing
                await anyio.sleep(0.01)
        listening = bool(governor._listeners.announcer.listening)

    assert (False, False) == (listening, observer.recorded)
