"""Makes the backend of a governor: a supervisor, or a member where a daemon owns the limits."""

from collections.abc import Callable
from functools import partial
from random import Random

from anyio.abc import TaskGroup

from governor._actors.address import Address
from governor._actors.portal import Portal
from governor._backend import Backend
from governor._failures import Classifier
from governor._state import LifeState
from governor._supervisor import Supervisor
from governor.clock import Clock
from governor.config import Config
from governor.instrumentation import Announcer


def set_up(
    config: Config,
    *,
    now: Clock,
    random: Random,
    portal: Portal,
    tasks: TaskGroup,
    on_forgotten: Callable[[Address], None],
    announcer: Announcer,
    classifier: Classifier,
    leases: bool,
    state: LifeState | None,
) -> tuple[Supervisor, Backend]:
    """The supervisor of this process, which owns its inbound groups, and the backend for its calls."""
    make = partial(Supervisor, now=now, random=random, portal=portal, tasks=tasks, announcer=announcer, classifier=classifier)
    if config.machine.socket is None:
        supervisor = make(config, on_forgotten=on_forgotten, leases=leases, state=state)
        return supervisor, supervisor
    # Loaded only where it is of use.
    from governor._member.away import config_for
    from governor._member.member import Member

    supervisor = make(config_for(config), on_forgotten=_nothing, leases=False)
    member = Member(
        config,
        config.machine.socket,
        supervisor=supervisor,
        now=now,
        random=random,
        portal=portal,
        tasks=tasks,
        announcer=announcer,
        classifier=classifier,
        on_forgotten=on_forgotten,
    )
    return supervisor, member


def _nothing(actor: Address) -> None:
    """No call has the address of an actor that decides while the daemon is away."""
