"""limits, with its counters in Redis or in memcached, over loopback."""

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from getpass import getuser
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from limits.storage import MemcachedStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter

from benchmarks.contention.subject import Ask, Limit
from benchmarks.contention.subjects.fixed_window import hits
from benchmarks.contract import BenchmarkError
from benchmarks.processes.subject import SharedSubject

_START_TIMEOUT: Final = 10.0


@contextmanager
def _server(port: int, command: Sequence[str], folder: Path) -> Iterator[None]:
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    end = monotonic() + _START_TIMEOUT
    while monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.02)
        else:
            return
    raise BenchmarkError(f"nothing listens on port {port}")


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The address of a Redis that stores nothing."""
    port = _free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with _server(port, command, folder):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def _redis(folder: Path, limit: Limit) -> Iterator[str]:
    with redis_server(folder) as address:
        yield address


@contextmanager
def _memcached(folder: Path, limit: Limit) -> Iterator[str]:
    port = _free_port()
    with _server(port, ["memcached", "-l", "127.0.0.1", "-p", str(port), "-u", getuser()], folder):
        yield f"memcached://127.0.0.1:{port}"


@contextmanager
def _connect(address: str, limit: Limit) -> Iterator[Callable[[str], Ask]]:
    storage = RedisStorage(address) if address.startswith("redis") else MemcachedStorage(address)
    limiter = FixedWindowRateLimiter(storage)
    yield lambda scope: hits(limit, scope, limiter)


LIMITS_ON_REDIS: Final = SharedSubject("processes.subjects.stores:LIMITS_ON_REDIS", _redis, _connect)
LIMITS_ON_MEMCACHED: Final = SharedSubject("processes.subjects.stores:LIMITS_ON_MEMCACHED", _memcached, _connect)
