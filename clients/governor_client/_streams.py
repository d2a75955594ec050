"""How is an answer read, and how does the governor learn what became of it?

An answer that is handed out while it is still coming is a stream that reports to its attempt: when it ends, when it breaks and
when its reader closes it, whichever is first.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Final, final

import anyio
import httpx

from governor_client._attempt import Attempt

#: Seconds for closing an answer whose reader has been cancelled.
_CLOSING: Final = 5.0


@final
class ReportingStream(httpx.SyncByteStream):
    """The rest of an answer, on its way to the caller."""

    def __init__(self, stream: httpx.SyncByteStream, attempt: Attempt) -> None:
        self._stream = stream
        self._attempt = attempt

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BaseException as error:
            self._attempt.broke(error)
            raise
        self._attempt.ended()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._attempt.ended()


@final
class AsyncReportingStream(httpx.AsyncByteStream):
    """The same for async callers."""

    def __init__(self, stream: httpx.AsyncByteStream, attempt: Attempt) -> None:
        self._stream = stream
        self._attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except BaseException as error:
            self._attempt.broke(error)
            raise
        self._attempt.ended()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._attempt.ended()


def take_in(response: httpx.Response, stream: httpx.SyncByteStream, most: float) -> bool:
    """Reads the body into memory, undecoded, and closes the stream. False if there are more than `most` bytes: it is cut off."""
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
    """The same for async callers."""
    body = bytearray()
    try:
        async for chunk in stream:
            body += chunk
            if len(body) > most:
                return False
    finally:
        with anyio.move_on_after(_CLOSING, shield=True):
            await stream.aclose()
    response.stream = httpx.ByteStream(bytes(body))
    return True
