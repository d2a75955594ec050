"""A permit from the lease costs a thread a pop and an append: it makes nothing to wait for and wakes no thread.

While the loop stands still nothing is topped up: what is counted is what callers do themselves.
"""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Lock
from types import FrameType

import anyio
import pytest

from governor import Governor
from governor._actors import asking, portal
from governor._actors.actor import ScopeActor
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.counting import no_labels, python_kernel
from tests.support.leases import PLENTY, ahead, governed

pytestmark = pytest.mark.promise("R51")

BACKENDS = ["asyncio", "trio"]
PAIRS = 200


class Watch:
    """Notes every function that its block calls on this thread: those written in C by name, the others by package as well."""

    def __init__(self) -> None:
        self.c: Counter[str] = Counter()
        self.python: Counter[tuple[str, str]] = Counter()

    def packages(self) -> set[str]:
        return {package for package, _ in self.python}

    def __enter__(self) -> "Watch":
        gc.disable()  # What it finds is not called by the block.
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()
        del self.c["setprofile"], self.python[__name__.partition(".")[0], "Watch.__exit__"]

    def _note(self, frame: FrameType, event: str, function: object) -> None:
        if event == "call":
            self.python[frame.f_globals["__name__"].partition(".")[0], frame.f_code.co_qualname] += 1
        elif event == "c_call":
            self.c[getattr(function, "__qualname__", repr(function))] += 1


@pytest.fixture(autouse=True)
def _no_block_has_set_a_label() -> Iterator[None]:
    with no_labels():
        yield


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many locks and events the library has made."""
    counts: Counter[str] = Counter()

    def counted(name: str, make: Callable[[], object]) -> Callable[[], object]:
        def count() -> object:
            counts[name] += 1
            return make()

        return count

    monkeypatch.setattr(asking, "Lock", counted("Lock", Lock))
    monkeypatch.setattr(portal, "Lock", counted("Lock", Lock))
    monkeypatch.setattr(anyio, "Event", counted("Event", anyio.Event))
    return counts


def try_permits(client: GovernorClient) -> None:
    for _ in range(PAIRS):
        granted(client.try_permit("weather")).record(status=200)


def use_permits(client: GovernorClient) -> None:
    for _ in range(PAIRS):
        with client.permit("weather", timeout=5) as permit:
            permit.record(status=200)


async def await_permits(client: GovernorClient) -> None:
    for _ in range(PAIRS):
        async with client.permit("weather", timeout=5) as permit:
            permit.record(status=200)


def asked_each_time() -> Governor:
    """One that grants nothing ahead."""
    governor = governed(PLENTY)
    governor._leases = False
    return governor


WAYS: list[Callable[[GovernorClient], object]] = [try_permits, use_permits]


# Every call.


@python_kernel
def test_a_permit_at_hand_and_its_outcome_are_two_functions_and_none_that_is_written_in_c() -> None:
    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=PAIRS), Watch() as watch:
            for _ in range(PAIRS):
                client.try_permit("weather").record(status=200)  # type: ignore[union-attr] # `granted` would be counted.

    assert {} == watch.c
    assert {("governor", "AskingElsewhere.try_permit"): PAIRS, ("governor", "LeasedPermit.record"): PAIRS} == watch.python


@pytest.mark.parametrize("locked", [True, False])
def test_nothing_is_granted_ahead_or_counted_down_without_the_lock_of_the_interpreter(
    locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: locked, raising=False)
    with Governor() as governor:
        for _ in range(3):
            granted(governor.try_permit("weather")).record(status=200)
        actor = governor._access.find("weather", None, 0)
        counters = governor.statistics().scopes["weather"].counters

    assert governor._leases is locked
    assert isinstance(actor, ScopeActor)
    assert (actor.answered is not None) is locked
    assert 3 == counters.answered_2xx


@python_kernel
@pytest.mark.parametrize("limit", ["1000000 per minute strict", "1000 in flight"])
def test_a_permit_of_a_limit_that_waits_for_outcomes_neither_waits_nor_wakes_the_loop(limit: str) -> None:
    with governed(limit, PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=PAIRS), Watch() as watch:
            try_permits(client)

    found = {"deque.append", "deque.pop"} & set(watch.c)
    assert found == ({"deque.append"} if "flight" in limit else set())
    assert set(watch.c) <= {*BLOCK, "isinstance", "len", "list.append", "deque.append", "time.monotonic_ns", "monotonic_ns"}
    assert PAIRS == watch.python["governor", "LeasedHeldPermit.record"]
    assert {"governor", "tests"} == watch.packages()


#: What a block calls that is written in C: nothing here waits or wakes a thread.
BLOCK = {"get_ident", "list.append"}


@python_kernel
def test_a_block_with_a_permit_at_hand_calls_nothing_that_waits_or_wakes() -> None:
    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=PAIRS), Watch() as watch:
            use_permits(client)

    assert {*BLOCK, "coroutine.close"} == set(watch.c)
    assert {"governor", "tests"} == watch.packages()


@python_kernel
@pytest.mark.parametrize("backend", BACKENDS)
def test_nor_does_one_on_another_event_loop_which_is_not_called_either(backend: str) -> None:
    async def main() -> Watch:
        with Watch() as watch:
            await await_permits(client)
        return watch

    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=PAIRS):
            watch = anyio.run(main, backend=backend)

    assert BLOCK == set(watch.c)
    assert {"governor", "tests"} == watch.packages()


def test_a_call_that_must_ask_makes_a_lock_and_wakes_the_loop() -> None:
    """So the tests above would have seen it."""
    with asked_each_time() as governor:
        client = GovernorClient(governor)
        granted(client.try_permit("weather")).record(status=200)
        with Watch() as watch:
            use_permits(client)

    assert ("governor", "Portal.post") in watch.python
    assert ("asyncio", "BaseEventLoop.call_soon_threadsafe") in watch.python
    assert watch.c["lock.acquire"] >= PAIRS


# Whatever can be waited for.


@pytest.mark.parametrize("use", WAYS)
def test_a_thread_makes_no_lock_while_permits_are_at_hand(use: Callable[[GovernorClient], object], made: Counter[str]) -> None:
    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=PAIRS):
            made.clear()
            use(client)
            at_hand = made.copy()

    assert {} == at_hand


@pytest.mark.parametrize("use", WAYS)
def test_and_one_for_each_permit_that_is_not(use: Callable[[GovernorClient], object], made: Counter[str]) -> None:
    with asked_each_time() as governor:
        client = GovernorClient(governor)
        granted(client.try_permit("weather")).record(status=200)
        governor.statistics()  # A turn of the loop: by then the tasks of the scope have begun, and made what they wait for.
        made.clear()
        use(client)

        assert {"Lock": PAIRS} == made


@pytest.mark.parametrize("backend", BACKENDS)
def test_nor_does_a_task_on_another_loop_make_an_event(backend: str, made: Counter[str]) -> None:
    async def main() -> Counter[str]:
        made.clear()
        await await_permits(client)
        return made.copy()

    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=PAIRS):
            at_hand = anyio.run(main, backend=backend)

    assert {} == at_hand


@pytest.mark.parametrize("backend", BACKENDS)
def test_and_one_for_each_permit_that_is_not_there_either(backend: str, made: Counter[str]) -> None:
    async def main() -> Counter[str]:
        made.clear()
        await await_permits(client)
        return made.copy()

    with asked_each_time() as governor:
        client = GovernorClient(governor)
        granted(client.try_permit("weather")).record(status=200)
        governor.statistics()  # A turn of the loop: by then the tasks of the scope have begun, and made what they wait for.
        asked = anyio.run(main, backend=backend)

    assert {"Event": PAIRS} == asked


# Knocking.


@pytest.mark.parametrize("use", WAYS)
def test_no_thread_is_woken_for_permits_at_hand_or_their_outcomes(
    use: Callable[[GovernorClient], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    posts: list[Callable[[], object]] = []

    def post(_: portal.Portal, callback: Callable[[], object]) -> bool:
        posts.append(callback)
        return True

    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=PAIRS), monkeypatch.context() as patch:
            patch.setattr(portal.Portal, "post", post)
            use(client)

    assert [] == posts
