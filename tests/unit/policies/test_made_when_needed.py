"""What all scopes share until each needs its own is never changed: what one of them learns, no other knows."""

import tracemalloc
from collections.abc import Callable

import pytest

from governor._units import SECOND, Duration, Instant
from governor.policies.ban_budget import BanBudget
from governor.policies.ban_guard import BanGuard, Rejection
from governor.policies.breakers.breaker import unmoved
from governor.policies.breakers.parameters import Breaker
from governor.policies.clients.tables import build
from governor.policies.composition import compose
from governor.policies.contract import PLAIN, Grant, Limit, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.pipeline import Pipeline
from governor.policies.provider import ProviderParameters, ProviderPolicies
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.windows.parameters import StrictWindow

NOW = Instant(1_000_000_000)
#: Calls under way are counted always, and only after rejections.
STRICT = ProviderParameters(ban_budget=BanBudget(refusals=10, in_a_row=2))
LENIENT = ProviderParameters(ban_budget=BanBudget(in_a_row=2))


def forbid(subject: Pipeline) -> None:
    subject.guard.learn(NOW, NOW, Rejection.FORBIDDEN)


def limit(subject: Pipeline) -> None:
    subject.guard.learn(NOW, NOW, Rejection.LIMITED)


def count(subject: Pipeline) -> None:
    limit(subject)
    subject.shared.ban_budget.count(NOW, 3)


def withdraw(subject: Pipeline) -> None:
    assert subject.shared.budget.withdraw(NOW, 2)


def deposit(subject: Pipeline) -> None:
    subject.shared.budget.deposit(NOW, 100)


def fail(subject: Pipeline) -> None:
    subject.record(NOW, Grant(NOW, 0), Result.FAILURE)


def owe(subject: Pipeline) -> None:
    grant = subject.commit(NOW, Request(1, {"tokens": 1}))
    subject.settle(NOW, grant, {"tokens": 10_000})


def hear(subject: Pipeline) -> None:
    subject.own_server.throttled(NOW, Grant(NOW, 0), sent=1.0, succeeded=True)


def hear_of_the_provider(subject: Pipeline) -> None:
    subject.shared.server.throttled(NOW, Grant(NOW, 0), sent=1.0, succeeded=True)


def restore(subject: Pipeline) -> None:
    other = new()
    forbid(other)
    withdraw(other)
    deposit(other)
    subject.restore(other.state())
    subject.shared.restore(other.shared.state())


def carry_over(subject: Pipeline) -> None:
    other = new()
    forbid(other)
    other.pause_alone().extend(NOW, SECOND)
    subject.carry_over(NOW, other)
    subject.shared.begin_rejections()
    subject.shared.ban_budget.carry_over(NOW, other.shared.ban_budget)


def restore_the_pause(subject: Pipeline) -> None:
    other = new()
    pause(other)
    subject.restore(other.state())


def pause(subject: Pipeline) -> None:
    subject.pause_alone().extend(NOW, SECOND)


def pause_the_provider(subject: Pipeline) -> None:
    subject.shared.own_cooldown().extend(NOW, SECOND)


def restore_the_pause_of_the_provider(subject: Pipeline) -> None:
    other = new()
    pause_the_provider(other)
    subject.shared.restore(other.shared.state())


def close_the_provider(subject: Pipeline) -> None:
    subject.shared.own_hold().until = Instant(NOW + SECOND)


def open_by_hand(subject: Pipeline) -> None:
    subject.force_breaker(NOW, Instant(NOW + SECOND))


def reconfigure(subject: Pipeline) -> None:
    forbid(subject)
    subject.shared.reconfigure(NOW, ProviderParameters(ban_budget=BanBudget(refusals=20, in_a_row=1)))


def new(parameters: ProviderParameters = STRICT) -> Pipeline:
    return compose(
        Breaker(),
        [TokenBucket(1, SECOND, burst=10), TokenBucket(1, SECOND, burst=10, unit="tokens")],
        cap=RequestCapPolicy(RequestCap()),
        degraded=DegradedPolicy(Degraded()),
        provider=ProviderPolicies.of("one", parameters),
        max_debt=1.0,
    )


def known(subject: Pipeline) -> tuple[object, ...]:
    later = Instant(NOW + Duration(1))
    shared = subject.shared
    return (
        subject.state(),
        shared.state(),
        dict(subject.dropped),
        subject.verdict(later, PLAIN),
        shared.budget.balance(later),
        shared.ban_budget.rejections(later),
        subject.at_rest(later),
        subject.rests_at(later),
        shared.rests_at(),
    )


@pytest.mark.parametrize("parameters", [STRICT, LENIENT], ids=["strict", "lenient"])
@pytest.mark.parametrize(
    "happens",
    [
        forbid,
        limit,
        count,
        withdraw,
        deposit,
        fail,
        owe,
        hear,
        hear_of_the_provider,
        restore,
        carry_over,
        restore_the_pause,
        pause,
        pause_the_provider,
        restore_the_pause_of_the_provider,
        close_the_provider,
        open_by_hand,
        reconfigure,
    ],
)
def test_what_happens_in_one_scope_is_unknown_in_others_and_in_new_ones(
    happens: Callable[[Pipeline], None], parameters: ProviderParameters
) -> None:
    other, subject, before = new(parameters), new(parameters), known(new(parameters))

    happens(subject)

    assert before != known(subject)
    assert [before, before] == [known(other), known(new(parameters))]


def test_scopes_share_a_breaker_only_until_one_fails_however_many_other_breakers_there_are() -> None:
    subject, other, before = new(), new(), known(new())
    for failures in range(1, 1001):
        unmoved(Breaker(failures=failures))
    fail(subject)

    assert subject.breaker is not other.breaker
    assert before == known(other)


def test_an_answer_in_a_scope_without_rejections_ends_those_of_its_provider() -> None:
    provider = ProviderPolicies.of("one", LENIENT)
    rejected, other = BanGuard("one:get", provider), BanGuard("one:post", provider)
    rejected.learn(NOW, NOW, Rejection.FORBIDDEN)
    before = provider.rejections.run
    other.learn(NOW, NOW, Rejection.NONE)

    assert (1, 0) == (before, provider.rejections.run)


def test_a_provider_goes_on_with_what_its_server_has_said() -> None:
    subject, other = new(), new()
    hear_of_the_provider(subject)
    other.shared.restore(subject.shared.state())

    assert NOW < other.shared.rests_at()
    assert len(subject.shared.stated) == len(other.shared.stated) == 1


@pytest.mark.parametrize("heard", [False, True])
def test_other_settings_of_a_provider_hold_for_what_its_server_will_say(heard: bool) -> None:
    provider = ProviderPolicies.of("one", ProviderParameters(adopts=False))
    before = provider.server.adopts if heard else False
    provider.reconfigure(NOW, ProviderParameters(adopts=True))

    assert (False, True) == (before, provider.server.adopts)


@pytest.mark.parametrize("limit", [TokenBucket(1, SECOND, burst=10), StrictWindow(10, SECOND)], ids=["bucket", "window"])
def test_a_client_of_one_table_is_in_no_other(limit: Limit) -> None:
    table, other, key = build(limit, 1000), build(limit, 1000), bytes(16)
    table.commit(NOW, key)

    assert (1, 0, 0) == (len(table), len(other), len(build(limit, 1000)))
    assert (9, 10) == (table.available(NOW, key), other.available(NOW, key))


def test_tables_without_clients_take_little_memory() -> None:
    tracemalloc.start()
    try:
        tables = [build(TokenBucket(1, SECOND, burst=10), 100_000) for _ in range(100)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < len(tables) * 8_192
