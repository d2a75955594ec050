"""What a process decides while the daemon is away, against what its share of each limit, and of each budget, allows.

Real are the supervisor of the process, by which it decides, and its calls; the clock moves by hand.
"""

import tomllib
from collections import Counter, deque
from dataclasses import dataclass
from random import Random
from typing import Any, Final, cast

import pytest
from anyio.abc import TaskGroup
from hypothesis import settings

from governor import Config, Grant, Instant, Permit, Result
from governor._actors.actor import ScopeActor
from governor._failures import DEFAULT
from governor._member.away import FIRST_TTL, Away, config_for
from governor._member.calls import Calls
from governor._member.permits import AskedOwner, Outbox
from governor._member.stand_in import StandIn
from governor._supervisor import Supervisor
from governor._units import DAY, SECOND
from governor.config.budget_settings import BudgetSettings
from governor.instrumentation import Announcer
from governor.messages import Acquire, Report, Settled
from governor.policies.contract import PLAIN, Request
from tests.support import tape as st
from tests.support.portals import StillPortal
from tests.support.tape import given

pytestmark = pytest.mark.promise("R63")

START: Final = Instant(10 * DAY)
PER: Final = 10 * SECOND
SCOPES: Final = ("api:get", "api:post")
LABELS: Final = ("agent", "job")
#: What does not matter for decisions.
NOTHING: Final[Any] = None


class NoTasks:
    def start_soon(self, *arguments: object, **options: object) -> None:
        """No task runs: the test moves the clock."""


class Box:
    def __init__(self) -> None:
        self.entries: deque[Any] = deque()
        self.failures: deque[None] = deque()

    def notify(self) -> None:
        """No process reads it."""


@dataclass
class Call:
    scope: str
    label: str
    at: int
    permit: Permit
    tokens: int
    #: What it has used beyond its estimate, and when that became known.
    more: int = 0
    known_at: int = 0


class Process:
    """A process that has lost its daemon, with calls in flight that the daemon has granted."""

    def __init__(self, config: Config, held: list[str]) -> None:
        self.now = int(START)
        portal = StillPortal(lambda: self.now / SECOND)
        self.local = Supervisor(
            config_for(config),
            now=self.clock,
            random=Random(0),
            portal=portal,
            tasks=cast("TaskGroup", NoTasks()),
            on_forgotten=lambda _: None,
            announcer=Announcer(lambda: 0.0),
            leases=False,
        )
        self.away = Away(self.local, config.machine, self.clock, lambda: self.calls.at_the_daemon())
        self.calls = Calls(self.away, cast("Outbox", Box()), DEFAULT, NOTHING)
        grant = Grant(Instant(7 * DAY), 5)  # By the clock, and the breaker, of another process.
        self.held = [self.calls.granted(standing_in(one), grant, number, held=True) for number, one in enumerate(held, 1)]
        self.open: list[Call] = []
        self.made: list[Call] = []
        self.away.begin(FIRST_TTL)

    def clock(self) -> Instant:
        return Instant(self.now)

    def ask(self, scope: str, label: str, tokens: int) -> None:
        actor = self.away.actor(scope)
        assert isinstance(actor, ScopeActor)
        answer = actor.acquire(Acquire(Request(1, {"tokens": tokens}), 0.0, caller=label), None)
        if isinstance(answer, Permit):
            permit = self.calls.granted_here(standing_in(scope), answer, actor, label)
            self.open.append(Call(scope, label, self.now, permit, tokens))
            self.made.append(self.open[-1])

    def end(self, index: int, used: int) -> None:
        if index < len(self.open):
            call = self.open.pop(index)
            owner, grant, amounts = cast("AskedOwner", call.permit._owner), call.permit.grant(), {"tokens": used}
            self.calls.tell(owner, Settled(grant, amounts))
            self.calls.tell(owner, Report(grant.corrected(amounts), Result.SUCCESS, 200))
            call.tokens, call.more, call.known_at = min(call.tokens, used), max(0, used - call.tokens), self.now

    def end_held(self, index: int) -> None:
        if index < len(self.held):
            permit = self.held.pop(index)
            self.calls.tell(cast("AskedOwner", permit._owner), Report(permit.grant(), Result.SUCCESS, 200))

    def in_flight(self) -> Counter[str]:
        return Counter([*(call.scope for call in self.open), *(permit.scope for permit in self.held)])


def standing_in(scope: str) -> StandIn:
    found = StandIn.__new__(StandIn)
    found.scope = scope
    return found


ASK: Final = st.tuples(st.just("ask"), st.sampled_from(SCOPES), st.sampled_from(LABELS), st.sampled_from([0, 1, 9]))
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0, SECOND, PER // 2, PER]), st.none(), st.none()),
        ASK,
        ASK,
        ASK,
        st.tuples(st.just("end"), st.integers(0, 2), st.integers(0, 12), st.none()),
        st.tuples(st.just("end_held"), st.integers(0, 2), st.none(), st.none()),
    ),
    min_size=5,
    max_size=50,
)


PLENTY: Final = "[outbound.default]\nlimits = ['1000000/s']\nlinger = 'off'\n"
#: The settings by what is limited, with a place for the limit.
LIMITED: Final = {
    "places": "[outbound.default]\nlimits = ['{} in flight']\nlinger = 'off'",
    "places together": PLENTY + "[provider.api]\nlimits = ['{} in flight']",
    "window": "[outbound.default]\nlimits = ['{} per 10s strict']",
    "window together": PLENTY + "[provider.api]\nlimits = ['{} per 10s strict']\ncost = {{ get = 3, post = 3 }}",
    "bucket": "[outbound.default]\nlimits = ['{0}/10s burst {0}']",
    "budget": PLENTY + "[budget.all]\nlabels = ['*']\ntokens = '{} per 10s'",
}


@given(
    steps=STEPS,
    waited=st.sampled_from([0, FIRST_TTL, PER, PER + FIRST_TTL - 1, PER + FIRST_TTL, 2 * PER, 3 * PER]),
    held=st.lists(st.sampled_from(SCOPES), max_size=4),
    share=st.sampled_from([0.1, 0.5, 1.0]),
    limited=st.sampled_from(sorted(LIMITED)),
    limit=st.integers(3, 40),
)
@settings(max_examples=100)
def test_a_process_keeps_to_its_share_of_every_limit_and_budget_and_knows_what_it_has_used(
    steps: list[Any], waited: int, held: list[str], share: float, limited: str, limit: int
) -> None:
    policy = "[global]\nrequests_per_minute = 'off'\ndegraded_after_failures = 'off'\n" + LIMITED[limited].format(limit)
    process = Process(Config.from_mapping({**tomllib.loads(policy), "machine": {"share": share}}), held)
    most = max(1, int(limit * share))
    process.ask("api:get", "agent", 1)  # The limits are made, and count as used up, with the first call.
    process.now += waited
    for what, one, other, third in steps:
        before = len(process.made)
        match what:
            case "wait":
                process.now += one
            case "ask":
                process.ask(one, other, third)
            case "end":
                process.end(one, other)
            case _:
                process.end_held(one)
        if len(process.made) > before:
            assert used_at(process, limited) <= most
            assert "places" in limited or process.now > START + FIRST_TTL
            assert not {"window", "budget"} & {limited} or process.now >= START + FIRST_TTL + PER

    assert used(process) == process.calls.used()


def used_at(process: Process, limited: str) -> float:
    """What counts in the limit at the last call, that one included."""
    last, since = process.made[-1], process.now - PER
    recent = [call for call in process.made if call.at > since]
    of_scope = [call for call in recent if call.scope == last.scope]
    match limited:
        case "places":
            return process.in_flight()[last.scope]
        case "places together":
            return process.in_flight().total()
        case "window":
            return len(of_scope)
        case "window together":
            return 3 * len(recent) if len(recent) > 1 else 1
        case "bucket":
            return (len(of_scope) + 1) // 2  # In a window, what it holds and what is refilled.
        case _:
            mine = [call for call in process.made[:-1] if call.label == last.label]
            spent = sum(call.tokens * (call.at > since) + call.more * (call.known_at > since) for call in mine)
            return spent + max(1, last.tokens)


def used(process: Process) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """What no daemon knows, by scope and by label."""
    by_scope: dict[str, Counter[str]] = {}
    by_label: dict[str, Counter[str]] = {}
    for call in process.made:
        amounts = {"requests": 1, "tokens": call.tokens + call.more}
        by_scope.setdefault(call.scope, Counter()).update(amounts)
        by_label.setdefault(call.label, Counter()).update(amounts)
    return {name: dict(+one) for name, one in by_scope.items()}, {name: dict(+one) for name, one in by_label.items()}


def test_what_was_told_is_not_told_again_and_a_place_that_was_given_back_is_free() -> None:
    config = Config.from_mapping(
        {
            "global": {"requests_per_minute": "off"},
            "outbound": {"default": {"limits": ["2 in flight"]}},
            "machine": {"share": 0.5},
        }
    )
    process = Process(config, ["api:get"])
    process.ask("api:get", "agent", 0)
    denied = len(process.made)
    permit = process.held.pop()
    process.calls.tell(cast("AskedOwner", permit._owner), permit.grant())
    process.ask("api:get", "agent", 0)
    said = process.calls.used()
    process.calls.use("api:get", PLAIN, "job")

    assert (0, 1) == (denied, len(process.made))
    assert not process.calls.told(said)
    assert ({"api:get": {"requests": 1}}, {"job": {"requests": 1}}) == process.calls.used()
    assert process.calls.told(process.calls.used())


def test_a_place_is_kept_once_through_two_absences() -> None:
    settings = {"global": {"requests_per_minute": "off"}, "outbound": {"default": {"limits": ["4 in flight"]}}}
    process = Process(Config.from_mapping({**settings, "machine": {"share": 0.5}}), ["api:get"])
    for _ in range(2):
        process.away.begin(FIRST_TTL)
        process.ask("api:get", "agent", 0)

    assert 1 == len(process.made)
    process.end_held(0)
    process.ask("api:get", "agent", 0)
    assert 2 == len(process.made)


@given(amount=st.integers(1, 10**7), share=st.floats(0.0001, 1.0), unit=st.sampled_from(["tokens", "usd"]))
def test_a_share_of_a_budget_allows_no_more_than_that_share_and_at_least_one_unit(amount: int, share: float, unit: str) -> None:
    text = f"{amount // 10**6}.{amount % 10**6:06}" if unit == "usd" else str(amount)
    settings = BudgetSettings(tokens=f"{text} per 10m") if unit == "tokens" else BudgetSettings(usd=f"{text} per 10m")
    (whole,), (scaled,) = settings.budget("b").limits, settings.scaled(share).budget("b").limits

    assert 1 <= scaled.amount <= max(1, amount * share)
    assert scaled.amount * whole.per <= amount * share * scaled.per * (1 + 1e-9)
    assert settings.budget("b") == settings.scaled(1.0).budget("b")
