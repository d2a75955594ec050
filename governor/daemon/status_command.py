"""`governor status`: the status of a running governor in a terminal, once or continuously."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from threading import Event
from typing import Final, TextIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import msgspec

from governor.clock import wall_clock
from governor.daemon.documents import Status
from governor.daemon.table import Line, Tone, table
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
        if said.watch:
            return _watch(said.url, json=said.json, pause=pause or Event().wait)
        return _once(said.url, json=said.json, exit_code=said.exit_code)
    except NoAnswer as why:
        print(f"governor status: {why}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has gone, `head` for instance. Without this, Python reports the error once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _once(url: str, *, json: bool, exit_code: bool) -> int:
    body = fetch(url)
    status = read(url, body)
    if json:
        _print_json(body)
    else:
        screen = Screen(sys.stdout)
        width, _ = screen.size()
        screen.show(table(status, width=width), over=False)
    return int(exit_code and any(condition.severity.denies for condition in status.conditions))


def _watch(url: str, *, json: bool, pause: Callable[[float], object]) -> int:
    """Runs until Ctrl-C. After the first answer, outages are waited for: the last figures stay, with their age."""
    screen = Screen(sys.stdout)
    body, status = b"", None
    try:
        while True:
            outage = None
            try:
                body = fetch(url)
                status = read(url, body)
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
            raise NoAnswer(f"{url} answers {error.code} {plain(str(error.reason))}") from None
    except URLError as error:
        raise NoAnswer(f"no governor answers at {url}: {_words(error.reason)}") from None
    except (OSError, ValueError) as error:
        raise NoAnswer(f"no governor answers at {url}: {_words(error)}") from None


def read(url: str, body: bytes) -> Status:
    """Decodes the status. Raises `NoAnswer` for anything else."""
    try:
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswer(f"the answer from {url} is not that of a governor of this version: {plain(str(error))}") from None


def _words(reason: object) -> str:
    return plain(reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason))


def _print_json(body: bytes) -> None:
    sys.stdout.write(body.decode().rstrip() + "\n")
    sys.stdout.flush()


def parser(*, add_help: bool = True) -> argparse.ArgumentParser:
    """The parser of the command; without `--help` where it is part of another one."""
    parser = argparse.ArgumentParser(prog="governor status", description=_DESCRIPTION, allow_abbrev=False, add_help=add_help)
    parser.add_argument("--watch", action="store_true", help="refresh every second, until Ctrl-C")
    parser.add_argument(
        "--json", action="store_true", help="print the status document, for scripts; with --watch, one per line"
    )
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if anything is denied; not with --watch")
    parser.add_argument("--url", type=url_of, default="http://127.0.0.1:8787", help="the URL of the daemon (%(default)s)")
    return parser


def url_of(text: str) -> str:
    """A URL without a slash at its end."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        usable = usable and not (parts.query or parts.fragment or parts.username) and text == plain(text) and " " not in text
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL of a daemon; use for instance 'http://127.0.0.1:8787'")
    return text.rstrip("/")
