"""Every promise of a lease holds wherever one thread is stopped and another goes on."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import settings

from governor import Reason
from tests.interleaving.world import Ask, Scenario, World
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R51")

Scripts = list[list[Ask]]

#: From when on a call counts in a strict window.
COUNTED: Final = st.sampled_from(["arrival", "outcome"])
SEEDS: Final = st.integers(0, 2**32)
#: Each example has many interleavings, and takes as long as a hundred elsewhere.
few: Final = settings(max_examples=settings.default.max_examples // 2)  # type: ignore[union-attr] # there is a profile
fewer: Final = settings(max_examples=settings.default.max_examples // 4)  # type: ignore[union-attr] # there is a profile
#: Mostly next to nothing, now and then as long as it takes to take a lease back, to fill a bucket, or to leave a window.
TICKS: Final = (1, 1, 1_000, 10_000, 20_000, 60_000_000)
#: On the loop of the actors, in between.
HERE: Final = st.lists(st.builds(Ask, st.sampled_from("ab"), cost=st.sampled_from([1, 1, 3, 8])), max_size=10)


def scripts(
    scopes: Sequence[str] = "ab",
    statuses: Sequence[int | None] = (200,),
    timeouts: Sequence[float | None] = (None,),
    most: int = 30,
) -> st.SearchStrategy[Scripts]:
    ask = st.builds(Ask, st.sampled_from(scopes), st.sampled_from(statuses), st.sampled_from(timeouts))
    return st.lists(st.lists(ask, min_size=1, max_size=most), min_size=2, max_size=4)


def test_permits_are_granted_ahead_in_these_worlds() -> None:
    """So that what follows says something of them."""
    script = [Ask("a")] * 30
    limits = ("1/day burst 1000", "1000 per day strict", "8 in flight")
    worlds = [World(Scenario(limits[seed % 3], [script] * 3), seed) for seed in range(30)]
    for world in worlds:
        world.run()

    assert all(world.leased >= 9 for world in worlds)


@pytest.mark.promise("R02", "R04", "R55")
@few
@given(scripts(statuses=(200, 200, 200, None), timeouts=(None, None, 100.0)), HERE, st.sampled_from([8, 20, 100]), SEEDS)
def test_no_bucket_gives_more_than_it_has_and_every_call_is_answered(
    scripts: Scripts, here: list[Ask], burst: int, seed: int
) -> None:
    World(Scenario(f"100/minute burst {burst}", scripts, here, ticks=TICKS), seed).run()


@pytest.mark.promise("R02")
@few
@given(scripts("a", statuses=[200] * 6 + [500]), st.lists(st.just(Ask("a")), max_size=10), st.integers(1, 100), SEEDS)
def test_while_time_stands_still_a_bucket_gives_all_it_has_and_not_one_more(
    scripts: Scripts, here: list[Ask], burst: int, seed: int
) -> None:
    world = World(Scenario(f"1/day burst {burst}", scripts, here), seed)
    world.run()
    seen = world.seen["a"]
    asks = sum(map(len, (*scripts, here)))

    assert min(burst, asks) == len(seen.admitted)
    assert {Reason.RATE_LIMIT} >= set(seen.denied)


@pytest.mark.promise("R02", "R04")
@fewer
@given(
    scripts(statuses=(200, 200, 200, None), timeouts=(None, None, 100.0)),
    HERE,
    st.sampled_from([8, 20, 100]),
    COUNTED,
    SEEDS,
)
def test_no_strict_window_holds_more_than_it_may_and_every_call_is_answered(
    scripts: Scripts, here: list[Ask], amount: int, counted: str, seed: int
) -> None:
    World(Scenario(f"{amount} per minute strict", scripts, here, counted=counted, ticks=TICKS), seed).run()


@pytest.mark.promise("R02")
@fewer
@given(scripts("a"), st.lists(st.just(Ask("a")), max_size=10), st.integers(1, 100), COUNTED, SEEDS)
def test_while_time_stands_still_a_strict_window_gives_all_it_has_and_not_one_more(
    scripts: Scripts, here: list[Ask], amount: int, counted: str, seed: int
) -> None:
    world = World(Scenario(f"{amount} per day strict", scripts, here, counted=counted), seed)
    world.run()
    seen = world.seen["a"]

    assert min(amount, sum(map(len, (*scripts, here)))) == len(seen.admitted)
    assert {Reason.RATE_LIMIT} >= set(seen.denied)


@pytest.mark.promise("R02", "R04")
@fewer
@given(
    scripts(statuses=(200, 200, 200, 404, 500, None), timeouts=(None, None, 100.0), most=15),
    HERE,
    st.sampled_from([1, 2, 3, 8]),
    SEEDS,
)
def test_no_more_calls_are_in_flight_than_may_be_and_every_call_is_answered(
    scripts: Scripts, here: list[Ask], amount: int, seed: int
) -> None:
    scenario = Scenario(f"{amount} in flight", scripts, here, ticks=TICKS, closely=("call_back", "close"))
    World(scenario, seed).run()


@pytest.mark.promise("R07")
@few
@given(scripts("abc"), HERE, st.sampled_from([10, 40, 100]), SEEDS)
def test_all_scopes_together_never_get_more_than_the_cap_within_a_minute(
    scripts: Scripts, here: list[Ask], cap: int, seed: int
) -> None:
    World(Scenario("1000/s burst 1000", scripts, here, cap=cap, ticks=TICKS), seed).run()


@pytest.mark.promise("R07", "R08")
@few
@given(scripts("abc"), st.integers(1, 120), SEEDS)
def test_while_time_stands_still_they_get_all_of_the_cap(scripts: Scripts, cap: int, seed: int) -> None:
    world = World(Scenario("1/day burst 1000", scripts, cap=cap), seed)
    world.run()

    assert min(cap, sum(map(len, scripts))) == sum(len(seen.admitted) for seen in world.seen.values())


@pytest.mark.promise("R06")
@few
@given(scripts(statuses=[200] * 8 + [500]), SEEDS)
def test_after_the_failure_that_opens_its_breaker_no_call_gets_a_permit_of_the_scope(scripts: Scripts, seed: int) -> None:
    World(Scenario("1000/s burst 1000", scripts, failures=1, ticks=(1, 1_000, 20_000)), seed).run()


@pytest.mark.promise("R08")
@few
@given(scripts("abc", statuses=[200] * 12 + [500]), SEEDS)
def test_after_the_failure_that_begins_degraded_mode_no_call_gets_a_permit_of_any_scope(scripts: Scripts, seed: int) -> None:
    World(Scenario("1000/s burst 1000", scripts, degraded_after=1, ticks=(1, 1_000, 20_000)), seed).run()


@pytest.mark.promise("R06", "R08")
@few
@given(st.lists(st.sampled_from([200, 500]), min_size=10, max_size=40), scripts("b"), SEEDS)
def test_what_one_thread_reports_is_read_in_its_order(statuses: list[int], others: Scripts, seed: int) -> None:
    """A breaker that opens after two failures in a row opens if there were two, and only then."""
    world = World(Scenario("1/day burst 1000", [[Ask("a", status) for status in statuses], *others], failures=2), seed)
    world.run()
    in_a_row = [first == second == 500 for first, second in pairwise(statuses)]
    expected = in_a_row.index(True) + 2 if any(in_a_row) else len(statuses)

    assert expected == len(world.seen["a"].admitted)
