"""The client that must never be denied: it never is, wherever windows begin, and it waits for nothing else."""

import pytest
from msgspec.structs import replace

from benchmarks.bans.calls import Call
from benchmarks.bans.controls import Window, bucket, reserving, windows
from benchmarks.bans.limits import Bucket, FixedWindow, Limit, SlidingWindow, seconds
from benchmarks.bans.network import Latency
from benchmarks.bans.scenarios import SCENARIOS

BY_THE_SECOND = replace(SCENARIOS["by-the-second"], span=seconds(20))


def calls_at_once(seed: int, span: int) -> list[Call]:
    return [Call(number=number, at=0, head=100, service=seconds(1), output=10, max_tokens=20_000) for number in range(9)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_call_of_a_cautious_client_is_denied_wherever_windows_begin(seed: int) -> None:
    log = windows(BY_THE_SECOND, seed, [Window(10, seconds(1))]).log

    limits: list[Limit] = [FixedWindow(10, seconds(1), offset) for offset in range(0, 10**6, 50_000)]

    assert len(log) > 50
    for limit in (SlidingWindow(10, seconds(1)), *limits):
        for arrival in log:
            assert limit.earliest(arrival.at, 1) == arrival.at
            limit.spend(arrival.at, 1, arrival.at)


def test_a_cautious_client_sends_as_soon_as_no_window_can_hold_too_many() -> None:
    """The third call may arrive after the least time on its way, and the first has arrived at the latest after the longest."""
    scenario = replace(BY_THE_SECOND, workload=calls_at_once, latency=Latency(base=20, jitter=0))
    arrivals = [arrival.at for arrival in windows(scenario, 1, [Window(2, 1_000)]).log]

    assert [20, 20, 1_020, 1_020, 2_020] == arrivals[:5]


def test_a_cautious_client_is_not_denied_by_a_bucket() -> None:
    limit = Bucket(100, seconds(1), 100)

    for arrival in bucket(SCENARIOS["bucket"], 1).log:
        assert limit.earliest(arrival.at, 1) == arrival.at
        limit.spend(arrival.at, 1, arrival.at)


def test_a_client_that_reserves_has_as_many_answers_under_way_as_the_burst_allows() -> None:
    scenario = replace(SCENARIOS["tokens-used"], workload=calls_at_once, latency=Latency(base=0, jitter=0))
    log, output = reserving(scenario, 1).log, Bucket(60_000, seconds(60), 60_000)

    assert [0, 0, 0, seconds(1)] == [arrival.at for arrival in log[:4]]
    for arrival in log:
        assert output.earliest(arrival.at, 10) == arrival.at
