"""The events that listeners receive, and the sample of denials."""

from collections.abc import Iterable

import pytest

from governor import Reason
from governor.daemon.sampling import MAX_SAMPLED, Sampler
from governor.instrumentation import (
    AnyEvent,
    BreakerChanged,
    CallDenied,
    ClientDenied,
    DegradedEntered,
    DegradedLeft,
    Granted,
    LeaseRevoked,
    Retried,
)
from governor.policies.breakers.states import BreakerStatus


def denied(at: float, scope: str = "weather:get", reason: Reason = Reason.RATE_LIMIT) -> CallDenied:
    return CallDenied(at=at, scope=scope, reason=reason, retry_after=1.0)


def told(*events: AnyEvent) -> list[AnyEvent]:
    sampler = Sampler()
    return [event for event in events if sampler.admits(event)]


@pytest.mark.parametrize(
    "event",
    [
        BreakerChanged(scope="weather", before=BreakerStatus.CLOSED, after=BreakerStatus.OPEN, probes_in=60.0),
        DegradedEntered(cooldown=60.0),
        DegradedLeft(),
    ],
)
def test_every_change_of_state_is_announced(event: AnyEvent) -> None:
    assert [event] * 100 == told(*[event] * 100)


@pytest.mark.parametrize(
    "event",
    [Granted(scope="weather", waited=1.0), Retried(scope="weather", attempt=2), LeaseRevoked(scope="weather", permits=3)],
)
def test_what_is_granted_is_not_told(event: AnyEvent) -> None:
    assert [] == told(event)


def test_of_a_scope_and_a_reason_the_first_denial_of_each_second_is_announced() -> None:
    events = [denied(at) for at in (5.0, 5.1, 5.999, 6.0, 6.5, 9.0)]

    assert [5.0, 6.0, 9.0] == [event.at for event in told(*events)]


def test_other_scopes_reasons_groups_and_limits_are_announced_beside_each_other() -> None:
    def client_event(group: str, limit: str) -> ClientDenied:
        return ClientDenied(at=5.0, group=group, client="actor-1", limit=limit, retry_after=1.0)

    events: Iterable[AnyEvent] = (
        denied(5.0),
        denied(5.0, scope="weather:post"),
        denied(5.0, reason=Reason.OVERLOADED),
        client_event("chat", "client"),
        client_event("chat", "total"),
        client_event("models", "client"),
    )

    assert list(events) == told(*events)


def test_a_second_has_so_many_refusals_at_most_and_any_number_of_changes() -> None:
    refusals = [denied(5.0, scope=f"scope{number}") for number in range(MAX_SAMPLED + 5)]
    change = DegradedEntered(at=5.0, cooldown=60.0)
    later = denied(6.0, scope="scope24")

    assert [*refusals[:MAX_SAMPLED], change, later] == told(*refusals, change, later)
