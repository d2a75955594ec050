"""The loop guard against a model that remembers everything, its bounds, and the real trace with repeated prompts."""

import json
import random
import tracemalloc
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from hypothesis import settings

from governor._units import Instant
from governor.policies import loops
from governor.policies.loops import DELAYED, MAX_CYCLE, MAX_SEEN, MAX_SUSPECTS, Call, LoopGuard, Loops, Stage
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R09")

SECOND: Final = 1_000_000
RULE: Final = Loops()


class Loop:
    """One caller that makes calls one after the other, waits where it is told to, and obeys no denial."""

    def __init__(self, guard: LoopGuard, rule: Loops = RULE, caller: str | None = None, now: int = 0) -> None:
        self.guard, self.rule, self.caller, self.now = guard, rule, caller, now
        self.stages: list[Stage] = []
        #: The seconds that were waited before each granted call.
        self.waits: list[float] = []
        self.denied = 0

    def call(
        self,
        key: str,
        answer: str,
        *,
        shape: str = "",
        idle: float = 0.1,
        took: float = 1.0,
        gist: bytes | None = None,
        failed: bool = False,
    ) -> bool:
        """Makes a call `idle` seconds after the answer before. True if it was granted."""
        self.now += int(idle * SECOND)
        call, asked_at = Call(key, shape or key, self.caller), Instant(self.now)
        while (found := self.guard.ask(Instant(self.now), self.rule, call, asked_at)) is not None:
            if found.denied:
                self.denied += 1
                return False
            self.now += found.wait
        self.waits.append((self.now - asked_at) / SECOND)
        self.now += int(took * SECOND)
        stage = self.guard.answered(Instant(self.now), self.rule, call, asked_at, answer.encode(), gist=gist, failed=failed)
        if stage is not None:
            self.stages.append(stage)
        return True


@pytest.mark.parametrize(
    ("caller", "cycle", "limit", "warnings"),
    [
        (None, "A", RULE.repeats, 1),
        ("agent-7", "A", RULE.repeats, 1),
        (None, "AB", RULE.repeats * 2, 2),
        (None, "ABCDEFGH", RULE.repeats * 8, 8),
        # The first lap, and two thirds as many calls that say nothing new as similar calls are granted.
        ("agent-7", "AB", 2 + RULE.similar * 2 // 3, 2),
        ("agent-7", "ABCDE", 5 + RULE.similar * 2 // 3, 3),
        ("agent-7", "ABCDEFGH", 8 + RULE.similar * 2 // 3, 1),
    ],
)
def test_a_cycle_of_equal_answers_is_warned_of_delayed_and_denied(
    caller: str | None, cycle: str, limit: int, warnings: int
) -> None:
    loop = Loop(LoopGuard(), caller=caller)

    granted = [loop.call(key, key, shape="any") for _ in range(200 // len(cycle)) for key in cycle]

    assert [True] * limit + [False] * (5 * len(cycle)) == granted[: limit + 5 * len(cycle)]
    assert [Stage.WARNED] * warnings == loop.stages
    assert {0.0} == set(loop.waits[: limit - DELAYED * len(cycle)])
    if len(cycle) == 1:
        assert [0.5, 1.0, 2.0] == [round(wait + 0.1, 3) for wait in loop.waits[-DELAYED:]]


@pytest.mark.parametrize(("more", "answer", "idle"), [("F{}", "same", 0.1), ("A", "no {}", 0.1), ("A", "same", 10.0)])
def test_a_caller_with_a_label_that_hears_something_new_or_pauses_goes_on(more: str, answer: str, idle: float) -> None:
    loop = Loop(LoopGuard(), caller="agent-7")

    for lap in range(RULE.repeats - 1):
        assert [True] * 5 == [loop.call(key, "same") for key in "ABCDE"]
        if lap % 2:
            loop.call(more.format(lap), answer.format(lap), idle=idle)


def test_a_loop_that_varies_a_counter_is_denied_by_its_shape() -> None:
    loop = Loop(LoopGuard())

    granted = [loop.call(f"try {number}", "same", shape="try #") for number in range(60)]

    assert [True] * RULE.similar + [False] * (60 - RULE.similar) == granted


def test_changing_answers_are_polled_at_a_rate_and_for_ever() -> None:
    loop = Loop(LoopGuard())

    assert [True] * 500 == [loop.call("status", f"{number} %", idle=0, took=0.01) for number in range(500)]
    assert {0.0} == set(loop.waits[: RULE.repeats])
    assert {0.1} == {round(wait, 3) for wait in loop.waits[RULE.repeats + 1 :]}


def test_a_call_whose_equal_answers_have_ended_by_themselves_may_wait_four_times_as_long_for_another() -> None:
    loop = Loop(LoopGuard())

    for number in range(9):
        assert [True] * 5 == [loop.call("price", f"{number} EUR") for _ in range(5)]
    assert [True] * 20 + [False] == [loop.call("price", "9 EUR") for _ in range(21)]


@pytest.mark.parametrize(("caller", "gist", "limit"), [("agent-7", b"made", 13), (None, b"made", 30), ("agent-7", None, 30)])
def test_a_caller_with_a_label_whose_answers_are_new_but_for_what_they_are_about_is_in_a_cycle(
    caller: str | None, gist: bytes | None, limit: int
) -> None:
    loop = Loop(LoopGuard(), caller=caller)

    assert limit == sum(loop.call("A", str(number), gist=gist) for number in range(30))


@pytest.mark.parametrize(("errors", "failed", "limit"), [("E", True, 13), ("EF", True, 30), ("E", False, 30)])
def test_calls_that_fail_one_like_the_other_do_not_end_a_cycle_and_other_new_answers_do(
    errors: str, failed: bool, limit: int
) -> None:
    loop, granted = Loop(LoopGuard(), caller="agent-7"), 0
    for number in range(30):
        granted += loop.call("A", str(number), gist=b"made")
        assert loop.call(f"new {number}", errors[number % len(errors)], failed=failed)

    assert limit == granted


@pytest.mark.parametrize(("caller", "idle"), [(None, 2.0), ("agent-7", 10.0)])
def test_a_timer_is_no_loop_and_one_that_is_a_moment_faster_is(caller: str | None, idle: float) -> None:
    timer, loop = Loop(LoopGuard(), caller=caller), Loop(LoopGuard(), caller=caller)

    assert all(timer.call("heartbeat", "ok", idle=idle) for _ in range(100))
    assert [] == timer.stages
    assert RULE.repeats == [loop.call("heartbeat", "ok", idle=idle - 1e-6) for _ in range(12)].index(False)


@pytest.mark.parametrize("caller", [None, "agent-7"])
def test_calls_under_way_together_count_as_one(caller: str | None) -> None:
    guard, call = LoopGuard(), Call("A", "A", caller)
    for round_ in range(RULE.repeats):
        asked_at = Instant(round_ * SECOND)
        assert [None] * 20 == [
            found if found is None or found.denied else None
            for _ in range(20)
            if (found := guard.ask(asked_at, RULE, call), 1)[1]
        ]
        for number in range(20):
            guard.answered(Instant(asked_at + SECOND // 2 + number), RULE, call, asked_at, b"same")

    found = guard.ask(Instant(RULE.repeats * SECOND), RULE, call)
    assert found is not None
    assert found.denied


def test_after_the_cooldown_one_probe_is_granted_and_a_new_answer_ends_the_denial() -> None:
    loop = Loop(LoopGuard())
    while loop.call("A", "same"):
        pass

    assert not loop.call("A", "same", idle=59.9)
    assert loop.call("A", "same", idle=0.1)
    assert not loop.call("A", "same")
    assert loop.call("A", "another", idle=60.0)
    assert all(loop.call("A", "another") for _ in range(RULE.repeats - 1))
    assert not loop.call("A", "another")


def test_a_caller_is_not_denied_for_the_loop_of_another_one() -> None:
    guard = LoopGuard()
    loop, other = Loop(guard, caller="agent-7"), Loop(guard, caller="agent-8")
    while loop.call("A of 7", "same"):
        pass

    assert other.call("A of 8", "same")


class Step(NamedTuple):
    """A call of the model, and the time before and during it, in tenths of a second."""

    key: str
    answer: str
    idle: int
    took: int


def model(steps: list[Step]) -> Iterator[bool]:
    """Whether each call would be denied, by looking back through everything that was granted."""
    past: list[tuple[str, str, int, int]] = []  # Key, answer, and when it was asked and answered.
    now = 0
    for step in steps:
        now += step.idle
        runs = runs_of(past, step.key, now)
        if runs and runs[0] >= max(3, 4 * max(runs[1:], default=0)):
            yield True
            return
        yield False
        past.append((step.key, step.answer, now, now + step.took))
        now += step.took


def runs_of(past: list[tuple[str, str, int, int]], key: str, asked: int) -> list[int]:
    """The numbers of equal answers to this call in a row, each soon before the next, of which the latest run is the first."""
    runs, last = list[int](), ""
    for index in range(len(past) - 1, -1, -1):
        if past[index][0] != key:
            continue
        between = past[index + 1 :]
        if len(between) + 1 <= MAX_CYCLE:
            answers = [past[index][3], *(answered for _, _, _, answered in between)]
            asks = [*(ask for _, _, ask, _ in between), asked]
            soon = all(ask - answered < 20 for answered, ask in zip(answers, asks, strict=True))
        else:
            soon = asked - past[index][3] < 20
        if not soon:
            return runs
        if past[index][1] != last:
            runs.append(0)
        runs[-1] += 1
        last, asked = past[index][1], past[index][2]
        past = past[:index]
    return runs


@settings(max_examples=150)
@given(
    st.lists(
        st.builds(Step, st.sampled_from("ABCDEFGHIJ"), st.sampled_from("xxxy"), st.integers(0, 25), st.integers(0, 30)),
        max_size=60,
    )
    | st.lists(
        st.builds(Step, st.sampled_from("AB"), st.sampled_from("xxxy"), st.integers(0, 25), st.integers(0, 30)), max_size=60
    )
)
def test_a_caller_is_denied_exactly_when_the_model_says_so(steps: list[Step]) -> None:
    loop = Loop(LoopGuard(), Loops(repeats=3, delay="1us"))
    denied = []
    for step in steps:
        loop.now -= loop.now % 100_000  # Without the delays of a few microseconds, of which a pause must be longer.
        denied.append(not loop.call(step.key, step.answer, idle=step.idle / 10 + 1e-5, took=step.took / 10))
        if denied[-1]:
            break

    assert list(model(steps)) == denied


def test_distinct_calls_flood_the_tables_within_their_bounds_and_leave_the_suspects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds divided by 16; `MAX_SEEN` and `MAX_SUSPECTS` together are to be less than 16 MB."""
    monkeypatch.setattr(loops, "MAX_SEEN", MAX_SEEN // 16)
    monkeypatch.setattr(loops, "MAX_SUSPECTS", MAX_SUSPECTS // 16)
    tracemalloc.start()
    guard = LoopGuard()
    loop = Loop(guard)
    while loop.call("A", "same"):
        pass
    for number in range(MAX_SEEN // 4):
        flood = Call(number, -1 - number, f"caller {number}")
        guard.answered(Instant(loop.now), RULE, flood, Instant(loop.now), number.to_bytes(8))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(guard) <= (MAX_SEEN + MAX_SUSPECTS) // 16
    assert size < 2**20
    assert not loop.call("A", "same")


def test_of_too_many_suspects_the_least_suspicious_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "MAX_SUSPECTS", 4)
    guard = LoopGuard()
    loop = Loop(guard)
    while loop.call("A", "same"):
        pass
    for number in range(20):
        for _ in range(2):
            loop.call(f"twice {number}", "same")

    assert 4 == len(guard)
    assert not loop.call("A", "same")
    assert loop.call("twice 0", "same")


@pytest.mark.parametrize("caller", [None, "agent-7"])
def test_no_prompt_of_a_real_trace_is_denied_or_delayed_even_if_its_answers_repeat(traces: Path, caller: str | None) -> None:
    """The whole trace; all calls as those of one caller, each answered after the time in which its tokens are written."""
    guard, answers = LoopGuard(), []
    rows = [json.loads(line) for line in (traces / "mooncake_synthetic_trace.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        at = row["timestamp"] * 1000
        prompt = hash(tuple(row["hash_ids"]))
        answers.append((at + row["output_length"] * 20_000, at, Call(prompt, prompt, caller)))
    found: set[object] = set()
    ending = deque(sorted(answers, key=lambda each: each[0]))
    for _, at, call in answers:
        while ending and ending[0][0] <= at:
            ended, asked_at, done = ending.popleft()
            found.add(guard.answered(Instant(ended), RULE, done, Instant(asked_at), b"same"))
        found.add(guard.ask(Instant(at), RULE, call))

    assert {None} == found


def test_random_calls_of_many_callers_are_never_denied() -> None:
    """Two users in a thousand ask the same question, and each gets the same answer."""
    guard, draw = LoopGuard(), random.Random(9)
    for at in range(0, 200 * SECOND, SECOND // 50):
        call = Call(draw.randrange(1000), "shape", f"user-{draw.randrange(50)}")
        call = call._replace(key=(call.key, call.caller), shape=(call.key, call.caller))
        assert guard.ask(Instant(at), RULE, call) is None
        guard.answered(Instant(at + 5_000), RULE, call, Instant(at), b"same")
