"""A machine in small: a daemon that owns the limits, processes that share them, and a provider that notes every arrival."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Final

from governor import Governor
from governor._background import Background
from tests.support.programs import COMMAND, Written, forks
from tests.support.waits import PATIENCE, until

WORKER: Final = Path(__file__).with_name("worker.py")


class Arrivals(ThreadingHTTPServer):
    """A provider that notes when each request has arrived."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.times: list[float] = []
        #: Requests by their path: each process has one.
        self.paths: Counter[str] = Counter()
        #: Seconds that a request takes, and how many were worked on at a time at most.
        self.takes = 0.0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def most_within(self, seconds: float) -> int:
        """The largest number of requests that arrived within any span of this length."""
        times = sorted(self.times)
        first, most = 0, 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def since(self, start: float) -> int:
        """Requests that have arrived from then on."""
        return sum(at >= start for at in self.times)

    def work(self, path: str) -> None:
        """A request has arrived, and is worked on."""
        with self._lock:
            self.times.append(monotonic())
            self.paths[path] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        sleep(self.takes)
        with self._lock:
            self._at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Arrivals

    def do_GET(self) -> None:
        self.server.work(self.path)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def handle(self) -> None:
        with suppress(ConnectionError):  # Of a process that was killed.
            super().handle()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


@contextmanager
def listening(governor: Governor, path: Path) -> Iterator[None]:
    """A governor that listens, on a thread of its own."""

    @asynccontextmanager
    async def lived() -> AsyncIterator[None]:
        async with governor, governor.listen(path):
            yield

    background = Background(lived)
    background.start()
    try:
        yield
    finally:
        background.stop()


@contextmanager
def provider() -> Iterator[Arrivals]:
    """One that serves."""
    with Arrivals() as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


class Machine:
    """Its processes all read the policy file, which names the socket; they are killed in the end."""

    def __init__(self, folder: Path, policy: str, **machine: str) -> None:
        self.socket = folder / "s"
        self.policy = folder / "governor.toml"
        settings = "".join(f"{key} = {value}\n" for key, value in machine.items())
        self.policy.write_text(f'[machine]\nsocket = "{self.socket}"\n{settings}\n{policy}')
        self._processes: list[Written | subprocess.Popen[str]] = []

    def start(self, *command: str) -> Written:
        """A program: `-c` and its text, or its path, with its arguments."""
        name, *arguments = command
        text = arguments.pop(0) if name == "-c" else Path(name).read_text(encoding="utf-8")
        folder = self.policy.parent
        process = forks().write(text, name, *arguments, warnings="", folder=folder, environ=self._environ())
        self._processes.append(process)
        return process

    def execute(self, *command: str) -> "subprocess.Popen[str]":
        """An interpreter of its own, with these arguments."""
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environ(),
            cwd=self.policy.parent,
        )
        self._processes.append(process)
        return process

    def _environ(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVERNOR")}
        return {**environ(environment), "GOVERNOR_CONFIG": str(self.policy)}

    def daemon(self) -> Written:
        """Starts the daemon, and returns once it listens."""
        process = self.start("-c", COMMAND, "serve", "--port", "0", "--socket", str(self.socket))
        until(lambda: self.is_served() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process

    def is_served(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def workers(self, number: int, server: Arrivals) -> list[Written]:
        """Starts processes that call the provider, and returns once all have been answered."""
        url = f"http://127.0.0.1:{server.server_address[1]}"
        workers = [self.start(str(WORKER), url, f"/{one}") for one in range(number)]
        until(lambda: len(server.paths) == number or any(worker.poll() is not None for worker in workers))
        assert number == len(server.paths), [worker.communicate() for worker in workers if worker.poll() is not None]
        return workers

    def ended(self, process: Written) -> str:
        """Tells a process to end. What it has written, if it ends well."""
        process.terminate()
        output, errors = process.communicate(timeout=PATIENCE)
        assert 0 == process.returncode, errors
        return output

    def close(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()


def environ(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a process, with this project in its path."""
    root = Path(__file__).parents[3]
    return {**environment, "PYTHONPATH": os.pathsep.join((str(root), str(root / "clients")))}
