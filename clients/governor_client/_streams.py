"""Bodies of the httpx family: of answers, which report their outcome, and of requests, which tell whose error it was.

An answer that is returned before it is complete is a stream that reports to its attempt when it ends, breaks off, or is closed,
whichever comes first. The classes have no base in a library: `_httpx_library` adds that of httpx2, or of httpx.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, cast

import anyio

from governor import Permit
from governor_client._attempt import Attempt, Fault
from governor_client._exchange import CLOSING

if TYPE_CHECKING:
    import httpx2


class TooLong(Exception):
    """The body has more bytes than are to be read."""


class ReportingStream:
    """The body of an answer that is not complete yet. `TooLong` ends the iteration after `most` bytes."""

    def __init__(self, stream: "httpx2.SyncByteStream", attempt: Attempt, fault: Callable[[BaseException], Fault]) -> None:
        self._stream = stream
        self._attempt = attempt
        self._fault = fault
        self._complete = False
        self.most = math.inf

    @property
    def elapsed(self) -> object:
        """The time of the exchange, which httpx2 keeps in its stream."""
        return getattr(self._stream, "elapsed", None)

    def __iter__(self) -> Iterator[bytes]:
        attempt = self._attempt
        try:
            for chunk in self._stream:
                if attempt.observation is not None:
                    attempt.observation.saw(chunk)
                self.most -= len(chunk)
                if self.most < 0:
                    raise TooLong
                yield chunk
        except (GeneratorExit, TooLong):
            raise  # The reader stops, and closes the stream.
        except BaseException as error:
            attempt.broke(error, self._fault(error))
            raise
        self._complete = True
        attempt.ended(whole=True)

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            if not self._complete:
                self._attempt.ended()


class PlainStream:
    """The body of an answer to a plain request: `ReportingStream` for an answer that no code observes or bounds.

    It costs half as much: an answer that has begun with this status has it as its outcome, unless it breaks off.
    """

    def __init__(self, stream: "httpx2.SyncByteStream", permit: Permit, status: int) -> None:
        self._stream = stream
        self._permit = permit
        self._status = status

    def __iter__(self) -> Iterator[bytes]:
        permit = self._permit
        try:
            yield from self._stream
        except GeneratorExit:
            raise  # The reader stops, and closes the stream.
        except BaseException as error:
            if not permit.reported:
                permit.record(error=error)
            raise
        if not permit.reported:
            permit.record(status=self._status)

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            permit = self._permit
            if not permit.reported:
                permit.record(status=self._status)


class AsyncReportingStream:
    """`ReportingStream` for async code."""

    def __init__(self, stream: "httpx2.AsyncByteStream", attempt: Attempt, fault: Callable[[BaseException], Fault]) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._attempt = attempt
        self._fault = fault
        self._complete = False
        self.most = math.inf

    @property
    def elapsed(self) -> object:
        """The time of the exchange, which httpx2 keeps in its stream."""
        return getattr(self._stream, "elapsed", None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._complete = True
            self._attempt.ended(whole=True)
            raise
        except BaseException as error:
            self._attempt.broke(error, self._fault(error))
            raise
        if self._attempt.observation is not None:
            self._attempt.observation.saw(chunk)
        self.most -= len(chunk)
        if self.most < 0:
            raise TooLong
        return chunk

    async def aclose(self) -> None:
        try:
            if self._complete:
                await self._stream.aclose()
            else:
                # httpx2 closes an answer whose reader was cancelled inside the cancelled scope, and does not try again.
                with anyio.move_on_after(CLOSING, shield=True):
                    await close(self._stream, self._chunks)
        finally:
            if not self._complete:
                self._attempt.ended()


class AsyncPlainStream:
    """`PlainStream` for async code."""

    _complete = False

    def __init__(self, stream: "httpx2.AsyncByteStream", permit: Permit, status: int) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._permit = permit
        self._status = status

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._complete = True
            if not self._permit.reported:
                self._permit.record(status=self._status)
            raise
        except BaseException as error:
            if not self._permit.reported:
                self._permit.record(error=error)
            raise

    def aclose(self) -> Awaitable[None]:
        # No coroutine of its own for nearly all answers, which have been read.
        return self._stream.aclose() if self._complete else self._close()

    async def _close(self) -> None:
        try:
            # httpx2 closes an answer whose reader was cancelled inside the cancelled scope, and does not try again.
            with anyio.move_on_after(CLOSING, shield=True):
                await close(self._stream, self._chunks)
        finally:
            if not self._permit.reported:
                self._permit.record(status=self._status)


class RequestBody:
    """The body of a request while it is sent. Records whether reading the body failed.

    It is read as the one that it wraps: blocking, async, or, as a form with files, in either way. It is no generator, because
    a cancelled request would leave that suspended.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._chunks: Any = None
        self.failed = False

    def __iter__(self) -> Iterator[bytes]:
        self._chunks = iter(self.stream)
        return self

    def __next__(self) -> bytes:
        try:
            return cast("bytes", next(self._chunks))
        except StopIteration:
            raise
        except Exception:
            self.failed = True
            raise

    def close(self) -> None:
        self.stream.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = aiter(self.stream)
        return self

    async def __anext__(self) -> bytes:
        try:
            return cast("bytes", await anext(self._chunks))
        except StopAsyncIteration:
            raise
        except Exception:
            self.failed = True
            raise

    async def aclose(self) -> None:
        await self.stream.aclose()


def take_in(stream: "httpx2.SyncByteStream", most: float) -> bytes | None:
    """Reads the body into memory, undecoded, and closes the stream. Returns None if it is longer than `most` bytes."""
    body = bytearray()
    try:
        for chunk in stream:
            body += chunk
            if len(body) > most:
                return None
    finally:
        stream.close()
    return bytes(body)


async def async_take_in(stream: "httpx2.AsyncByteStream", most: float) -> bytes | None:
    """`take_in` for async code."""
    body = bytearray()
    chunks = aiter(stream)
    try:
        async for chunk in chunks:
            body += chunk
            if len(body) > most:
                return None
    finally:
        with anyio.move_on_after(CLOSING, shield=True):
            await close(stream, chunks)
    return bytes(body)


async def close(stream: "httpx2.AsyncByteStream", chunks: AsyncIterator[bytes]) -> None:
    """Closes a stream, and the generator that reads it: trio warns about a generator that is left suspended."""
    try:
        if isinstance(chunks, AsyncGeneratorType) and not chunks.ag_running:
            await chunks.aclose()
    finally:
        await stream.aclose()
