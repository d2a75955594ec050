"""A lone caller is never denied needlessly nor granted wrongly. A naive oracle remembers everything and recounts."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import anyio
import pytest

from governor import Config, Denied, Governor, InFlight, Permit, Reason, StrictWindow, TokenBucket
from governor.config import parse_limit
from governor.policies.contract import Limit
from governor.testing import ManualClock
from tests.support import tape as st
from tests.support.tape import given

MINUTE: Final = 60_000_000
MARGIN: Final = 2_000_000
LIMITS: Final = (
    "1/s burst 1",
    "3/s burst 4",
    "7/minute burst 2",
    "2 per 3s strict",
    "4 per minute strict",
    "1 in flight",
    "2 in flight",
    "40 tokens/s burst 60",
    "100 tokens per 10s strict",
)


@dataclass(frozen=True)
class Step:
    """Some time passes, then a permit is asked for, and the `ends`-th of those under way is reported."""

    wait: float
    cost: dict[str, int]
    ends: int


steps = st.lists(
    st.builds(
        Step,
        wait=st.sampled_from([0.0, 1e-6, 0.1, 0.25, 1.0, 2.999999, 3.0, 60.0]) | st.floats(0, 5),
        cost=st.fixed_dictionaries({"requests": st.integers(1, 3)}, optional={"tokens": st.sampled_from([0, 1, 30, 60])}),
        ends=st.integers(0, 3),
    ),
    max_size=40,
)


@dataclass
class Use:
    """One admission: when, how much, and when it ended."""

    at: int
    cost: dict[str, int]
    ended: int | None = None

    @property
    def arrived(self) -> int:
        """By when it has arrived: at its answer, and within the margin."""
        return self.at + MARGIN if self.ended is None else min(self.ended, self.at + MARGIN)


@dataclass
class Oracle:
    """Knows all uses, and answers by counting them one by one."""

    limits: list[Limit]
    cap: int
    uses: list[Use] = field(default_factory=list)

    def allows(self, now: int, cost: dict[str, int]) -> bool:
        last_minute = [use for use in self.uses if now - use.at < MINUTE]
        capped = self._sum(last_minute, "requests") + cost["requests"] > self.cap
        return not capped and all(self._allows(limit, now, cost) for limit in self.limits)

    def _allows(self, limit: Limit, now: int, cost: dict[str, int]) -> bool:
        match limit:
            case TokenBucket():
                return self._tokens(limit, now) >= cost.get(limit.unit, 0)
            case StrictWindow():
                counted = [use for use in self.uses if now < use.arrived + limit.per]
                return self._sum(counted, limit.unit) + cost.get(limit.unit, 0) <= limit.amount or not cost.get(limit.unit)
            case InFlight():
                return self._sum([use for use in self.uses if use.ended is None], "requests") + cost["requests"] <= limit.amount
            case _:
                raise AssertionError("a limit that no model knows")

    def _tokens(self, limit: TokenBucket, now: int) -> Fraction:
        tokens, before = Fraction(limit.burst), 0
        for at, spent in [*((use.at, use.cost.get(limit.unit, 0)) for use in self.uses), (now, 0)]:
            tokens = min(Fraction(limit.burst), tokens + Fraction((at - before) * limit.amount, limit.per)) - spent
            before = at
        return tokens

    def _sum(self, uses: list[Use], unit: str) -> int:
        return sum(use.cost.get(unit, 0) for use in uses)


async def ask_step_by_step(texts: list[str], cap: int, steps: list[Step]) -> None:
    clock = ManualClock(start=100)
    oracle = Oracle([parse_limit(text) for text in texts], cap)
    under_way: list[tuple[Permit, Use]] = []
    # Denials of the cap begin degraded mode, which denies what the limits and the cap would still grant.
    everywhere = {"requests_per_minute": cap, "degraded_after_excess": "off"}
    config = Config.from_mapping({"outbound": {"default": {"limits": texts}}, "global": everywhere})
    async with Governor(config, clock=clock) as governor:
        for step in steps:
            clock.advance(step.wait)
            cost = step.cost
            answer = governor.try_permit("weather", cost=1 if cost == {"requests": 1} else cost)
            assert oracle.allows(clock(), cost) == isinstance(answer, Permit), (clock(), cost, answer)
            if isinstance(answer, Permit):
                use = Use(clock(), cost)
                oracle.uses.append(use)
                under_way.append((answer, use))
            else:
                judge_refusal(oracle, clock(), cost, answer)
            if step.ends < len(under_way):
                permit, use = under_way.pop(step.ends)
                permit.record(status=200)
                use.ended = clock()


def judge_refusal(oracle: Oracle, now: int, cost: dict[str, int], refusal: Denied) -> None:
    """Waiting for `retry_after` is enough, and less is not."""
    if refusal.reason is Reason.COST:
        assert refusal.retry_after is None
        assert not oracle.allows(now + 10**12, cost)
        return
    assert refusal.retry_after is not None
    waiting_for_outcomes = any(use.ended is None for use in oracle.uses)
    if not waiting_for_outcomes:
        then = now + round(refusal.retry_after * 1_000_000)
        assert oracle.allows(then, cost)
        assert not oracle.allows(then - 1, cost)


@pytest.mark.promise("R02", "R03", "R07", "R10")
@given(
    texts=st.lists(st.sampled_from(LIMITS), min_size=1, max_size=3, unique=True),
    cap=st.sampled_from([3, 10, 1000]),
    steps=steps,
)
def test_a_lone_caller_gets_exactly_what_is_due(texts: list[str], cap: int, steps: list[Step]) -> None:
    anyio.run(ask_step_by_step, texts, cap, steps, backend="trio")
