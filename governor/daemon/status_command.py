"""`governor status`: the status of a running governor in a terminal, once or continuously."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple, TextIO
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import msgspec

from governor import GovernorError, Statistics
from governor.clock import wall_clock
from governor.command_line import Parser
from governor.cooperative import finish
from governor.daemon import reports
from governor.daemon.documents import About, Status
from governor.daemon.reach import URL, add_either, socket_of
from governor.daemon.socket_client import SocketClient
from governor.daemon.table import Line, Tone, table
from governor.daemon.tracker import Tracker
from governor.wording import clock, plain, span

_PATH: Final = "/api/v1/traffic-control/status"
#: Seconds for the daemon to answer, and between two parts of its answer.
_READ_TIMEOUT: Final = 5.0
#: Bytes read of an answer: more than the status of the maximum number of scopes.
_MAX_BYTES: Final = 256 * 2**20
#: Seconds between two requests of `--watch`.
_PERIOD: Final = 1.0

_DESCRIPTION: Final = (
    "Shows what a running governor denies, why and until when, and the state of each scope, the worst first. Exit status: 0 "
    "for success, 1 if no governor answers or, with --exit-code, if anything is denied, 2 for a mistake on the command line."
)


class NoAnswer(Exception):
    """No governor answers. The message says why."""


class Source(NamedTuple):
    """Where the status comes from, in words, and how to ask for it. Asking raises `NoAnswer`."""

    name: str
    fetch: Callable[[], bytes]


class Screen:
    """The output. A terminal shows each table in place of the one before, in colour unless NO_COLOR is set."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._terminal = output.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._begun = False

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal; elsewhere those of the environment, or 120 columns."""
        columns, lines = shutil.get_terminal_size((120, 40))
        return max(1, columns), max(4, lines)

    def show(self, lines: Sequence[Line], *, over: bool) -> None:
        """Writes a table, `over` the one before on a terminal."""
        texts = [line.coloured() if self._colour else line.text for line in lines]
        if over and self._terminal:
            # Clears the rest of each line and the screen below: clearing the whole screen first would flicker.
            start = "\x1b[H" if self._begun else "\x1b[2J\x1b[H"
            self._output.write(start + "\n".join(f"{text}\x1b[K" for text in texts) + "\x1b[J")
        else:
            self._output.write("".join(f"{text}\n" for text in (["", *texts] if self._begun else texts)))
        self._begun = True
        self._output.flush()

    def end(self) -> None:
        """Moves the cursor to a line of its own."""
        if self._terminal and self._begun:
            self._output.write("\n")
            self._output.flush()


def main(arguments: Sequence[str], *, pause: Callable[[float], object] | None = None) -> int:
    """Runs the command and returns the exit status. `pause` waits for so many seconds between two requests."""
    said = parser().parse_args(arguments)
    try:
        source = _source(said)
        if said.watch:
            return _watch(source, json=said.json, pause=pause or Event().wait)
        return _once(source, json=said.json, exit_code=said.exit_code)
    except NoAnswer as why:
        print(f"governor status: {why}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has gone, `head` for instance. Without this, Python reports the error once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _source(said: argparse.Namespace) -> Source:
    try:
        path = socket_of(said.socket, http=said.url is not None)
    except GovernorError as error:
        raise NoAnswer(str(error)) from None
    if path is not None:
        return Source(str(path), partial(_fetch_over_socket, path, Tracker()))
    url = said.url or URL
    return Source(url, partial(fetch, url))


def _once(source: Source, *, json: bool, exit_code: bool) -> int:
    body = source.fetch()
    status = read(source.name, body)
    if json:
        _print_json(body)
    else:
        screen = Screen(sys.stdout)
        width, _ = screen.size()
        screen.show(table(status, width=width), over=False)
    return int(exit_code and any(condition.severity.denies for condition in status.conditions))


def _watch(source: Source, *, json: bool, pause: Callable[[float], object]) -> int:
    """Runs until Ctrl-C. After the first answer, outages are waited for: the last figures stay, with their age."""
    screen = Screen(sys.stdout)
    body, status = b"", None
    try:
        while True:
            outage = None
            try:
                body = source.fetch()
                status = read(source.name, body)
            except NoAnswer as why:
                if status is None:
                    raise
                outage = why
            if not json:
                screen.show(_picture(status, outage, screen.size()), over=True)
            elif outage is None:
                _print_json(body)
            pause(_PERIOD)
    except KeyboardInterrupt:
        screen.end()
        return 0


def _picture(status: Status, outage: NoAnswer | None, size: tuple[int, int]) -> list[Line]:
    width, height = size
    if outage is None:
        return table(status, width=width, height=height)
    taken_at = status.global_.now
    age = f"These figures are {span(wall_clock() - taken_at)} old, from {clock(taken_at)}: {outage}"
    return [Line(age[:width], Tone.BAD), *table(status, width=width, height=height - 1)]


def fetch(url: str) -> bytes:
    """The answer of the governor at that URL. Raises `NoAnswer`."""
    # Not through the proxy that the environment names: it is meant for the world outside.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url + _PATH, timeout=_READ_TIMEOUT) as response:
            return bytes(response.read(_MAX_BYTES))
    except HTTPError as error:
        with error:
            if error.code == HTTPStatus.NOT_FOUND:
                raise NoAnswer(f"what answers at {url} is no governor: 404 {plain(str(error.reason))}") from None
            raise NoAnswer(f"{url} answers {error.code} {plain(str(error.reason))}") from None
    except URLError as error:
        raise NoAnswer(f"no governor answers at {url}: {_words(error.reason)}") from None
    except (OSError, ValueError) as error:
        raise NoAnswer(f"no governor answers at {url}: {_words(error)}") from None


def _fetch_over_socket(path: Path, tracker: Tracker) -> bytes:
    """The same document from the governor that listens there, whose statistics `tracker` follows. Raises `NoAnswer`."""
    try:
        with SocketClient(path) as client:
            about = msgspec.json.decode(client.document("about"), type=About)
            statistics = msgspec.json.decode(client.document("statistics"), type=Statistics)
    except GovernorError as error:
        raise NoAnswer(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_understood(str(path), error) from None
    found = finish(tracker.look(statistics))
    return msgspec.json.encode(finish(reports.status(statistics, found.conditions, about=about, recent=found.recent)))


def read(source: str, body: bytes) -> Status:
    """Decodes the status. Raises `NoAnswer` for anything else."""
    try:
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_understood(source, error) from None


def _not_understood(source: str, error: Exception) -> NoAnswer:
    return NoAnswer(f"the answer from {source} is not that of a governor of this version: {plain(str(error))}")


def _words(reason: object) -> str:
    return plain(reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason))


def _print_json(body: bytes) -> None:
    sys.stdout.write(body.decode().rstrip() + "\n")
    sys.stdout.flush()


def parser(*, add_help: bool = True) -> argparse.ArgumentParser:
    """The parser of the command; without `--help` where it is part of another one."""
    parser = Parser(prog="governor status", description=_DESCRIPTION, add_help=add_help)
    parser.add_argument("--watch", action="store_true", help="refresh every second, until Ctrl-C")
    parser.add_argument(
        "--json", action="store_true", help="print the status document, for scripts; with --watch, one per line"
    )
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if anything is denied; not with --watch")
    add_either(parser)
    return parser
