"""What is counted: calls on the governor's own loop, from a lease, and messages between processes."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from governor import Config, Governor, Permit
from governor.protocol import FROM_MEMBER, FROM_OWNER, Ask, FrameReader, Granted, encode
from governor_client import GovernorClient
from tests.support.counting import WARM_UP, Call

PLAIN: Final = "1000000/s burst 1000000"


class Subject(NamedTuple):
    """The settings of a scope and of its provider, and the call that is made of a governor that has begun."""

    scope: Mapping[str, object]
    makes: Callable[[Governor], Call]
    provider: Mapping[str, object] = {}


def pair(governor: Governor | GovernorClient) -> Call:
    """`try_permit` and `record`: of a client, on a thread beside the loop."""

    def call() -> None:
        permit = governor.try_permit("weather")
        assert isinstance(permit, Permit)
        permit.record(status=200)

    return call


def told_of_the_beginning(governor: Governor) -> Call:
    """A pair whose answer is said to have begun, as adapters say it."""

    def call() -> None:
        permit = governor.try_permit("weather")
        assert isinstance(permit, Permit)
        permit.answered(status=200)
        permit.record(status=200)

    return call


def block(governor: Governor) -> Call:
    """`async with` and `record`, which never has to wait."""

    async def use() -> None:
        async with governor.permit("weather") as permit:
            permit.record(status=200)

    return lambda: at_once(use())


def denied(governor: Governor) -> Call:
    """A call for which nothing is left."""
    held = governor.try_permit("weather")

    def call() -> None:
        assert not isinstance(governor.try_permit("weather"), Permit), held

    return call


def failed(governor: Governor) -> Call:
    """A call that fails, and one that succeeds, so that no failures follow each other."""
    succeeded = pair(governor)

    def call() -> None:
        permit = governor.try_permit("weather")
        assert isinstance(permit, Permit)
        permit.record(status=500)
        succeeded()

    return call


def at_once(coroutine: Coroutine[Any, Any, object]) -> None:
    """Runs a coroutine that suspends itself nowhere."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the coroutine waits")


ON_THE_LOOP: Final = {
    "pair": Subject({"limits": [PLAIN]}, pair),
    "async with": Subject({"limits": [PLAIN]}, block),
    "denied": Subject({"limits": ["1 per day burst 1"]}, denied),
    "two limits": Subject({"limits": [PLAIN, "60000000/minute burst 1000000"]}, pair),
    "strict window": Subject({"limits": ["1000000 per hour strict"]}, pair),
    "strict window, answered": Subject({"limits": ["1000000 per hour strict"]}, told_of_the_beginning),
    "strict window of the provider": Subject({"limits": [PLAIN]}, pair, {"limits": ["1000000 per hour strict"]}),
    "in flight": Subject({"limits": ["1000 in flight"]}, pair),
    "failed, and a pair": Subject({"limits": [PLAIN]}, failed),
    "failure rate": Subject({"limits": [PLAIN], "breaker": {"failure_rate": 0.5, "window": "60s"}}, pair),
}


@asynccontextmanager
async def opened(subject: Subject) -> AsyncIterator[Call]:
    """The call, made often enough that everything is there."""
    settings = {
        "global": {"requests_per_minute": 1_000_000_000},
        "outbound": {"default": subject.scope},
        "provider": {"weather": subject.provider},
    }
    async with Governor(Config.from_mapping(settings)) as governor:
        call = subject.makes(governor)
        for _ in range(WARM_UP):
            call()
        yield call


def message_round_trip(ask: Ask, granted: Granted) -> Call:
    """An ask is written and read, and its answer is."""
    owner, member = FrameReader(FROM_MEMBER), FrameReader(FROM_OWNER)

    def call() -> None:
        assert [ask] == list(owner.feed(encode(ask)))
        assert [granted] == list(member.feed(encode(granted)))

    return call
