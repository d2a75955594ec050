"""The circuit breaker of Sony: every step agrees with ours, or is listed here with the reason why it does not.

Each step that says what it expects becomes a row of (name, what they expect, what we answer). The listed rows must be exactly
the ones that disagree; after a disagreement about the state ours is brought to theirs, so that one difference does not shift
the rows after it.

Compared are states, admissions and those of their counts that ours has as well. Closed: the failures in a row, and over a
window its calls and failures. Half-open: the probes and the successes among them. Ours counts no successes in a row while
closed, and a neutral outcome nowhere.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from governor import Config, Governor
from governor._units import MINUTE, SECOND, Duration, Instant, from_seconds
from governor.errors import ConfigError
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import PLAIN, Grant, Result
from governor.testing import ManualClock
from tests.support.published import Row, agree_except

START: Final = Instant(1_000 * SECOND)

DEFAULTS: Final = "defaults: 6 consecutive failures trip, 60 s timeout, 1 probe"
CUSTOM: Final = "custom: ratio >= 0.6 with >= 3 valid requests, fixed 30 s window, 90 s timeout, 3 probes"
ROLLING: Final = "rolling window 30 s in 10 buckets of 3 s"
GENERATION: Final = "generation: result that started in an older window is ignored"
RAISE: Final = "panic/exception counts as a failure and propagates"
NEGATIVE: Final = "negative durations fall back to defaults"
PARALLEL: Final = "parallel: 10 workers x 10000 alternate succeed/exclude"

SLIDES: Final = "their window is emptied every 30 s, ours slides: what happened less than 30 s ago counts"

DIFFERS: Final = {
    f"{CUSTOM}/4": SLIDES,
    f"{CUSTOM}/6": SLIDES + ", so 2 of 4 have failed, and not 2 of 3",
    f"{GENERATION}/2": "they count a call when it begins, we when its outcome is known",
    f"{GENERATION}/3": SLIDES,
    f"{GENERATION}/4": "a generation of ours ends with a change of state and not with a window: the outcome counts",
    RAISE: "a mistake of the caller's own code is no failure of the provider; it propagates as theirs does",
    NEGATIVE: "a span below zero is rejected as a mistake",
}

#: Their names for when to trip, in our parameters; a case that names none has the one of the defaults.
TRIPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "consecutive_failures > 5": {"failures": 6},
    "valid_requests >= 3 and failures/valid_requests >= 0.6": {"failures": None, "failure_rate": 0.6, "minimum_calls": 3},
}

RESULTS: Final = {"succeed": Result.SUCCESS, "fail": Result.FAILURE, "exclude": Result.NEUTRAL}


@pytest.mark.promise("R06")
def test_what_gobreaker_decides(vectors: Path) -> None:
    agree_except(DIFFERS, rows(load(vectors)))


def test_every_case_of_the_file_is_compared(vectors: Path) -> None:
    names = [case["name"] for case in load(vectors)]

    assert [DEFAULTS, CUSTOM, ROLLING, GENERATION, RAISE, NEGATIVE, PARALLEL] == names


@pytest.mark.promise("R06")
def test_both_decide_alike_once_our_window_has_slid_past_what_theirs_has_dropped(vectors: Path) -> None:
    (case,) = (case for case in load(vectors) if case["name"] == CUSTOM)
    side = Side(parameters(case["config"]))
    for step in (*case["steps"][:3], {"op": "advance", "s": case["config"]["interval_s"]}):
        for _ in range(step.get("times", 1)):
            for part in parts(step):
                take(side, part)
    answers = [compare(side, step["expect"], take(side, step)) for step in case["steps"][4:7]]

    assert [theirs for theirs, _ in answers] == [ours for _, ours in answers]


@pytest.mark.promise("R06")
def test_an_outcome_that_belongs_to_an_earlier_state_changes_nothing() -> None:
    # This is what their row about generations is about, where ours change.
    side = Side(Breaker(failures=6, successes=1, probes=1))
    for old in ("success in half-open", "failure in half-open", "failure in closed"):
        side.begin(old)
    side.call("fail", 6)
    side.now = Instant(side.now + MINUTE)
    side.begin("probe")
    half_open = (side.state(), side.counts())
    side.finish("success in half-open")
    side.finish("failure in half-open", Result.FAILURE)
    still_half_open = (side.state(), side.counts())
    side.finish("probe")
    side.finish("failure in closed", Result.FAILURE)

    assert half_open == still_half_open
    assert ("closed", {"consecutive_failures": 0}) == (side.state(), side.counts())


def load(vectors: Path) -> Any:
    return json.loads((vectors / "breaker_gobreaker.json").read_text(encoding="utf-8"))["cases"]


def rows(cases: Any) -> Iterator[Row]:
    special = {RAISE: raising, NEGATIVE: negative, PARALLEL: parallel}
    for case in cases:
        if case["name"] in special:
            yield case["name"], *special[case["name"]](case)
        else:
            yield from stepwise(case)


def parameters(config: Any) -> Breaker:
    """`max_requests` is both how many probes go and how many successes close; an interval of 0 is no window."""
    trip = dict(TRIPS[config.get("trip", "consecutive_failures > 5").partition(", valid =")[0]])
    if config["interval_s"]:
        # A window needs a rate: where they trip on failures in a row only, one that no row reaches.
        trip = {"failure_rate": 1.0, **trip, "window": seconds(config["interval_s"])}
    probes = config["max_requests"]
    span = seconds(config["timeout_s"])
    return Breaker(open_for=span, max_open_for=span, probes=probes, successes=probes, **trip)


def seconds(value: float) -> Duration:
    return from_seconds(value, field="")


class Side:
    """Our breaker with a clock, and the calls that are under way."""

    def __init__(self, parameters: Breaker) -> None:
        self.breaker = BreakerPolicy(parameters)
        self.now = START
        self._under_way: dict[str, Grant] = {}

    def begin(self, name: str) -> bool:
        """Is the call let through?"""
        if self.breaker.earliest(self.now, PLAIN) > self.now:
            return False
        self.breaker.commit(self.now, PLAIN)
        self._under_way[name] = Grant(self.now, self.breaker.generation)
        return True

    def finish(self, name: str, result: Result = Result.SUCCESS) -> None:
        self.breaker.record(self.now, self._under_way.pop(name), result)

    def call(self, what: str, times: int = 1) -> list[bool]:
        """Calls that begin and end at this instant, one after the other: which of them are let through?"""
        admitted = []
        for _ in range(times):
            admitted.append(self.begin(what))
            if admitted[-1]:
                self.finish(what, RESULTS[what])
        return admitted

    def state(self) -> str:
        """In their words. Ours is open until the first probe goes; they call it half-open as soon as one may."""
        cooled = self.breaker.status is BreakerStatus.OPEN and self.breaker.until <= self.now
        return "half-open" if cooled else self.breaker.status.value.replace("_", "-")

    def counts(self) -> Mapping[str, int]:
        """By their names, what ours has as well in this state."""
        state = self.breaker.state()
        in_a_row = {"consecutive_failures": state.failures}
        window = self.breaker.parameters.window
        if self.state() != "closed":
            successes = {"successes": state.successes, "consecutive_successes": state.successes}
            return {**in_a_row, **successes, "requests": state.admitted}
        if window is None:
            return in_a_row
        gone = self.now - window
        inside = [(calls, failures) for dated, calls, failures in state.calls.slots if dated > gone]
        calls, failures = sum(calls for calls, _ in inside), sum(failures for _, failures in inside)
        return {**in_a_row, "valid": calls, "failures": failures, "successes": calls - failures}


def stepwise(case: Any) -> Iterator[Row]:
    side = Side(parameters(case["config"]))
    for number, step in enumerate(case["steps"]):
        name = f"{case['name']}/{number}"
        admitted: list[bool] = []
        for time in range(step.get("times", 1)):
            for part in parts(step):
                admitted += take(side, part)
            if "expect_each" in step:
                yield f"{name}/{time}", *compare(side, step["expect_each"][time], admitted)
        if "expect" in step:
            yield name, *compare(side, step["expect"], admitted)
            while step["expect"].get("state") == "open" and side.state() == "closed":
                side.call("fail")


def parts(step: Any) -> list[Any]:
    """What one time of a repetition consists of; any other step is its only part."""
    if step["op"] != "repeat":
        return [step]
    return [{"op": what} if isinstance(what, str) else {"op": "advance", "s": what["advance_s"]} for what in step["sequence"]]


def take(side: Side, step: Any) -> list[bool]:
    """One step; which of its calls were let through?"""
    match step["op"]:
        case "succeed" | "fail" | "exclude" as what:
            return side.call(what, step.get("n", 1))
        case "begin_slow_success":
            return [side.begin(step["id"])]
        case "finish":
            side.finish(step["id"])
        case "advance":
            passed = step.get("ns", 0) / 10**9 + step.get("ms", 0) / 10**3 + step.get("s", 0)
            side.now = Instant(side.now + seconds(passed))
        case what:
            raise AssertionError(f"the file has a step that is not known here: {what}")
    return []


def compare(side: Side, theirs: Any, admitted: list[bool]) -> tuple[object, object]:
    """What they expect and what we answer, as far as they say and ours can be asked."""
    assert {"state", "counts", "rejected", "reason", "transition", "all_admitted", "note"} >= theirs.keys()
    said = theirs.get("counts", {})
    counts = {**said, "valid": said["requests"] - said["exclusions"]} if said else {}
    ours = {name: count for name, count in side.counts().items() if name in counts}
    state = theirs.get("state") or theirs.get("transition", [None])[-1]
    let_through = (not theirs.get("rejected", False),) * len(admitted)
    return (
        (state, let_through, {name: counts[name] for name in ours}),
        (state and side.state(), tuple(admitted), ours),
    )


def governed(**breaker: object) -> Governor:
    policy = {"limits": [], "breaker": breaker}
    return Governor(Config.from_mapping({"outbound": {"default": policy}}), clock=ManualClock())


def raising(case: Any) -> tuple[object, object]:
    """Through the public API: an exception leaves the block of a permit."""
    (step,) = case["steps"]
    counts = step["expect"]["counts"]
    propagates = False
    with governed() as governor:
        try:
            with governor.permit("weather"):
                raise LookupError
        except LookupError:
            propagates = True
        scope = governor.statistics().scopes["weather"]
    theirs = (step["expect"]["propagates"], counts["requests"], counts["failures"], counts["consecutive_failures"])
    return theirs, (propagates, scope.counters.requests, scope.counters.failures, scope.breaker.failures)


def negative(case: Any) -> tuple[object, object]:
    rejected = set()
    for field, name in (("window", "interval_s"), ("open_for", "timeout_s")):
        span: Mapping[str, Any] = {field: case["config"][name] * SECOND}
        try:
            Breaker(failure_rate=0.6, **{"window": MINUTE, **span})
        except ConfigError as error:
            rejected.add(error.field)
    return set(), rejected


def parallel(case: Any) -> tuple[object, object]:
    """Through the public API: 10 threads with 40 calls each in place of 10000, half of them given back unused."""
    workers, calls = 10, 40
    scale = workers * calls / case["expect"]["requests"]
    theirs = {name: case["expect"][name] * scale for name in ("requests", "errors", "successes", "exclusions")}
    with governed(failure_rate=0.6, window="30s", minimum_calls=3) as governor, ThreadPoolExecutor(workers) as pool:

        def work(_: int) -> None:
            for number in range(calls):
                with governor.permit("weather") as permit:
                    if number % 2:
                        permit.give_back()

        for _ in pool.map(work, range(workers)):
            pass
        scope = governor.statistics().scopes["weather"]
    counters = scope.counters
    ours = {
        "requests": counters.requests,
        "errors": sum(counters.denied.values()) + counters.failures,
        "successes": counters.others,
        "exclusions": counters.neutral,
    }
    return (theirs, "closed"), (ours, scope.breaker.status)
