"""The contract of every HTTP adapter for what ends early: streams, cancelled tasks, interrupted threads, closed governors."""

import asyncio
import gc
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

import pytest

from governor import Governor, Permit, ShuttingDown
from tests.contracts.adapters import TIMEOUT, Ability, Driver, Session, Setup
from tests.contracts.conftest import Opened, counted
from tests.support.governors import only_retries
from tests.support.provider import SILENCE, End, Provider, Reply, status, stream
from tests.support.waits import PATIENCE, until
from tests.support.ways import waiting

T = TypeVar("T")

pytestmark = [pytest.mark.promise("R05", "R56"), pytest.mark.usefixtures("_permits_at_hand")]

#: A scope in which one place that is not given back stops everything.
ONE = {"limits": ["1 in flight"], "linger": "off"}


def test_a_stream_that_ends_records_its_status_once(provider: Provider, opened: Opened) -> None:
    session = opened(scope=ONE, wait=0)
    answer = session.begin(provider.at("/", stream(b"po", b"ng")))

    assert b"pong" == session.drain(answer)
    session.leave(answer)

    assert_one(session, "answered_2xx", provider)


def test_a_stream_that_its_reader_closes_records_its_status_once(provider: Provider, opened: Opened) -> None:
    session = opened(scope=ONE, wait=0)
    answer = session.begin(provider.at("/", stream(b"po", b"ng", end=End.SILENT)))

    assert session.piece(answer).startswith(b"po")
    assert 1 == session.governor.statistics().scopes["provider:get"].counters.under_way
    session.leave(answer)

    assert_one(session, "answered_2xx", provider)


@pytest.mark.parametrize(
    "reply", [stream(b"po", end=End.BROKEN), Reply(pieces=(b"po",), end=End.BROKEN)], ids=["chunked", "sized"]
)
def test_a_stream_that_breaks_off_records_a_failure_once(
    driver: Driver, reply: Reply, provider: Provider, opened: Opened
) -> None:
    session = opened(scope=ONE, wait=0)
    answer = session.begin(provider.at("/", reply))

    with pytest.raises(driver.family):
        session.drain(answer)
    session.leave(answer)

    assert_one(session, "failures", provider)


def test_a_stream_that_stalls_records_a_failure_once(driver: Driver, provider: Provider, opened: Opened) -> None:
    session = opened(scope=ONE, timeout=0.2)
    answer = session.begin(provider.at("/", stream(b"po", end=End.SILENT)))

    with pytest.raises((driver.family, TimeoutError)):
        session.drain(answer)
    session.leave(answer)

    assert_one(session, "failures", provider)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_abandoned_stream_leaves_no_place_in_flight(driver: Driver, provider: Provider, opened: Opened) -> None:
    # Where the library does not let go of it, its timeout ends it.
    gc.freeze()  # What other tests have left is not looked through.
    session = opened(scope=ONE, timeout=0.2 if Ability.ABANDON in driver.cannot else TIMEOUT)
    url = provider.at("/", stream(b"po", b"ng", end=End.SILENT))
    answer = session.begin(url)
    session.piece(answer)

    del answer
    gc.collect()
    if Ability.ABANDON in driver.cannot:
        session.run(lambda: asyncio.sleep(0.3))
    session.settle()
    gc.collect()

    counters = counted(session.governor)
    assert (1, 0) == (counters.requests, counters.under_way)
    assert_free(session.governor)


# Cancelled.


class _CancelledAt(Generic[T]):
    """Awaits a coroutine, and cancels the task that does so at the await of that number, counted from 0."""

    def __init__(self, work: Coroutine[Any, Any, T], number: int) -> None:
        self._work = work
        self._number = number
        #: The awaits so far.
        self.count = 0

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[Any], Any] = self._work.send
        argument: Any = None
        while True:
            try:
                awaited = step(argument)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # the result of the coroutine
            if self.count == self._number:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            self.count += 1
            try:
                step, argument = self._work.send, (yield awaited)
            except BaseException as error:
                step, argument = self._work.throw, error


@asynccontextmanager
async def in_this_loop(**scope: Any) -> AsyncIterator[Governor]:
    async with Governor(only_retries("1ms", **scope)) as governor:
        yield governor


@asynccontextmanager
async def in_another_loop(**scope: Any) -> AsyncIterator[Governor]:
    with Governor(only_retries("1ms", **scope)) as governor:
        yield governor


@pytest.mark.asynchronous
@pytest.mark.parametrize("place", [in_this_loop, in_another_loop])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_task_that_is_cancelled_at_any_await_leaves_nothing_in_flight(
    driver: Driver, place: Callable[..., Any], provider: Provider
) -> None:
    """The call waits for three permits and a pause, and follows a redirect: to the answer, or to a stream of its pieces."""

    async def read(client: Any, url: str) -> None:
        answer = await driver.begin(client, url)
        try:
            while await driver.piece(answer):
                pass
        finally:
            await driver.leave(answer)

    async def free(governor: Governor) -> bool:
        for _ in range(1_000):
            statistics = await governor.astatistics()
            scope = statistics.scopes.get("provider:get")
            if scope is None or scope.counters.under_way == 0:
                permit = await governor.acquire("provider", "GET", timeout=PATIENCE)
                permit.give_back()
                return True
            await asyncio.sleep(0.001)
        return False

    async def main(call: Callable[[Any, str], Coroutine[Any, Any, object]]) -> int:
        async with place(**ONE) as governor:
            client = driver.make(Setup(governor=governor, terms={"wait": PATIENCE}))
            number = 0
            while True:
                provider.at(f"/end{number}", stream(b"po", b"ng"))
                url = provider.at(f"/{number}", status(503, b"later"), status(302, location=f"/end{number}"))
                cancelled = _CancelledAt(call(client, url), number)
                task = asyncio.ensure_future(cancelled)
                await asyncio.wait([task])
                assert await free(governor), f"cancelled at await {number}"
                if not task.cancelled():
                    break
                number += 1
            task.result()
            await driver.close(client)
            return cancelled.count

    assert 5 < asyncio.run(main(read))
    assert 5 < asyncio.run(main(lambda client, url: driver.call(client, "GET", url)))


@pytest.mark.asynchronous
def test_a_task_that_is_cancelled_while_it_connects_leaves_nothing_in_flight(driver: Driver) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            async with in_this_loop(**ONE) as governor:
                client = driver.make(Setup(governor=governor, terms={"wait": TIMEOUT}))
                task = asyncio.ensure_future(driver.call(client, "GET", f"https://127.0.0.1:{silent.getsockname()[1]}/"))
                connection, _ = await asyncio.get_running_loop().sock_accept(silent)
                task.cancel()
                await asyncio.wait([task])
                await driver.close(client)
                connection.close()

                assert task.cancelled()
                assert 1 == governor.statistics().scopes["provider:get"].counters.neutral
                assert_free(governor)

    asyncio.run(main())


# Interrupted.

INTERRUPTED: dict[str, tuple[Reply, Callable[[Governor, Provider], bool]]] = {
    "waiting for the answer": (SILENCE, lambda governor, provider: len(provider.requests) == 1),
    "reading": (stream(b"po", end=End.SILENT), lambda governor, provider: len(provider.requests) == 1),
    "in the pause": (
        status(503),
        lambda governor, provider: governor.statistics().scopes["provider:get"].counters.answered_5xx == 1,
    ),
}


@pytest.mark.blocking
@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to a thread")
@pytest.mark.parametrize(("reply", "moment"), INTERRUPTED.values(), ids=INTERRUPTED)
def test_ctrl_c_ends_a_call_and_leaves_nothing_in_flight(
    reply: Reply, moment: Callable[[Governor, Provider], bool], provider: Provider, opened: Opened
) -> None:
    session = opened(scope={**ONE, "retry": {"attempts": 3, "first_delay": "9s", "max_delay": "9s"}})
    url = provider.at("/", reply)

    with pytest.raises(KeyboardInterrupt), interrupting(lambda: moment(session.governor, provider)):
        session.get(url)

    assert (1, 0) == (counted(session.governor).requests, counted(session.governor).under_way)
    assert_free(session.governor)


@pytest.mark.blocking
@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to a thread")
def test_ctrl_c_ends_the_wait_for_a_permit(provider: Provider, opened: Opened) -> None:
    session = opened(scope=ONE, wait=PATIENCE)
    held = session.governor.try_permit("provider", "GET")
    assert isinstance(held, Permit)

    with pytest.raises(KeyboardInterrupt), interrupting(lambda: waiting(session.governor, "provider:get") == 1):
        session.get(provider.at("/", status(200)))
    held.give_back()

    assert (0, 0) == (len(provider.requests), waiting(session.governor, "provider:get"))
    assert_free(session.governor)


class interrupting:  # noqa: N801 - a context manager
    """Interrupts the thread that runs the block, as Ctrl-C does, as soon as the condition holds.

    Without garbage collections meanwhile: an interrupt within one of their callbacks is reported and lost.
    """

    def __init__(self, moment: Callable[[], bool]) -> None:
        self._moment = moment
        self._thread = threading.Thread(target=self._interrupt, args=[threading.get_ident()])

    def _interrupt(self, target: int) -> None:
        with suppress(KeyError):  # The scope does not exist yet.
            until(lambda: _holds(self._moment))
        signal.pthread_kill(target, signal.SIGINT)

    def __enter__(self) -> None:
        gc.disable()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        gc.enable()
        self._thread.join()


def _holds(moment: Callable[[], bool]) -> bool:
    try:
        return moment()
    except KeyError:
        return False  # The scope does not exist yet.


# Closed.


@pytest.mark.promise("R55", "R58")
def test_a_call_that_waits_is_denied_when_the_governor_closes(driver: Driver, provider: Provider) -> None:
    with ThreadPoolExecutor(1) as pool:
        with Governor(only_retries("1ms", **ONE)) as governor:
            session = pool.submit(Session, driver, Setup(governor=governor, terms={"wait": None})).result(PATIENCE)
            held = governor.try_permit("provider", "GET")
            call = pool.submit(session.get, provider.at("/", status(200)))
            until(lambda: _holds(lambda: waiting(governor, "provider:get") == 1))
        error = call.exception(PATIENCE)
        pool.submit(session.__exit__, None, None, None).result(PATIENCE)

    assert isinstance(held, Permit)
    assert isinstance(error, ShuttingDown)
    assert isinstance(error, driver.family)
    assert [] == provider.requests


def assert_one(session: Session, counter: str, provider: Provider) -> None:
    """One request took one permit and had this outcome, and no place in flight is left."""
    counters = counted(session.governor)
    assert [1, 1, 1, 0] == [len(provider.requests), counters.requests, getattr(counters, counter), counters.under_way]
    assert_free(session.governor)


def assert_free(governor: Governor) -> None:
    """The one place in flight is free."""
    permit = governor.try_permit("provider", "GET")
    assert isinstance(permit, Permit)
    permit.give_back()
