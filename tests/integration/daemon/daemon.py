"""A real daemon: starts it, sends it commands, listens to it, and ends it."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO, Any, Final

import httpx2

from tests.support.programs import forks
from tests.support.waits import PATIENCE

PROGRAM: Final = Path(__file__).with_name("program.py")
API: Final = "/api/v1/traffic-control"

POLICY: Final = """
[global]
degraded_after_failures = 4
degraded_exempt = ["queue"]

[outbound.weather]
limits = ["100/minute burst 100"]
breaker = { failures = 2 }

[outbound.scarce]
limits = ["1/minute burst 1"]

[outbound.queue]
limits = ["1 in flight", "1 per h strict"]
"""


class Daemon:
    """`governor serve` in a process of its own, with a thread in it that obeys `program.py`."""

    def __init__(self, *arguments: str, policy: Path, config: bool = True) -> None:
        """With `config`, its option names the policy file. It runs in the folder of that file."""
        self.policy = policy
        named = ["--config", str(policy)] if config else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVERNOR")}
        (commands, self._commands), (output, printed), (errors, complained) = pipe(), pipe(), pipe()
        with commands, printed, complained:
            self._process = forks().start(
                PROGRAM.read_text(encoding="utf-8"),
                str(PROGRAM),
                "--port",
                "0",
                *named,
                *arguments,
                warnings="error",
                folder=policy.parent,
                environ=environment,
                streams=(commands, printed, complained),
            )
        self.output = _lines(output)
        self.errors = _lines(errors)
        first = self.output.get(timeout=PATIENCE)
        found = re.fullmatch(r"governor serve: listening on (http://\S+)/", first)
        assert found is not None, (first, self.errors.queue)
        self.url = found[1]
        assert 200 == httpx2.get(f"{self.url}/health", timeout=PATIENCE).status_code

    def do(self, *what: str) -> None:
        """Has the program do it, and returns when it is done."""
        self._commands.write(" ".join(what) + "\n")
        self._commands.flush()
        assert "done" == self.output.get(timeout=PATIENCE)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", timeout=PATIENCE, **options)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(f"{API}/status").json()
        return answer

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit status, once it has one."""
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._commands.close()


def pipe() -> tuple[IO[str], IO[str]]:
    """Both ends: to read from, and to write to."""
    read, write = os.pipe()
    return os.fdopen(read, "r", encoding="utf-8"), os.fdopen(write, "w", encoding="utf-8")


def _lines(stream: IO[str]) -> Queue[str]:
    """Every line that comes, and an empty one when the stream ends."""
    lines: Queue[str] = Queue()

    def read() -> None:
        with stream:
            for line in stream:
                if line != "\n":
                    lines.put(line.rstrip("\n"))
        lines.put("")

    Thread(target=read, daemon=True).start()
    return lines


Start = Callable[..., Daemon]
Events = Iterator[tuple[str, dict[str, Any]]]


@contextmanager
def listening(url: str) -> Iterator[Events]:
    with httpx2.stream("GET", f"{url}{API}/events", timeout=PATIENCE) as response:
        assert (200, "text/event-stream; charset=utf-8") == (response.status_code, response.headers["content-type"])
        yield parsed(response.iter_lines())


def parsed(lines: Iterator[str]) -> Events:
    kind = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            yield kind, json.loads(value)


def until(events: Events, kind: str, **expected: object) -> list[tuple[str, dict[str, Any]]]:
    """What comes until an event of this kind with these fields does, that one included."""
    heard = []
    for name, data in events:
        heard.append((name, data))
        if name == kind and expected.items() <= data.items():
            return heard
    raise AssertionError(f"the events have ended without {kind} {expected}: {heard}")
