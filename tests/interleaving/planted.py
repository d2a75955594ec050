"""Faults that are planted in a lease, each with a scenario in which it shows.

Which orders of events find one depends on what a process has run before: CPython runs some bytecodes of a function at once when
it has run it a few times with values of one type. So each is looked for in a fresh process.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final
from unittest.mock import patch

from governor._actors.actor import ScopeActor
from governor._actors.failures import Failures
from governor._actors.leases.lease import LocalHolder
from governor._actors.leases.leased_places import LeasedPlaces
from governor._actors.leases.leasing import Leasing
from governor._actors.mailbox import Mailbox
from governor._actors.stepped import Stepped
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.windows.window import StrictWindowPolicy
from tests.interleaving import faults
from tests.interleaving.bytecodes import instrumented
from tests.interleaving.world import Ask, Scenario, World

#: So many orders of events are tried at most before a fault counts as not found.
TRIES: Final = 400


def some_scripts(random: Random, scopes: str, statuses: tuple[int | None, ...] = (200,), asks: int = 30) -> list[list[Ask]]:
    return [[Ask(random.choice(scopes), random.choice(statuses)) for _ in range(asks)] for _ in range(3)]


def bucket(random: Random) -> Scenario:
    """A lease may lie about for as long as it takes to fill the bucket."""
    return Scenario("30/minute burst 30", some_scripts(random, "a", asks=80), ticks=(60_000_000,), tick_every=80)


def still_bucket(random: Random) -> Scenario:
    """All there is is asked for, nothing comes after it, and who asks for all of it brings back what is granted ahead."""
    return Scenario("1/day burst 150", [[Ask("a")] * 60 for _ in range(3)], [Ask("a", cost=150)] * 40)


def recalling(random: Random) -> Scenario:
    """As `still_bucket`, and others have their turn between any two bytecodes of a recall."""
    return Scenario("1/day burst 150", [[Ask("a")] * 60 for _ in range(3)], [Ask("a", cost=150)] * 40, closely=("recall",))


def counting(random: Random) -> Scenario:
    """As `recalling`, between any two bytecodes of a look at the successes."""
    return Scenario(
        "1/day burst 150", [[Ask("a")] * 60 for _ in range(3)], [Ask("a", cost=150)] * 40, closely=("_take", "succ")
    )


def cap(random: Random) -> Scenario:
    """A lease may lie about for half of the window."""
    return Scenario("1000/s burst 1000", some_scripts(random, "ab", asks=60), cap=40, ticks=(31_000_000,), tick_every=80)


def window(random: Random) -> Scenario:
    """A lease may lie about for half of the window."""
    scripts = some_scripts(random, "a", asks=60)
    return Scenario("80 per minute strict", scripts, counted="outcome", ticks=(31_000_000,), tick_every=200)


def still_window(random: Random) -> Scenario:
    """As `still_bucket`."""
    return Scenario("150 per day strict", [[Ask("a")] * 60 for _ in range(3)], [Ask("a", cost=150)] * 40)


def flights(random: Random) -> Scenario:
    """Others have their turn between any two bytecodes with which places are recalled, or handed to the actor."""
    return Scenario("4 in flight", [[Ask("a")] * 14 for _ in range(3)], [Ask("a", cost=4)] * 12, closely=("close", "call_back"))


def opening(random: Random) -> Scenario:
    return Scenario("1000/s burst 1000", some_scripts(random, "a", (200,) * 12 + (500,)), failures=1)


def pausing(random: Random) -> Scenario:
    return Scenario("1000/s burst 1000", some_scripts(random, "abc", (200,) * 12 + (500,)), degraded_after=1)


def beginning(random: Random) -> Scenario:
    """Several callers find an actor at rest."""
    return Scenario("1000/s burst 1000", [[Ask("a")] * 3 for _ in range(3)])


#: A scenario, what plants the fault, and the seed that finds it now, which is tried first: others take up to a hundred tries.
PLANTED: Final[list[tuple[Callable[[Random], Scenario], Any, int]]] = [
    (bucket, patch.object(TokenBucketPolicy, "collect", faults.refill_capped_with_the_count_after_the_pops), 24),
    (cap, patch.object(RequestCapPolicy, "collect", faults.use_dated_at_the_grant), 24),
    (still_bucket, patch.object(LocalHolder, "recall", faults.recall_that_counts_permits_that_calls_have_taken), 24),
    (recalling, patch.object(LocalHolder, "recall", faults.recall_that_looks_and_then_takes), 13),
    (still_bucket, patch.object(LocalHolder, "recall", faults.recall_that_leaves_the_lease_as_it_is), 43),
    (counting, patch.object(LocalHolder, "_take_successes", faults.successes_counted_between_two_looks_at_the_tally), 41),
    (flights, patch.object(LeasedPlaces, "call_back", faults.place_left_where_nothing_looks_any_more), 33),
    (
        flights,
        patch.object(LeasedPlaces, "call_back", faults.place_given_back_to_the_actor_without_a_look_whether_it_is_there),
        21,
    ),
    (window, patch.object(StrictWindowPolicy, "ended", faults.outcome_dated_when_its_permit_was_leased), 43),
    (still_window, patch.object(LocalHolder, "recall", faults.recall_that_counts_permits_that_calls_have_taken), 24),
    (bucket, patch.object(Mailbox, "_on_notified", faults.post_forgotten_after_the_inbox_was_read), 24),
    (pausing, patch.object(Failures, "read", faults.failures_taken_off_the_list_before_they_are_read), 1),
    (opening, patch.object(ScopeActor, "take", faults.lease_entered_while_a_failure_is_unread), 24),
    (opening, patch.object(Leasing, "recall_here", faults.nothing_taken_back), 24),
    (cap, patch.object(Pipeline, "lease", faults.nothing_accounted_for), 24),
    (beginning, patch.object(Stepped, "_make_steps", faults.steps_made_without_a_look_at_those_of_other_threads), 19),
]


@instrumented()
def find(number: int) -> int:
    """The seed of an order of events in which this fault shows, and without it nothing does."""
    scenario, fault, seed = PLANTED[number]
    fails(World(scenario(Random(0)), 0))  # So that no function runs for the first time in what follows.
    with fault:
        found: int = next(seed for seed in (seed, *range(TRIES)) if fails(World(scenario(Random(seed)), seed)))

    without = World(scenario(Random(found)), found)
    without.run()
    assert all(seen.admitted for seen in without.seen.values()) or scenario in (opening, pausing)
    return found


def fails(world: World) -> bool:
    try:
        world.run()
    except AssertionError:
        return True
    return False
