"""Every promise is kept under generated loads, faults, misbehaving clocks and changes of the settings.

Everything is judged by what providers and callers have seen.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import Phase, settings
from hypothesis.strategies import random_module

from governor import CounterRecord, InFlight, Priority, Statistics, StrictWindow, TokenBucket
from tests.simulation.load import (
    LIMITS,
    MINUTE,
    SCOPES,
    Ask,
    Fault,
    Story,
    Task,
    Use,
    configs,
    everywhere,
    faults,
    run,
    sections,
    tasks,
    tenths,
)
from tests.support import tape as st
from tests.support.tape import given

#: A clock that stands still may make the governor this many seconds late, and timers are a thousandth late at most.
LATE: Final = 0.0121


def judge(story: Story) -> None:
    world = story.world
    assert [] == [ask for ask in world.asks if ask.answered is None and ask.task.patience is None], "every ask is answered"
    assert [] == story.tasks_left, "no task is left"
    for scope in SCOPES:
        for kind in {(ask.task.priority, ask.task.caller) for ask in world.asks}:
            judge_order([ask for ask in world.asks if is_of(ask, scope, kind) and ask.granted_at is not None])
        judge_end(story.end, scope)
        judge_scope(story, scope)
    judge_deadlines(world.asks)
    judge_cap(story)
    assert 0.0 == story.end.degraded_for, "degraded mode is over"
    judge_counters(story.end.counters, len([ask for ask in world.asks if ask.granted_at is not None]))


def judge_scope(story: Story, scope: str) -> None:
    uses = sorted((use for use in story.world.uses if use.task.scope == scope), key=lambda use: (use.granted_at, use.begun))
    eras = [config.for_scope(scope).limits for _, config in story.eras]
    for number, limits in enumerate(eras):
        for limit in limits:
            match limit:
                case StrictWindow():
                    first = began(eras, number, lambda one, limit=limit: remembers(one, limit))  # type: ignore[misc]  # a default argument
                    judge_window(story, uses, first, number, limit)
                case InFlight():
                    first = began(eras, number, lambda one: isinstance(one, InFlight))
                    judge_in_flight(story, uses, first, number, limit)
                case TokenBucket():
                    first = began(eras, number, lambda one, limit=limit: one == limit)  # type: ignore[misc]  # a default argument
                    inside = [use for use in uses if first <= story.era(use.granted_at) <= number]
                    judge_bucket(inside, [(0, limit)])
                case _:
                    raise AssertionError("a limit that no judge knows")
    buckets = [[limit for limit in limits if isinstance(limit, TokenBucket)] for limits in eras]
    if all(len(bucket) == 1 for bucket in buckets) and len({bucket[0].unit for bucket in buckets}) == 1:
        judge_bucket(uses, [(since, bucket[0]) for (since, _), bucket in zip(story.eras, buckets, strict=True)])


def began(eras: Sequence[Sequence[object]], number: int, holds: Callable[[object], bool]) -> int:
    """The first of the eras without a gap until this one, in each of which some limit does so."""
    while number and any(holds(limit) for limit in eras[number - 1]):
        number -= 1
    return number


def remembers(one: object, limit: StrictWindow) -> bool:
    return isinstance(one, StrictWindow) and one.unit == limit.unit and one.per >= limit.per


def judge_window(story: Story, uses: list[Use], first: int, last: int, limit: StrictWindow) -> None:
    """No window of the provider's own whose last call was granted in era `last` has more than allowed then."""
    seen = {id(use): use.arrived(margin(story, use, last)) for use in uses}
    known = sorted((use for use in uses if first <= story.era(use.granted_at) <= last), key=lambda use: seen[id(use)])
    for place, opening in enumerate(known):
        window = [use for use in known[place:] if seen[id(use)] < seen[id(opening)] + limit.per]
        while window and story.era(max(use.granted_at for use in window)) < last:
            window.pop()
        for size in range(len(window), 0, -1):
            part = window[:size]
            if story.era(max(use.granted_at for use in part)) == last:
                assert sum(amount(use.task, limit.unit) for use in part) <= limit.amount, f"{limit} is exceeded"


def margin(story: Story, use: Use, last: int) -> int | None:
    """By how much the use arrives after its grant at most, if windows have counted by arrival at any time from then on."""
    eras = [config.for_scope(use.task.scope).arrivals for _, config in story.eras[story.era(use.granted_at) : last + 1]]
    return max((arrivals.margin for arrivals in eras if not arrivals.by_outcome), default=None)


def judge_in_flight(story: Story, uses: list[Use], first: int, last: int, limit: InFlight) -> None:
    known = [use for use in uses if first <= story.era(use.granted_at) <= last]
    for use in known:
        if story.era(use.granted_at) == last:
            under_way = [other for other in known if other.begun <= use.begun < other.ended]
            before = [other for other in under_way if story.era(other.granted_at) <= last]
            assert sum(other.task.cost["requests"] for other in before) <= limit.amount, f"{limit} is exceeded"


def judge_bucket(uses: list[Use], eras: list[tuple[int, TokenBucket]]) -> None:
    """A bucket of which the same part is left whenever it changes, never overdrawn."""
    (_, limit), *changes = eras
    tokens, before = Fraction(limit.burst), 0

    def fill(until: int) -> None:
        nonlocal tokens, before
        tokens = min(Fraction(limit.burst), tokens + Fraction((until - before) * limit.amount, limit.per))
        before = until

    for use in uses:
        while changes and changes[0][0] <= use.granted_at:
            since, after = changes.pop(0)
            fill(since)
            tokens, limit = tokens * after.burst / limit.burst, after
        fill(use.granted_at)
        tokens -= amount(use.task, limit.unit)
        assert tokens >= 0, f"{limit} is overdrawn at {use.granted_at}"


def judge_cap(story: Story) -> None:
    uses = sorted(story.world.uses, key=lambda use: use.granted_at)
    for place, use in enumerate(uses):
        minute = [other for other in uses[: place + 1] if other.granted_at > use.granted_at - MINUTE]
        cap = story.eras[story.era(use.granted_at)][1].global_.requests_per_minute
        assert cap is None or sum(other.task.cost["requests"] for other in minute) <= cap, "the cap is exceeded"


def amount(task: Task, unit: str) -> int:
    return task.cost.get(unit, 0)


def is_of(ask: Ask, scope: str, kind: tuple[Priority, str | None]) -> bool:
    return ask.task.scope == scope and (ask.task.priority, ask.task.caller) == kind


def judge_order(granted: list[Ask]) -> None:
    order = [ask.granted_at or 0 for ask in sorted(granted, key=lambda ask: ask.number)]
    assert sorted(order) == order, "first come, first served"


def judge_deadlines(asks: list[Ask]) -> None:
    late = [
        ask
        for ask in asks
        if ask.answered is not None and ask.task.timeout is not None and ask.answered > ask.asked + ask.task.timeout + LATE
    ]
    assert [] == late, "no call is answered later than its timeout"


def judge_counters(total: CounterRecord, granted: int) -> None:
    """Every permit was used by one call, and has ended in one way."""
    ended = total.answered_2xx + total.answered_4xx + total.answered_5xx + total.failures + total.neutral + total.others
    assert ended == total.requests, "nothing is under way"
    assert granted <= total.requests


def judge_end(end: Statistics, scope: str) -> None:
    if scope in end.scopes:
        record = end.scopes[scope]
        assert 0 == record.waiting, f"a call still waits in {scope}"
        assert "closed" == record.breaker.status, f"the breaker of {scope} is not at rest"
        assert [limit.capacity for limit in record.limits] == [limit.available for limit in record.limits], (
            f"{scope} is not at rest"
        )


changes: Final = st.fixed_dictionaries(
    {
        "global": everywhere,
        "outbound": st.fixed_dictionaries({"default": sections}, optional=dict.fromkeys(SCOPES, sections)),
    }
)
one_bucket: Final = st.sampled_from([limit for limit in LIMITS if "burst" in limit and "tokens" not in limit])
buckets: Final = st.fixed_dictionaries(
    {"outbound": st.fixed_dictionaries({"default": st.fixed_dictionaries({"limits": st.tuples(one_bucket)})})}
)
#: A failure replays exactly as it is. Making its story shorter takes minutes: add Phase.shrink for that.
quickly: Final = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])


@pytest.mark.promise("R02", "R03", "R04", "R06", "R07", "R08", "R55")
@quickly
@given(config=configs, load=st.lists(tasks, min_size=20, max_size=40), schedule=random_module())
def test_under_any_load_every_promise_is_kept(config: dict[str, object], load: list[Task], schedule: object) -> None:
    judge(run([(0, config)], load))


@pytest.mark.promise("R02", "R04", "R06", "R07", "R08", "R55")
@quickly
@given(
    config=configs,
    load=st.lists(tasks, min_size=10, max_size=30),
    faults=st.lists(faults, min_size=1, max_size=4),
    schedule=random_module(),
)
def test_with_faults_as_well_every_promise_is_kept(
    config: dict[str, object], load: list[Task], faults: list[Fault], schedule: object
) -> None:
    judge(run([(0, config)], load, faults))


@pytest.mark.promise("R02", "R03", "R04", "R06", "R07", "R08", "R55")
@quickly
@given(
    said=st.lists(st.tuples(tenths(25), changes), min_size=2, max_size=6),
    load=st.lists(tasks, min_size=20, max_size=40),
    schedule=random_module(),
)
def test_whatever_changes_and_whenever_every_promise_is_kept(
    said: list[tuple[float, dict[str, object]]], load: list[Task], schedule: object
) -> None:
    judge(run(said, load))


@pytest.mark.promise("R02")
@quickly
@given(
    said=st.lists(st.tuples(tenths(25), buckets), min_size=2, max_size=6),
    load=st.lists(tasks, min_size=20, max_size=40),
    schedule=random_module(),
)
def test_of_a_bucket_that_changes_again_and_again_never_more_is_left_than_its_part(
    said: list[tuple[float, dict[str, object]]], load: list[Task], schedule: object
) -> None:
    judge(run(said, load))
