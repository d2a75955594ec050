"""Both contenders get the same calls, at the requested pace."""

from itertools import islice

import pytest

from demo.rules import READ, WRITE
from demo.traffic import MAX_CALLS, bursts, calls
from governor import ConfigError


def test_time_runs_as_many_times_as_fast_as_said_and_ends_where_said() -> None:
    made = calls([0.0, 2.0, 4.0, 6.0], speed=2.0, span=3.0, seed=1)

    assert [0.0, 1.0, 2.0] == [call.at for call in made]


def test_the_seed_decides_alone() -> None:
    first, second = (calls(bursts(7), speed=3.0, span=10.0, seed=7) for _ in range(2))

    assert first == second


def test_another_seed_is_another_workload() -> None:
    assert list(islice(bursts(1), 10)) != list(islice(bursts(2), 10))


def test_some_calls_write_and_more_read() -> None:
    methods = [call.method for call in calls(map(float, range(1000)), speed=1.0, span=1000.0, seed=1)]

    assert {READ, WRITE} == set(methods)
    assert methods.count(READ) > methods.count(WRITE)


def test_generated_arrivals_are_in_order_and_come_in_bursts() -> None:
    arrivals = list(islice(bursts(1), 5_000))
    seconds = [0] * (int(arrivals[-1]) + 1)
    for arrival in arrivals:
        seconds[int(arrival)] += 1
    mean = len(arrivals) / len(seconds)
    variance = sum((count - mean) ** 2 for count in seconds) / len(seconds)

    assert arrivals == sorted(arrivals)
    # Arrivals that know nothing of each other have a variance like their mean.
    assert variance > 2 * mean


def test_too_many_calls_are_denied_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="--speed"):
        calls([0.0] * (MAX_CALLS + 1), speed=1.0, span=1.0, seed=1)
