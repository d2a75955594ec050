"""A success that is read in place changes what a step would have changed: the same history, the same state."""

from collections.abc import Mapping
from random import Random
from typing import Final

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governor import Config, Denied, Governor, Permit
from governor._actors.steps import Steps
from governor._units import DAY, MINUTE, SECOND, Instant
from tests.support.governors import supervisor_of

SCOPES: Final = ("hub:a", "hub:b")
LIMITS: Final = (["9 per second strict"], ["3 in flight"], ["9/s burst 5", "2 in flight"], ["9/s burst 9"])
BREAKERS: Final[tuple[Mapping[str, object], ...]] = (
    {"failures": 2, "open_for": "1s", "successes": 1},
    {"failure_rate": 0.5, "window_calls": 4, "minimum_calls": 2, "open_for": "1s"},
    {"failure_rate": 0.3, "window": "2s", "minimum_calls": 3, "open_for": "1s"},
    {"slow_call": "500ms", "failures": 2, "open_for": "1s"},
)
STATUSES: Final = st.sampled_from([200, 200, 200, 200, None, 404, 401, 500])
WHICH: Final = st.integers(0, 2)
ASK: Final = st.tuples(st.just("ask"), st.integers(0, 1), st.just(None))
CALL: Final = st.tuples(st.just("call"), st.integers(0, 1), STATUSES)
END: Final = st.tuples(st.just("end"), WHICH, STATUSES)
OTHER: Final = st.one_of(
    st.tuples(st.just("begin"), WHICH, STATUSES),
    st.tuples(st.sampled_from(["use", "return", "drop", "look"]), WHICH, st.just(None)),
    st.tuples(st.just("wait"), st.sampled_from([1000, 600_000, SECOND, MINUTE]), st.just(None)),
)
#: Long, because what one success leaves undone shows after several others.
STEPS: Final = st.integers(0, 40).flatmap(lambda size: st.lists(CALL | ASK | END | OTHER, min_size=size, max_size=size))
Step = tuple[str, int, int | None]


class History:
    """What callers see of one governor, and what has become of all policies in the end."""

    def __init__(self, scope: Mapping[str, object]) -> None:
        self.now = Instant(10 * DAY)
        self.seen: list[object] = []
        self.permits: list[Permit] = []
        says = {
            "global": {"degraded_after_failures": 3, "degraded_after_providers": 1, "requests_per_minute": 60},
            "outbound": {"default": scope},
        }
        self.governor = Governor(Config.from_mapping(says), clock=lambda: self.now, random=Random(0))

    async def lived(self, steps: list[Step]) -> list[object]:
        async with self.governor:
            for what, which, status in steps:
                if what == "wait":
                    self.now = Instant(self.now + which)
                elif what in ("ask", "call"):
                    self.ask(which)
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

    def ask(self, which: int) -> None:
        answer = self.governor.try_permit(*SCOPES[which].split(":"))
        self.seen.append(answer if isinstance(answer, Denied) else "granted")
        self.permits += [answer] if isinstance(answer, Permit) else []

    def end(self, what: str, permit: Permit, status: int | None) -> None:
        if what == "begin":
            permit.answered(status=status)
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


async def both(scope: Mapping[str, object], steps: list[Step]) -> tuple[list[object], list[object]]:
    one = await History(scope).lived(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "read_in_place", lambda *_: False)
        return one, await History(scope).lived(steps)


@given(limits=st.sampled_from(LIMITS), breaker=st.sampled_from(BREAKERS), steps=STEPS)
# A breaker that a success opens, because it is the third call; and a run of rejections that a success in another scope has
# ended for the provider, but not for this scope.
@example(["9/s burst 9"], BREAKERS[2], [("call", 0, 500), ("call", 0, 200), ("call", 0, 200), ("ask", 0, None)])
@example(["3 in flight"], BREAKERS[0], [("call", 0, 401), ("call", 1, 200), ("call", 0, 200)])
def test_a_success_that_is_read_in_place_changes_what_a_step_would_have_changed(
    limits: list[str], breaker: Mapping[str, object], steps: list[Step]
) -> None:
    in_place, in_steps = anyio.run(both, {"limits": limits, "breaker": breaker}, steps)

    assert in_steps == in_place
