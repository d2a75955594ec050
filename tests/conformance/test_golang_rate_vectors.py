"""The token bucket of Go: every case agrees with ours, or is listed here with the reason why it does not.

Each case becomes a row of (name, what they expect, what we answer), and each wait a row of its own. The listed rows must be
exactly the ones that disagree. Rows marked `over_admits` are what we must not do: theirs break the law of the bucket, ours keep
it.

We have no reservations that are held in advance. What comes nearest is a place in the queue: its instant is the earliest after
every call ahead, it spends when that instant has come, and until then it can be left. What is left later is a refund.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from trio.testing import MockClock

from governor import Config, Governor, PermitDenied
from governor._units import MILLISECOND, NEVER, SECOND, Duration, Instant, to_seconds
from governor.errors import ConfigError
from governor.policies.contract import PLAIN, Grant, Request
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.testing import loop_clock
from tests.support.published import Row, agree_except

Spent = tuple[Instant, int]

#: The unit of the file.
D: Final = Duration(100 * MILLISECOND)
START: Final = Instant(1_000 * SECOND)

FROZEN: Final = "our parameters are frozen: another limit is another bucket"
MOVE_UP: Final = "a call that leaves the queue lets those behind it move up and be served earlier; theirs keep their instants"

DIFFERS: Final = {
    "cancel too late": "we give back what time has not: at t = 3 one of the two tokens spent at t = 2, and theirs none",
    "cancel returns 0": MOVE_UP,
    "cancel returns 1": MOVE_UP,
    "cancel multi": MOVE_UP,
    "set limit then cancel": FROZEN,
    "zero limit": "a rate of nothing is rejected as a mistake; " + FROZEN,
}

WAITS_DIFFER: Final = {
    "waits/0/0": "a call that need not wait is not interrupted either: the permit is granted, and the call itself is cancelled",
}

#: Marked `over_admits`, and nothing that we could be asked to do.
NOT_ASKED: Final = {"set limit 5 -> 10 at t=2": FROZEN, "set burst 2 -> 4 at t=3": FROZEN}


@pytest.fixture
def anyio_backend() -> object:
    """Virtual time: waits take no real time."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.mark.promise("R02")
def test_what_golang_allows_and_reserves(vectors: Path) -> None:
    agree_except(DIFFERS, rows(case for case in load(vectors)["cases"] if not case.get("over_admits")))


@pytest.mark.promise("R02")
def test_what_over_admits_there_does_not_here(vectors: Path) -> None:
    cases = {case["name"]: case for case in load(vectors)["cases"] if case.get("over_admits")}
    asked = {name: drive(case) for name, case in cases.items() if name not in NOT_ASKED}

    assert dict.fromkeys(cases, False) == {name: keeps_the_law(case, spent_there(case)) for name, case in cases.items()}
    assert dict.fromkeys(asked, True) == {name: keeps_the_law(cases[name], queue.spent) for name, (_, queue) in asked.items()}
    assert NOT_ASKED.keys() == {name for name, case in cases.items() if changes_its_limit(case)}


@pytest.mark.promise("R02")
def test_a_clock_that_goes_back_and_forth_earns_nothing(vectors: Path) -> None:
    case = next(case for case in load(vectors)["cases"] if case["name"] == "clock jumps backwards")
    _, queue = drive(case)
    by_one = sum(cost for at, cost in queue.spent if at <= instant(1))
    answers = [(step["t"], step["expect"], answer[-1]) for step, answer in zip(case["steps"], queue.answers, strict=True)]

    assert case["burst"] == by_one
    # In the past we stop at what could be had there, so that one is left on coming back to t = 1; nothing else differs.
    assert [(0, True, False)] == [answer for answer in answers if answer[1] != answer[2]]


@pytest.mark.promise("R02")
def test_what_differs_keeps_the_law_too(vectors: Path) -> None:
    cases = [case for case in load(vectors)["cases"] if case["name"] in DIFFERS and not changes_its_limit(case)]

    assert [True] * len(cases) == [keeps_the_law(case, drive(case)[1].spent) for case in cases]


@pytest.mark.anyio
@pytest.mark.promise("R02", "R04")
async def test_what_golang_waits_for(vectors: Path) -> None:
    agree_except(WAITS_DIFFER, [row for number, case in enumerate(load(vectors)["waits"]) for row in await waits(number, case)])


@pytest.mark.promise("R02")
def test_as_many_as_fit_are_admitted_of_a_crowd_and_of_a_stream(vectors: Path) -> None:
    crowd, stream = load(vectors)["aggregate"]
    least, most = stream["expect_admitted_between"]
    offers = range(0, stream["for_s"] * 1000, stream["offer_every_ms"])

    # Their goroutines are one instant here: the bucket belongs to one actor, who is asked by one caller after the other.
    assert crowd["expect_admitted"] == admitted(crowd, [START] * crowd["simultaneous"])
    assert least <= admitted(stream, [Instant(START + ms * MILLISECOND) for ms in offers]) <= most


def test_a_rate_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="amount"):
        TokenBucket(0, SECOND, 1)


def load(vectors: Path) -> Any:
    file = json.loads((vectors / "token_bucket_golang_rate.json").read_text(encoding="utf-8"))
    assert {"kind", "source", "units", "semantics", "cases", "waits", "aggregate"} == file.keys()
    return file


def rows(cases: Iterable[Any]) -> Iterator[Row]:
    for case in cases:
        if changes_its_limit(case):
            yield case["name"], True, False
        else:
            expected, queue = drive(case)
            yield case["name"], expected, queue.answers


def changes_its_limit(case: Any) -> bool:
    return any(step["op"] in ("set_limit", "set_burst") for step in case["steps"])


def bucket(case: Any) -> TokenBucket:
    rate = Fraction(case["limit"]).limit_denominator(1000)
    return TokenBucket(rate.numerator, Duration(rate.denominator * SECOND), case["burst"])


def instant(t: int) -> Instant:
    return Instant(START + t * D)


class Queue:
    """A bucket and those who wait for it, served first come first, without an event loop."""

    def __init__(self, parameters: TokenBucket) -> None:
        self.policy = TokenBucketPolicy(parameters)
        self.now = self.latest = START
        self.waiting: dict[str, Request] = {}
        self.granted: dict[str, tuple[Grant, int, Spent]] = {}
        #: What was admitted, at the latest instant seen by then.
        self.spent: list[Spent] = []
        self.answers: list[tuple[object, ...]] = []

    def go_to(self, now: Instant) -> None:
        """On the way forward, each waiter is served at its own instant."""
        while self.waiting and (due := self._head_due()) <= now:
            self.now = max(self.now, due)
            self._serve_head()
        self.now = now
        self.latest = max(self.latest, now)

    def tokens(self) -> int:
        """What is left after those who wait; below zero if that is not yet enough for them."""
        return self.policy.available(self.now) - sum(request.cost for request in self.waiting.values())

    def allow(self, cost: int) -> bool:
        if self.policy.earliest(self.now, Request(cost), self._ahead()) > self.now:
            return False
        self._spend("allowed", Request(cost))
        return True

    def reserve(self, name: str, cost: int, longest: Duration | None) -> tuple[Fraction | None, bool]:
        """The instant at which the caller may act, in the unit of the file; and whether they are going to."""
        due = self.policy.earliest(self.now, Request(cost), self._ahead())
        if due == NEVER:
            return None, False
        act = Fraction(due - START, D)
        if longest is not None and due > self.now + longest:
            return act, False
        self.waiting[name] = Request(cost)
        self.go_to(self.now)
        return act, True

    def cancel(self, name: str) -> None:
        """Leaves the queue; or gives back what was granted; or does nothing, for a reservation that was rejected."""
        if name in self.granted:
            grant, receipt, spent = self.granted[name]
            self.policy.refund(self.now, grant, receipt)
            self.spent.remove(spent)
        self.waiting.pop(name, None)
        self.go_to(self.now)

    def _ahead(self) -> Request | None:
        return Request(sum(request.cost for request in self.waiting.values())) if self.waiting else None

    def _head_due(self) -> Instant:
        return self.policy.earliest(self.now, next(iter(self.waiting.values())))

    def _serve_head(self) -> None:
        name = next(iter(self.waiting))
        self._spend(name, self.waiting.pop(name))

    def _spend(self, name: str, request: Request) -> None:
        self.latest = max(self.latest, self.now)
        spent = (self.latest, request.cost)
        self.granted[name] = (Grant(self.now, 0, request), self.policy.commit(self.now, request), spent)
        self.spent.append(spent)


def drive(case: Any) -> tuple[list[tuple[object, ...]], Queue]:
    """What they expect of each step, and a queue that has been through all of them."""
    queue = Queue(bucket(case))
    expected: list[tuple[object, ...]] = []
    for number, step in enumerate(case["steps"]):
        queue.go_to(instant(step["t"]))
        match step["op"]:
            case "allow":
                before = step.get("expect_tokens_before")
                expected.append((before, step["expect"]))
                tokens = queue.tokens()
                queue.answers.append((None if before is None else tokens, queue.allow(step["n"])))
            case "reserve":
                expected.append((step["expect_act"], step["expect"]))
                longest = Duration(step["max_wait_d"] * D) if "max_wait_d" in step else None
                queue.answers.append(queue.reserve(step.get("id", str(number)), step["n"], longest))
            case "cancel":
                queue.cancel(step["id"])
            case _:
                raise AssertionError(f"the file has a step that is not known here: {step}")
    queue.go_to(instant(1_000))
    return expected, queue


def spent_there(case: Any) -> list[Spent]:
    """What they admit, at the instant at which it may be spent; going back makes no instant earlier."""
    cancelled = {step["id"] for step in case["steps"] if step["op"] == "cancel"}
    spent: list[Spent] = []
    latest = START
    for step in case["steps"]:
        latest = max(latest, instant(step["t"]))
        if step.get("expect") and step.get("id") not in cancelled:
            spent.append((max(latest, instant(step.get("expect_act", step["t"]))), step["n"]))
    return spent


def keeps_the_law(case: Any, spent: Sequence[Spent]) -> bool:
    """In every window: no more than the burst at its beginning and the highest rate of the case times its length."""
    burst = case["burst"]
    rate = Fraction(max(step.get("limit", case["limit"]) for step in case["steps"])) / SECOND
    windows = ((begin, end) for begin, _ in spent for end, _ in spent if begin <= end)
    return all(sum(cost for at, cost in spent if begin <= at <= end) <= burst + rate * (end - begin) for begin, end in windows)


def admitted(case: Any, offers: Iterable[Instant]) -> int:
    policy = TokenBucketPolicy(bucket(case))
    count = 0
    for now in offers:
        if policy.earliest(now, PLAIN) <= now:
            policy.commit(now, PLAIN)
            count += 1
    return count


async def waits(number: int, case: Any) -> list[Row]:
    """Through the public API, one caller after the other: how long each waited, whether it was granted, what a denial cost."""
    limits = [] if case["limit"] == "infinite" else [f"{case['limit']}/s burst {case['burst']}"]
    config = Config.from_mapping({"outbound": {"default": {"limits": limits}}})
    rows: list[Row] = []
    async with Governor(config, clock=loop_clock()) as governor:
        deadline = anyio.current_time() + to_seconds(case["deadline_d"] * D) if "deadline_d" in case else None
        for index, step in enumerate(case["steps"]):
            row = f"waits/{number}/{index}"
            rows.append((row, (step["delay_d"], step["ok"], 0), await wait(governor, step, deadline)))
    return rows


async def wait(governor: Governor, step: Any, deadline: float | None) -> tuple[int, bool, int]:
    began, before, granted = anyio.current_time(), tokens(governor), False
    timeout = None if deadline is None else deadline - began
    with anyio.CancelScope() as scope:
        if "already_cancelled" in step:
            scope.cancel()
        if "cancel_at_d" in step:
            scope.deadline = began + to_seconds(step["cancel_at_d"] * D)
        try:
            async with governor.permit("weather", cost=step["n"], timeout=timeout) as permit:
                granted = True
                if scope.cancel_called:
                    permit.give_back()
        except PermitDenied:
            pass
    kept = 0 if granted else max(0, before - tokens(governor))
    return round((anyio.current_time() - began) / to_seconds(D)), granted, kept


def tokens(governor: Governor) -> int:
    scope = governor.statistics().scopes.get("weather")
    return sum(limit.available for limit in scope.limits) if scope else 0
