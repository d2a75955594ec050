"""A permit for each call of a decorated function: granted, denied, recorded, cancelled."""

import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, cast

import anyio
import anyio.to_thread
import httpx
import pytest

import governor as module
from governor import Config, ConfigError, CounterRecord, Governor, RateLimited, UsageError
from governor.testing import ManualClock, reset

pytestmark = pytest.mark.anyio


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    """A governor with one place in flight."""
    async with Governor(Config.from_mapping({"outbound": {"w": {"limits": ["1 in flight"]}}})) as governor:
        yield governor


def counters(governor: Governor) -> CounterRecord:
    return governor.statistics().scopes["w:get"].counters


OUTCOMES: list[tuple[object, CounterRecord]] = [
    ("done", CounterRecord(requests=1, others=1)),
    (httpx.Response(503), CounterRecord(requests=1, answered_5xx=1)),
    (httpx.Response(404), CounterRecord(requests=1, answered_4xx=1)),
    (TimeoutError(), CounterRecord(requests=1, failures=1)),
    (KeyError(), CounterRecord(requests=1, neutral=1)),
]


def end(outcome: object) -> object:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def called(function: Callable[..., object], *args: object, kind: str) -> object:
    """The result, or the exception, of a blocking function on a thread of its own, or of a coroutine function."""
    try:
        return await anyio.to_thread.run_sync(partial(function, *args)) if kind == "blocking" else await function(*args)  # type: ignore[misc]
    except Exception as error:
        return error


def decorated(governor: Governor, kind: str, **options: Any) -> Callable[..., object]:
    @governor.limit("W", "GET", **options)
    def blocking(outcome: object) -> object:
        return end(outcome)

    @governor.limit("W", "GET", **options)
    async def coroutine(outcome: object) -> object:
        return end(outcome)

    return blocking if kind == "blocking" else coroutine


@pytest.mark.parametrize("kind", ["blocking", "coroutine"])
@pytest.mark.parametrize(("outcome", "counted"), OUTCOMES, ids=lambda value: type(value).__name__)
async def test_each_call_takes_a_permit_and_its_result_or_exception_is_the_outcome(
    governor: Governor, kind: str, outcome: object, counted: CounterRecord
) -> None:
    assert outcome is await called(decorated(governor, kind), outcome, kind=kind)
    assert counted == counters(governor)


@pytest.mark.parametrize("kind", ["blocking", "coroutine"])
async def test_without_a_permit_the_function_does_not_run(governor: Governor, kind: str) -> None:
    with governor.permit("w", "GET", timeout=0):
        denial = await called(decorated(governor, kind, timeout=0.0), "done", kind=kind)

    assert isinstance(denial, module.ConcurrencyExceeded)
    assert 1 == counters(governor).requests


@pytest.mark.parametrize("kind", ["blocking", "coroutine"])
async def test_the_program_may_classify_the_exception(governor: Governor, kind: str) -> None:
    await called(decorated(governor, kind, classify=lambda _: 502), KeyError(), kind=kind)

    assert CounterRecord(requests=1, answered_5xx=1) == counters(governor)


async def test_cancellation_is_neutral_and_the_place_is_free_when_the_provider_has_ended_the_call() -> None:
    clock = ManualClock()
    config = Config.from_mapping({"outbound": {"w": {"limits": ["1 in flight"], "linger": "3s"}}})
    async with Governor(config, clock=clock) as governor:

        @governor.limit("w", "GET")
        async def never() -> None:
            scope.cancel()
            await anyio.sleep_forever()

        with anyio.CancelScope() as scope:
            await never()

        assert CounterRecord(requests=1, neutral=1) == counters(governor)
        clock.advance(4.9)
        assert isinstance(governor.try_permit("w", "GET"), module.Denied)
        clock.advance(0.1)
        assert isinstance(governor.try_permit("w", "GET"), module.Permit)


async def test_the_cost_is_that_of_each_call() -> None:
    async with Governor(Config.from_mapping({"outbound": {"w": {"limits": ["5 per hour strict"]}}})) as governor:
        call = governor.limit("w", "GET", cost=3, timeout=0)(len)

        assert 2 == call("ab")
        with pytest.raises(RateLimited):
            call("ab")


class Connector:
    @module.limit("w", "GET", timeout=0)
    def fetch(self, number: int) -> int:
        """Doubles."""
        return 2 * number

    @staticmethod
    @module.limit("w", "GET", timeout=0)
    def static(number: int) -> int:
        return 2 * number

    @module.limit("w", "GET")
    async def afetch(self, number: int, *, more: int = 1) -> int:
        return 2 * number + more


@pytest.fixture
def default() -> Iterator[None]:
    """Closes the governor of the process at the end."""
    yield
    reset()


@pytest.mark.usefixtures("default")
async def test_methods_use_the_governor_of_the_process_at_the_time_of_the_call() -> None:
    connector = Connector()
    results = [await anyio.to_thread.run_sync(connector.fetch, 2), await connector.afetch(2, more=5), Connector.static(4)]
    own = module.current()
    assert own is not None
    reset()
    async with Governor() as governor:
        await connector.afetch(1)
        counted = counters(governor).requests

    assert [4, 9, 8] == results
    assert 1 == counted


def test_a_decorated_function_is_as_it_was_to_those_who_look_at_it() -> None:
    assert inspect.iscoroutinefunction(Connector.afetch)
    assert not inspect.iscoroutinefunction(Connector.fetch)
    assert "(self, number: int, *, more: int = 1) -> int" == str(inspect.signature(Connector.afetch))
    assert ("Connector.fetch", "Doubles.") == (Connector.fetch.__qualname__, Connector.fetch.__doc__)
    assert Connector.static is pickle.loads(pickle.dumps(Connector.static))


def values() -> Iterator[int]:
    yield 1


async def avalues() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("what", [values, avalues, Connector, staticmethod(len), classmethod(cast("Any", len)), None])
def test_what_would_outlive_its_permit_or_is_no_function_is_rejected(what: Any) -> None:
    with pytest.raises(UsageError):
        module.limit("w", "GET")(what)


async def test_an_object_that_is_called_as_a_coroutine_function_is_awaited(governor: Governor) -> None:
    class Fetch:
        async def __call__(self, number: int) -> int:
            return 2 * number

    assert 4 == await governor.limit("w", "GET")(Fetch())(2)
    assert CounterRecord(requests=1, others=1) == counters(governor)


async def test_a_function_that_returns_an_awaitable_is_rejected_and_its_permit_given_back(governor: Governor) -> None:
    call = governor.limit("w", "GET", timeout=0)(lambda: anyio.sleep_forever())

    with pytest.raises(UsageError, match="decorate an `async def`"):
        await call()
    assert isinstance(governor.try_permit("w", "GET"), module.Permit)


@pytest.mark.parametrize(
    "arguments", [{"provider": "a:b"}, {"method": "g t"}, {"cost": 0}, {"timeout": -1.0}, {"classify": "failure"}], ids=str
)
def test_arguments_are_checked_where_they_are_written(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        module.limit(**{"provider": "w", **arguments})
