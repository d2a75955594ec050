"""Streams that report the outcome of an answer.

An answer that is returned before it is complete is a stream that reports to its attempt when it ends, breaks off, or is closed,
whichever comes first.
"""

from collections.abc import AsyncIterator, Iterator
from types import AsyncGeneratorType
from typing import Final, final

import anyio
import httpx

from governor_client._attempt import Attempt

#: Seconds for closing an answer whose reader was cancelled.
CLOSING: Final = 5.0


@final
class ReportingStream(httpx.SyncByteStream):
    """The body of an answer that is not complete yet."""

    def __init__(self, stream: httpx.SyncByteStream, attempt: Attempt) -> None:
        self._stream = stream
        self._chunks = iter(stream)
        self._attempt = attempt

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self._attempt.ended()
            raise
        except BaseException as error:
            self._attempt.broke(error)
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._attempt.ended()


@final
class AsyncReportingStream(httpx.AsyncByteStream):
    """`ReportingStream` for async code."""

    def __init__(self, stream: httpx.AsyncByteStream, attempt: Attempt) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._attempt = attempt

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._attempt.ended()
            raise
        except BaseException as error:
            self._attempt.broke(error)
            raise

    async def aclose(self) -> None:
        try:
            await _close(self._stream, self._chunks)
        finally:
            self._attempt.ended()


@final
class RequestBody(httpx.SyncByteStream):
    """The body of a request while it is sent. Records whether reading the body failed."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self.stream = stream
        self._chunks: Iterator[bytes] = iter(())
        self.failed = False

    def __iter__(self) -> Iterator[bytes]:
        self._chunks = iter(self.stream)
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except Exception:
            self.failed = True
            raise

    def close(self) -> None:
        self.stream.close()


@final
class AsyncRequestBody(httpx.AsyncByteStream):
    """`RequestBody` for async code. It is no generator, because a cancelled request would leave that suspended."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self.stream = stream
        self._chunks: AsyncIterator[bytes] | None = None
        self.failed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = aiter(self.stream)
        return self

    async def __anext__(self) -> bytes:
        assert self._chunks is not None
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception:
            self.failed = True
            raise

    async def aclose(self) -> None:
        await self.stream.aclose()


def take_in(response: httpx.Response, stream: httpx.SyncByteStream, most: float) -> bool:
    """Reads the body into memory, undecoded, and closes the stream. Returns False if it is longer than `most` bytes."""
    body = bytearray()
    try:
        for chunk in stream:
            body += chunk
            if len(body) > most:
                return False
    finally:
        stream.close()
    response.stream = httpx.ByteStream(bytes(body))
    return True


async def async_take_in(response: httpx.Response, stream: httpx.AsyncByteStream, most: float) -> bool:
    """`take_in` for async code."""
    body = bytearray()
    chunks = aiter(stream)
    try:
        async for chunk in chunks:
            body += chunk
            if len(body) > most:
                return False
    finally:
        with anyio.move_on_after(CLOSING, shield=True):
            await _close(stream, chunks)
    response.stream = httpx.ByteStream(bytes(body))
    return True


async def _close(stream: httpx.AsyncByteStream, chunks: AsyncIterator[bytes]) -> None:
    """Closes a stream, and the generator that reads it: trio warns about a generator that is left suspended."""
    try:
        if isinstance(chunks, AsyncGeneratorType) and not chunks.ag_running:
            await chunks.aclose()
    finally:
        await stream.aclose()
