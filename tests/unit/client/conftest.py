"""A provider without a network, and both transports behind one face, so that every claim is made about both."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx2
import pytest

from governor import Config, CounterRecord, Governor
from governor_client import AsyncGovernedTransport, GovernedTransport
from tests.support.governors import brief_denials, only_retries

Answer = httpx2.Response | BaseException


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of an answer, in pieces; an exception among them breaks it off. Counts how often it was closed."""

    def __init__(self, *pieces: bytes | BaseException, hangs: bool = False) -> None:
        self.pieces = pieces
        self.hangs = hangs
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece
        if self.hangs:
            await anyio.sleep_forever()

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1


class Provider(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Gives the answers it was told, in order, and the last of them for ever. Remembers what it was asked."""

    def __init__(self, answers: Iterable[int | Answer | Callable[[], int | Answer]]) -> None:
        self.answers = list(answers)
        self.asked: list[httpx2.Request] = []
        self.bodies: list[bytes] = []
        self.life: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.SyncByteStream)
        self.bodies.append(b"".join(request.stream))
        return self._answer(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        self.bodies.append(b"".join([piece async for piece in request.stream]))
        return self._answer(request)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        return httpx2.Response(answer, stream=Body(f"answer {answer}".encode())) if isinstance(answer, int) else answer

    def __enter__(self) -> "Provider":
        self.life.append("entered")
        return self

    def close(self) -> None:
        self.life.append("closed")

    async def __aenter__(self) -> "Provider":
        self.life.append("entered")
        return self

    async def aclose(self) -> None:
        self.life.append("closed")


class Half:
    """One of the two transports, called the same way: the blocking one on a thread of its own."""

    def __init__(self, *, blocking: bool, governor: Governor, provider: Provider) -> None:
        self.blocking = blocking
        self.governor = governor
        self.provider = provider
        #: In which context the latest error was raised; on its way between threads it may get another one.
        self.context: BaseException | None = None
        self._blocking = GovernedTransport("example", governor=governor, transport=provider)
        self._async = AsyncGovernedTransport("example", governor=governor, transport=provider)

    async def send(
        self,
        method: str = "GET",
        url: str = "https://example.com/",
        *,
        content: bytes | None = None,
        pieces: tuple[bytes | Exception, ...] | None = None,
        headers: Mapping[str, str] | None = None,
        pool: float | None = None,
        **extensions: object,
    ) -> httpx2.Response:
        """One request, as httpx2 hands it to a transport."""
        request = httpx2.Request(
            method,
            url,
            content=content if pieces is None else _each(pieces) if self.blocking else _aeach(pieces),
            headers=headers,
            extensions={"timeout": {"pool": pool}, **{f"governor.{key}": value for key, value in extensions.items()}},
        )
        if self.blocking:
            return await anyio.to_thread.run_sync(self._send, request)
        try:
            return await self._async.handle_async_request(request)
        except Exception as error:
            self.context = error.__context__
            raise

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return self._blocking.handle_request(request)
        except Exception as error:
            self.context = error.__context__
            raise

    async def read(self, response: httpx2.Response) -> bytes:
        """The whole body."""
        if self.blocking:
            return await anyio.to_thread.run_sync(response.read)
        return await response.aread()

    async def close(self, response: httpx2.Response) -> None:
        """What a reader does who has had enough."""
        if self.blocking:
            await anyio.to_thread.run_sync(response.close)
        else:
            await response.aclose()

    def counters(self) -> CounterRecord:
        """What the governor has counted."""
        return self.governor.statistics().counters


def _each(pieces: Iterable[bytes | Exception]) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


async def _aeach(pieces: Iterable[bytes | Exception]) -> AsyncIterator[bytes]:
    for piece in _each(pieces):
        yield piece


Meet = Callable[..., Half]
SettingsOf = Callable[..., Config]


@pytest.fixture
def body() -> type[Body]:
    """What the body of an answer is made with."""
    return Body


@pytest.fixture
def provider() -> type[Provider]:
    """What a provider is made with."""
    return Provider


@pytest.fixture
def settings_of() -> SettingsOf:
    """Makes settings under which nothing but retries matters, and those come quickly, except for what is said."""
    return partial(only_retries, "1us")


@pytest.fixture
async def governor() -> AsyncIterator[Governor]:
    """A governor in the event loop of the test."""
    with brief_denials():
        async with Governor(only_retries("1us")) as governor:
            yield governor


@pytest.fixture(params=["blocking", "async"])
def meet(request: pytest.FixtureRequest, governor: Governor) -> Meet:
    """Makes one of the two transports, before a provider that gives the answers."""

    def meet(*answers: int | Answer | Callable[[], int | Answer], under: Governor = governor) -> Half:
        return Half(blocking=request.param == "blocking", governor=under, provider=Provider(answers))

    return meet
