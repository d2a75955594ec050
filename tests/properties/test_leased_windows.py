"""Laws of a strict window that leases: no window of the provider holds more, whenever permits are used and calls arrive."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import msgspec
import pytest

from governor._units import DAY, NEVER, Duration, Instant
from governor.policies.arrivals import Arrivals, Ending
from governor.policies.contract import Grant, Leasable, LimitPolicy, Result
from governor.policies.shared_limit import MethodCost, Share, SharedLimit
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy
from tests.properties.test_strict_window import fullest, request
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY

#: Small ones, which are full most of the time: whatever leaves too early lets something in.
WINDOWS: Final = st.builds(StrictWindow, st.integers(1, 5), st.integers(2, 20).map(Duration))
MARGINS: Final = st.integers(1, 15) | st.none()

#: What happens, and to how many, or to which one.
Step = tuple[int, str, int]
WHAT: Final = ("lease", "use", "count", "recall", "grant", "end", "begin", "lose", "never made", "used more", "gather", "go on")


@dataclass(eq=False)
class Call:
    """A call: since when it may arrive, until when, and its units."""

    grant: Grant
    used_at: int
    latest: int
    units: int = 1
    counted: bool = False


class Model:
    """One window and its permits. `margin` None counts by outcome."""

    def __init__(self, window: StrictWindow, margin: int | None, cost: int) -> None:
        self.window, self.margin, self.cost = window, margin, cost
        self.now = START
        self.leased: list[int] = []
        self.open: list[Call] = []
        self.calls: list[Call] = []
        self._use(self._new())

    def _new(self) -> StrictWindowPolicy:
        policy = StrictWindowPolicy(self.window)
        policy.assume(Arrivals(by_outcome=self.margin is None, margin=Duration(self.margin or 1)))
        return policy

    def _use(self, policy: StrictWindowPolicy) -> None:
        self.policy = policy
        share = Share(SharedLimit(policy), MethodCost(self.cost))
        self.subject: LimitPolicy = share.policy
        self.leasing = cast("Leasable", share.policy)

    @property
    def at(self) -> Instant:
        return Instant(self.now)

    def step(self, gap: int, what: str, which: int) -> None:
        self.now += gap
        steps: dict[str, Callable[[int], None]] = {
            "lease": self._lease,
            "use": self._take,
            "count": self._count,
            "recall": self.recall,
            "flood": self._flood,
            "grant": self._grant,
            "gather": self._gather,
            "go on": self._go_on,
        }
        if what in steps:
            steps[what](which)
        elif self.open:
            self._count()
            self.end(self.open[which % len(self.open)], what)

    def _lease(self, which: int) -> None:
        count = min(which + 1, self.leasing.leasable(self.at))
        if count:
            self.leasing.lease(self.at, count)
            self.leased += [self.now] * count

    def _take(self, which: int) -> None:
        """Threads take permits: the owner learns of it later."""
        for _ in range(min(which % 3 + 1, len(self.leased))):
            filled_at = self.leased.pop(which % len(self.leased))
            self._begin(Call(Grant(Instant(filled_at), 0, ahead=True), self.now, NEVER))

    def _flood(self, _: int) -> None:
        """All that there is is leased and taken."""
        self._lease(7)
        for number in range(len(self.leased)):
            self._take(3 * number)

    def recall(self, _: int = 0) -> None:
        self._count()
        self.leasing.reclaim(self.at, len(self.leased))
        self.leased.clear()

    def _grant(self, _: int) -> None:
        asked = request(self.window, 1)
        if self.subject.earliest(self.at, asked) <= self.now:
            self.subject.commit(self.at, asked)
            self._begin(Call(Grant(self.at, 0, asked), self.now, NEVER, counted=True))

    def _go_on(self, _: int) -> None:
        """Under the same settings, as after a change of others."""
        self.recall()
        after = self._new()
        after.carry_over(self.at, self.policy)
        self._use(after)

    def _begin(self, call: Call) -> None:
        if self.margin is not None:
            call.latest = self.now + self.margin
        call.units = self.cost
        self.open.append(call)
        self.calls.append(call)

    def _count(self, _: int = 0) -> None:
        used = [call for call in self.open if not call.counted]
        if used:
            self.leasing.collect(self.at, len(used))
        for filled_at in sorted({call.grant.granted_at for call in used}):
            self.subject.follow(self.at, filled_at, sum(call.grant.granted_at == filled_at for call in used))
        for call in used:
            call.counted = True

    def _gather(self, which: int) -> None:
        """Several calls have succeeded by now: their outcomes are read together."""
        done = [call for call in self.open if call.grant.ahead and call.grant.answered_at is None][: which + 1]
        self._count()
        for filled_at in {call.grant.granted_at for call in done}:
            self.subject.ended(self.at, filled_at, sum(call.grant.granted_at == filled_at for call in done))
        for call in done:
            self.open.remove(call)
            call.latest = min(call.latest, self.now)

    def end(self, call: Call, what: str) -> None:
        if what == "begin":
            if call.grant.answered_at is None:
                self.subject.answered(self.at, call.grant)
                call.grant = msgspec.structs.replace(call.grant, answered_at=self.at)
                if self.margin is not None:
                    call.latest = min(call.latest, self.now)
            return
        self.open.remove(call)
        if what == "never made":
            if call.grant.answered_at is None:
                self.subject.refund(self.at, call.grant, None)
                self.calls.remove(call)
                return
        elif what == "used more":
            self.subject.settle(self.at, call.grant, None, 1)
            # What is beyond its permit counts from now on.
            arrives = self.now + (self.margin or 0) * (call.grant.answered_at is None)
            self.calls.append(Call(call.grant, self.now, arrives, self.cost))
            call.grant = call.grant.corrected({"requests": 2})
        ending = Ending.GIVEN_UP if what == "lose" else Ending.ANSWERED
        self.subject.record(self.at, msgspec.structs.replace(call.grant, ending=ending), Result.NEUTRAL)
        if ending is Ending.ANSWERED or self.margin is None:
            call.latest = min(call.latest, self.now)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Model, list[Step]]:
    window, margin, cost = draw(WINDOWS), draw(MARGINS), draw(st.sampled_from([1, 1, 2]))
    per = int(window.per)
    pauses = st.sampled_from([0, 0, 0, 1, per - 1, per, margin or 1, 10 * per]) | st.integers(0, per)
    length = draw(st.integers(0, 60) | st.just(60))
    # What makes and uses leases comes more often: all of the rest depends on it.
    what = st.sampled_from(WHAT) | st.sampled_from(["flood", "flood", "use", "gather", "end", "count"])
    steps = draw(st.lists(st.tuples(pauses, what, st.integers(0, 7)), min_size=length, max_size=length))
    return Model(window, margin, cost), steps


@pytest.mark.promise("R02")
@given(histories())
def test_no_window_of_the_provider_holds_more_and_in_the_end_everything_is_there_again(
    history: tuple[Model, list[Step]],
) -> None:
    model, steps = history
    for step in steps:
        model.step(*step)

    uses = [(call.used_at, call.latest, call.units) for call in model.calls]
    most = fullest(model.window, uses)
    extra = sum(call.units for call in model.calls if call.grant.request.cost > 1)
    assert most <= model.window.amount + extra

    model.recall()
    for call in model.open.copy():
        model.end(call, "end")
    past = 2 * (int(model.window.per) + (model.margin or 0)) + 2
    assert model.window.amount == model.policy.available(Instant(model.now + past))


@pytest.mark.promise("R02")
def test_the_answer_to_a_call_whose_margin_has_ended_dates_no_other_call() -> None:
    model = Model(StrictWindow(2, Duration(10)), 5, 1)
    for step in [(0, "lease", 1), (0, "use", 0), (0, "count", 0), (6, "use", 0), (0, "count", 0)]:
        model.step(*step)
    model.end(model.open[0], "end")

    # The first counts from 5 on at the latest, and the second one from 11 on.
    assert [0, 1, 1, 2] == [model.policy.available(Instant(START + past)) for past in (14, 15, 20, 21)]
