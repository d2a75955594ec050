"""A success that is read in place changes what a step, and `record`, would have changed: the same history, the same state."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import anyio
import pytest
from hypothesis import example
from msgspec.structs import replace

from governor import Config, Denied, Governor, Permit
from governor._actors.actor import ScopeActor
from governor._units import DAY, MINUTE, SECOND, Duration, Instant
from governor.policies.arrivals import Arrivals, Ending
from governor.policies.ban_guard import Rejection
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.parameters import Breaker
from governor.policies.contract import PLAIN, REQUESTS, Grant, LimitPolicy, Request, Result
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy
from tests.support import tape as st
from tests.support.governors import supervisor_of
from tests.support.tape import given

SCOPES: Final = ("hub:a", "hub:b")
LIMITS: Final = (
    ["9 per second strict"],
    ["3 in flight"],
    ["9/s burst 5", "2 in flight"],
    ["9/s burst 9"],
    ["9 per second strict", "30 per minute strict", "3 in flight"],
    ["5000 per minute strict", "2 tokens per second strict"],
)
#: Of both scopes together, of which one may take two units for each request.
SHARED: Final[tuple[Mapping[str, object], ...]] = (
    {},
    {"limits": ["5 per second strict"]},
    {"limits": ["3 in flight", "9/s burst 6"]},
    {"limits": ["8 per second strict", "4 in flight"], "cost": {"b": 2}},
)
#: By arrival, with a margin shorter and longer than the waits here; by outcome; and given-up calls that keep no place.
ASSUMED: Final[tuple[Mapping[str, object], ...]] = (
    {},
    {"arrival_margin": "1ms", "linger": "2s"},
    {"counted": "outcome", "linger": "off"},
)
BREAKERS: Final[tuple[Mapping[str, object], ...]] = (
    {"failures": 2, "open_for": "1s", "successes": 1},
    {"failure_rate": 0.5, "window_calls": 4, "minimum_calls": 2, "open_for": "1s"},
    {"failure_rate": 0.3, "window": "2s", "minimum_calls": 3, "open_for": "1s"},
    {"slow_call": "500ms", "failures": 2, "open_for": "1s"},
    {"failure_rate": 0.5, "window_calls": 4, "minimum_calls": 2, "open_for": "1s", "successes": 1, "ramp_up": False},
)
STATUSES: Final = st.sampled_from([200, 200, 200, 200, None, 404, 401, 500])
WHICH: Final = st.integers(0, 2)
ASK_NOW: Final = ("ask", 0, None)
ASK: Final = st.tuples(st.just("ask"), st.integers(0, 1), st.just(None))
TWO: Final = st.tuples(st.just("two"), st.integers(0, 1), st.just(None))
CALL: Final = st.tuples(st.just("call"), st.integers(0, 1), STATUSES)
END: Final = st.tuples(st.just("end"), WHICH, STATUSES)
OTHER: Final = st.one_of(
    st.tuples(st.just("begin"), WHICH, STATUSES),
    st.tuples(st.sampled_from(["use", "return", "drop", "look", "reject"]), WHICH, st.just(None)),
    st.tuples(st.just("wait"), st.sampled_from([1000, 600_000, SECOND, MINUTE]), st.just(None)),
)
#: Long, because what one success leaves undone shows after several others.
STEPS: Final = st.integers(0, 40).flatmap(lambda size: st.lists(CALL | ASK | TWO | END | OTHER, min_size=size, max_size=size))
Step = tuple[str, int, int | None]
Brief = StrictWindowPolicy | InFlightPolicy | BreakerPolicy


class History:
    """What callers see of one governor, and what has become of all policies in the end."""

    def __init__(self, scope: Mapping[str, object], provider: Mapping[str, object]) -> None:
        self.now = Instant(10 * DAY)
        self.seen: list[object] = []
        self.permits: list[Permit] = []
        says = {
            "global": {"degraded_after_failures": 3, "degraded_after_providers": 1, "requests_per_minute": 60},
            "outbound": {"default": scope},
            "provider": {"hub": provider},
        }
        self.governor = Governor(Config.from_mapping(says), clock=lambda: self.now, random=Random(0))

    async def lived(self, steps: list[Step]) -> list[object]:
        async with self.governor:
            for what, which, status in steps:
                if what == "wait":
                    self.now = Instant(self.now + which)
                elif what in ("ask", "call", "two"):
                    self.ask(which, 1 + (what == "two"))
                    if what == "call" and self.permits:
                        self.permits.pop().record(status=status)
                elif what == "look":
                    scopes = self.governor.statistics().scopes
                    self.seen += [(name, one.limits, one.counters) for name, one in scopes.items()]
                elif self.permits:
                    self.end(what, self.permits.pop(which % len(self.permits)), status)
                    await anyio.lowlevel.checkpoint()  # One that is dropped is read later.
                self.look()
        return self.seen

    def ask(self, which: int, cost: int) -> None:
        answer = self.governor.try_permit(*SCOPES[which].split(":"), cost=cost)
        self.seen.append(answer if isinstance(answer, Denied) else "granted")
        self.permits += [answer] if isinstance(answer, Permit) else []

    def end(self, what: str, permit: Permit, status: int | None) -> None:
        if what == "begin":
            permit.answered(status=status)
            self.permits.append(permit)
        elif what == "reject":
            permit.answered(status=200, rejection=Rejection.FORBIDDEN)
            self.permits.append(permit)
        elif what == "end":
            permit.record(status=status)
        elif what == "use":
            permit.record(status=200, used={"requests": 2})
        elif what == "return" and permit._answered is None:
            permit.give_back()

    def look(self) -> None:
        """Notes what policies and actors know by now, without a step."""
        for actor in supervisor_of(self.governor)._scopes.actors.values():
            pipeline = actor.ledger.pipeline
            shared = pipeline.degraded.state(), pipeline.cap.state(), pipeline.shared.rejections.state()
            copied = actor.gate, actor.listens, actor.awaits_answers, actor.life.state
            self.seen += [actor.scope, pipeline.state(), shared, copied, actor.counters.record()]


async def both(
    scope: Mapping[str, object], provider: Mapping[str, object], steps: list[Step]
) -> tuple[list[object], list[object]]:
    one = await History(scope, provider).lived(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScopeActor, "succeed", lambda *_: False)
        patch.setattr(ScopeActor, "read_in_place", lambda *_: False)
        return one, await History(scope, provider).lived(steps)


@given(
    limits=st.sampled_from(LIMITS),
    breaker=st.sampled_from(BREAKERS),
    assumed=st.sampled_from(ASSUMED),
    shared=st.sampled_from(SHARED),
    steps=STEPS,
)
# A breaker that a success opens, because it is the third call; a run of rejections that a success in another scope has ended
# for the provider, but not for this scope; a success that makes room; one from before the breaker opened; one of a permit for
# two requests; one whose answer has begun in time and has ended late; an answer that says nothing of how long calls take; and
# answers that begin with a rejection, by their status and by what was read in them.
@example(["9/s burst 9"], BREAKERS[2], {}, {}, [("call", 0, 500), ("call", 0, 200), ("call", 0, 200), ("ask", 0, None)])
@example(["3 in flight"], BREAKERS[0], {}, {}, [("call", 0, 401), ("call", 1, 200), ("call", 0, 200)])
@example(["3 in flight"], BREAKERS[0], {}, {}, [("call", 0, 200), *[ASK_NOW] * 3, ("end", 0, 200)])
@example(
    ["9/s burst 9"],
    BREAKERS[4],
    {},
    {},
    [("call", 0, 200), ASK_NOW, ("call", 0, 500), ("wait", SECOND, None), ("call", 0, 200), ("end", 0, 200)],
)
@example(["3 in flight"], BREAKERS[0], {}, {}, [("call", 0, 200), ("two", 0, None), ("call", 0, 200), ("end", 0, 200)])
@example(
    ["3 in flight"],
    BREAKERS[3],
    {},
    {},
    [("call", 0, 200), ASK_NOW, ("begin", 0, 200), ("wait", SECOND, None), ("end", 0, 200)],
)
@example(["9 per second strict"], BREAKERS[0], {}, {}, [ASK_NOW, ("begin", 0, 401), ("end", 0, 401)])
@example(["9 per second strict"], BREAKERS[0], {}, {}, [ASK_NOW, ("reject", 0, None), ("end", 0, 200)])
def test_a_success_that_is_read_in_place_changes_what_a_step_would_have_changed(
    limits: list[str],
    breaker: Mapping[str, object],
    assumed: Mapping[str, object],
    shared: Mapping[str, object],
    steps: list[Step],
) -> None:
    in_place, in_steps = anyio.run(both, {"limits": limits, "breaker": breaker, **assumed}, shared, steps)

    assert in_steps == in_place


def window(amount: int, unit: str = REQUESTS) -> StrictWindowPolicy:
    return StrictWindowPolicy(StrictWindow(amount, Duration(5_000), unit))


#: Policies, and what they assume. In windows of 9 000 units several uses share a slot.
BRIEF: Final[Mapping[str, tuple[Callable[[], Brief], Arrivals]]] = {
    "by arrival": (lambda: window(9), Arrivals(margin=Duration(900))),
    "long margin": (lambda: window(9), Arrivals(margin=Duration(90_000))),
    "by outcome": (lambda: window(9), Arrivals(by_outcome=True)),
    "merged": (lambda: window(9_000), Arrivals(margin=Duration(900))),
    "tokens": (lambda: window(9, "tokens"), Arrivals(margin=Duration(900))),
    "in flight": (lambda: InFlightPolicy(InFlight(4)), Arrivals()),
    "in flight, no places kept": (lambda: InFlightPolicy(InFlight(4)), Arrivals(linger=Duration(0))),
    "in flight, places kept as long": (lambda: InFlightPolicy(InFlight(4)), Arrivals(linger=Duration(700))),
    "rate of time": (lambda: BreakerPolicy(Breaker(failures=3, failure_rate=0.4, window="5ms", minimum_calls=3)), Arrivals()),
    "rate of calls": (
        lambda: BreakerPolicy(Breaker(failures=3, failure_rate=0.4, window_calls=5, minimum_calls=3)),
        Arrivals(),
    ),
    "slow": (lambda: BreakerPolicy(Breaker(failures=3, slow_call="1ms")), Arrivals()),
}


class Twins:
    """Two equal policies with one history. One of them is told of successes by `succeed`, where that is allowed."""

    def __init__(self, kind: str) -> None:
        makes, arrivals = BRIEF[kind]
        self.one, self.other = makes(), makes()
        for policy in (self.one, self.other):
            if isinstance(policy, LimitPolicy):
                policy.assume(arrivals)

    def grant(self, now: Instant, request: Request) -> Grant:
        for policy in (self.one, self.other):
            policy.commit(now, request)
        return Grant(now, 0 if isinstance(self.one, LimitPolicy) else self.one.generation, request)

    def settle(self, now: Instant, grant: Grant) -> Grant:
        """The call has used three requests more."""
        for policy in (self.one, self.other):
            if isinstance(policy, LimitPolicy):
                policy.settle(now, grant, None, 3 * (policy.unit == REQUESTS))
        return grant.corrected({REQUESTS: grant.request.cost + 3})

    def end(self, now: Instant, grant: Grant, result: Result, ending: Ending) -> None:
        one, other = self.one, self.other
        current = isinstance(one, LimitPolicy) or (is_calm(one, now) and grant.generation >= one.since)
        if current and grant.request is PLAIN and result is Result.SUCCESS:
            calm = one.succeed(now, grant.granted_at)
            other.record(now, grant, result)

            assert is_calm(other, now) is calm
        else:
            for policy in (one, other):
                policy.record(now, replace(grant, ending=ending), result)


@pytest.mark.parametrize("kind", BRIEF)
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=84)  # By arrival: what leaves the window when a margin ends makes room.
def test_succeed_changes_what_record_would_have_changed(kind: str, seed: int) -> None:
    random, twins = Random(seed), Twins(kind)
    now, grants = Instant(DAY), list[Grant]()
    for _ in range(150):
        now = Instant(now + random.choice([0, 0, 1, 1, 40, 900, 2_000, -1_000]))
        request = random.choice([PLAIN, PLAIN, PLAIN, PLAIN, Request(2), Request(1, {"tokens": 2})])
        if random.random() < 0.5 and twins.one.earliest(now, request) <= now:
            grants.append(twins.grant(now, request))
        elif grants:
            grant = grants.pop(random.randrange(len(grants)))
            if random.random() < 0.1:
                grants.append(twins.settle(now, grant))
            else:
                twins.end(
                    now, grant, *random.choice([*[(Result.SUCCESS, Ending.ANSWERED)] * 6, (Result.FAILURE, Ending.GIVEN_UP)])
                )

        assert told(twins.other) == told(twins.one)


def is_calm(policy: Brief, now: Instant) -> bool:
    if isinstance(policy, LimitPolicy):
        return policy.ready <= now
    return policy.unrestricted and not policy.failures


def told(policy: Brief) -> tuple[object, ...]:
    if isinstance(policy, LimitPolicy):
        return policy.state(), policy.ready, policy.rests_at(), policy.available(Instant(DAY))
    return policy.state(), policy.trip if policy.openings else None
