"""The governor: on a background thread for threads, on the loop of the tasks for tasks."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from benchmarks.contention.subject import Ask, AskOnLoop, Doors, Law, Limit, Subject
from benchmarks.measure import CAP
from governor import Config, Governor, Permit, PermitDenied
from governor_client import GovernorClient

#: The maximum wait of a thread in seconds, which is never reached.
_TIMEOUT: Final = 60.0


def _config(limit: Limit) -> Config:
    """The whole job with this limit in every scope, and a cap that is never met."""
    limits = [f"{limit.per_second}/s burst {limit.burst}"]
    return Config.from_mapping({"global": {"requests_per_minute": CAP}, "outbound": {"default": {"limits": limits}}})


@contextmanager
def _open(limit: Limit) -> Iterator[Doors]:
    with Governor(_config(limit)) as governor:
        yield doors(GovernorClient(governor))


@asynccontextmanager
async def _open_on_loop(limit: Limit) -> AsyncIterator[Doors]:
    async with Governor(_config(limit)) as governor:
        yield doors(GovernorClient(governor))


def doors(client: GovernorClient) -> Doors:
    """The ways to ask with a client."""

    def ask(scope: str) -> Ask:
        def once() -> bool:
            permit = client.try_permit(scope, "GET")
            if isinstance(permit, Permit):
                permit.record(status=200)
                return True
            return False

        return once

    def wait(scope: str) -> Ask:
        def until_granted() -> bool:
            with client.permit(scope, "GET", timeout=_TIMEOUT) as permit:
                permit.record(status=200)
            return True

        return until_granted

    def ask_on_loop(scope: str) -> AskOnLoop:
        async def once() -> bool:
            try:
                async with client.permit(scope, "GET", timeout=0.0) as permit:
                    permit.record(status=200)
            except PermitDenied:
                return False
            return True

        return once

    return Doors(ask_on_loop, ask, wait)


GOVERNOR: Final = Subject(law=Law.BUCKET, open=_open, open_on_loop=_open_on_loop, exact=True)
