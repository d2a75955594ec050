"""Leases of tests: filled at once, and kept as they are.

The governor's loop is made to stand still, so that it can neither take back nor top up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any, Final, NamedTuple, TypeVar

from governor import Config, Governor, Permit
from governor._actors.actor import ScopeActor
from governor.clock import Clock, system_clock
from tests.support.governors import NEVER_REACHED, actor_of
from tests.support.waits import PATIENCE

T = TypeVar("T")

#: More than any test asks for.
PLENTY: Final = "1000000/s burst 1000000"


def governed(
    *limits: str,
    clock: Clock = system_clock,
    failures: int = NEVER_REACHED,
    provider: Any = None,
    **settings: object,
) -> Governor:
    """One whose scopes all have these limits; without a cap, degraded mode and breakers but for what is said.

    A call that is given up frees its place in flight at once.
    """
    everything = {
        "requests_per_minute": NEVER_REACHED,
        "degraded_after_failures": NEVER_REACHED,
        "degraded_after_providers": 1,
        **settings,
    }
    scope = {"limits": limits, "breaker": {"failures": failures, "open_for": "1h"}, "linger": "off"}
    governor = Governor(
        Config.from_mapping({"global": everything, "provider": provider or {}, "outbound": {"default": scope}}), clock=clock
    )
    governor._leases = True  # With a clock of ours, too.
    return governor


@contextmanager
def standing_still(governor: Governor, before: Callable[[], object] = lambda: None) -> Iterator[None]:
    """The governor's loop calls `before`, and then does nothing until the block ends."""
    stands, go_on = Event(), Event()

    def stand() -> None:
        try:
            before()
        finally:
            stands.set()
            go_on.wait()

    assert governor._access.portal is not None
    governor._access.portal.post(stand)
    stands.wait()
    try:
        yield
    finally:
        go_on.set()


class Ahead(NamedTuple):
    """The actors of scopes that have permits granted ahead, and how many were used in all to bring them to that."""

    actors: tuple[ScopeActor, ...]
    used: int


@contextmanager
def ahead(governor: Governor, *scopes: str, least: int = 20, method: str | None = None) -> Iterator[Ahead]:
    """The loop stands still while, in each of these scopes, at least so many permits are granted ahead."""
    for scope in scopes * least:
        # With the timeout of a busy machine: `try_permit` is denied if the loop does not answer within a second.
        governor.acquire_blocking(scope, method, timeout=PATIENCE).record(status=200)
    governor.statistics()  # So that the actors know what has been used until now.
    actors = tuple(actor_of(governor, scope, method) for scope in scopes)

    def fill(actor: ScopeActor) -> None:
        now, leasing = actor.ledger.clock(), actor.leasing
        leasing.look(now, fill=False)  # What was used before is no demand for later.
        leasing.demand.given(4 * least)
        leasing.fill(now, least)

    def fill_all() -> None:
        for actor in actors:
            actor.within(partial(fill, actor))
            # On a busy machine the look that the asks have left may be over: without another one nothing is ever read.
            actor.steps()._look_soon()

    with standing_still(governor, fill_all):
        assert all(len(actor.leasing.holder) >= least for actor in actors)
        yield Ahead(actors, least * len(scopes))


def take_all(actor: ScopeActor) -> list[Permit]:
    """What can be had without asking."""
    return list(iter(actor.take, None))
