"""What an operator does over the socket: with scopes and providers, with degraded mode, and with processes."""

from collections.abc import Iterable
from typing import assert_never

from governor._owner.session import Session
from governor._supervisor import Supervisor
from governor.errors import ConfigError, UsageError
from governor.protocol import Act, Acted, Forget


def perform(act: Act, supervisor: Supervisor, sessions: Iterable[Session]) -> Acted:
    """Does it, on the actors' thread. `sessions` are those of all processes."""
    operations = supervisor.operations
    try:
        match act.action:
            case "close":
                operations.close(act.name, act.open_for)
            case "open":
                operations.open(act.name)
            case "reset":
                forget = Forget(operations.reset(act.name))
                for session in sessions:
                    if session.is_process:
                        session.send(forget)  # Each watches for loops itself.
            case "resume":
                supervisor.leave_degraded()
            case "recall":
                return _recall(act, sessions)
            case _:
                assert_never(act.action)
    except (ConfigError, UsageError) as mistake:
        return Acted(act.number, str(mistake))
    return Acted(act.number)


def _recall(act: Act, sessions: Iterable[Session]) -> Acted:
    named = [one for one in sessions if one.is_process and act.name in (one.name, str(one.pid))]
    if not named:
        raise UsageError(f"no process with the name or the number {act.name!r} is connected")
    return Acted(act.number, processes=len(named), permits=sum(one.leases.recall_all() for one in named))
