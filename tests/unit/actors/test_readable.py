"""Reading of a socket as often as there is something to read."""

import socket

import anyio
import pytest

from governor._actors.readable import keep_reading


async def _read(until: bytes) -> list[bytes]:
    """What a reader gets that has enough after these bytes, or fails at `failure`."""
    ours, theirs = socket.socketpair()
    got: list[bytes] = []

    def read() -> bool:
        got.append(ours.recv(100))
        if got[-1] == b"failure":
            raise ValueError("not that")
        if len(got) == 1:
            theirs.send(until)
        return got[-1] not in (until, b"")

    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"first")
        with anyio.fail_after(10):
            await keep_reading(ours, read)
        theirs.send(b"not to be read")
        await anyio.lowlevel.checkpoint()
    return got


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_socket_is_read_until_its_reader_has_enough(backend: str) -> None:
    assert [b"first", b"last"] == anyio.run(_read, b"last", backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_a_reader_raises_reaches_who_waits_for_its_end(backend: str) -> None:
    with pytest.raises(ValueError, match="not that"):
        anyio.run(_read, b"failure", backend=backend)
