"""How does a running governor stand, asked from a shell? `governor status`."""

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
from governor.daemon.lately import Lately
from governor.daemon.table import Line, Tone, table
from governor.daemon.words import clock, plain, span

_PATH: Final = "/api/v1/traffic-control/status"
#: Seconds within which the daemon must begin to answer, and go on.
_PATIENCE: Final = 5.0
#: Bytes that are read of an answer: more than the status of as many scopes as there can be.
_MOST: Final = 256 * 2**20
#: Seconds between two looks.
_PERIOD: Final = 1.0

_DESCRIPTION: Final = (
    "Shows what a running governor refuses, why and until when, and how each scope stands, the worst first. Exit status: 0 "
    "done, 1 if no governor answers at that address, 2 for a mistake in what was typed."
)


class NoAnswer(Exception):
    """Nobody there who tells how a governor stands. Says why, in words for people."""


class Screen:
    """Where tables go. On a terminal they are written one over the other, in colour unless NO_COLOR says otherwise."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._terminal = output.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._begun = False

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal. Elsewhere 120 columns, or what the environment says."""
        columns, lines = shutil.get_terminal_size((120, 40))
        return max(1, columns), max(4, lines)

    def show(self, lines: Sequence[Line], *, over: bool) -> None:
        """Writes a table, `over` the one before where that is possible."""
        texts = [line.coloured() if self._colour else line.text for line in lines]
        if over and self._terminal:
            # Every line is cleared behind its end and the screen below, not the whole screen before: that would flicker.
            start = "\x1b[H" if self._begun else "\x1b[2J\x1b[H"
            self._output.write(start + "\n".join(f"{text}\x1b[K" for text in texts) + "\x1b[J")
        else:
            self._output.write("".join(f"{text}\n" for text in (["", *texts] if self._begun else texts)))
        self._begun = True
        self._output.flush()

    def end(self) -> None:
        """Leaves the cursor on a line of its own."""
        if self._terminal and self._begun:
            self._output.write("\n")
            self._output.flush()


def main(arguments: Sequence[str], *, pause: Callable[[float], object] | None = None) -> int:
    """Runs the command and answers the exit status. `pause` waits between two looks, for so many seconds."""
    said = parser().parse_args(arguments)
    try:
        return (_watch if said.watch else _once)(said.url, json=said.json, pause=pause or Event().wait)
    except NoAnswer as why:
        print(f"governor status: {why}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read has gone, `head` for instance. Python would say so once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _once(url: str, *, json: bool, pause: Callable[[float], object]) -> int:
    body = fetch(url)
    status = read(url, body)
    if json:
        _print_json(body)
        return 0
    screen = Screen(sys.stdout)
    width, _ = screen.size()
    screen.show(table(status, width=width), over=False)
    return 0


def _watch(url: str, *, json: bool, pause: Callable[[float], object]) -> int:
    """Until Ctrl-C. A governor that did answer and no longer does is waited for; the last figures stay, with their age."""
    screen, lately = Screen(sys.stdout), Lately()
    body, status = b"", None
    try:
        while True:
            trouble = None
            try:
                body = fetch(url)
                status = read(url, body)
                lately.add(status)
            except NoAnswer as why:
                if status is None:
                    raise
                trouble = why
            if not json:
                screen.show(_picture(status, lately, trouble, screen.size()), over=True)
            elif trouble is None:
                _print_json(body)
            pause(_PERIOD)
    except KeyboardInterrupt:
        screen.end()
        return 0


def _picture(status: Status, lately: Lately, trouble: NoAnswer | None, size: tuple[int, int]) -> list[Line]:
    width, height = size
    if trouble is None:
        return table(status, width=width, height=height, recently=lately)
    taken_at = status.global_.now
    age = f"Figures are {span(wall_clock() - taken_at)} old, from {clock(taken_at)}: {trouble}"
    return [Line(age[:width], Tone.BAD), *table(status, width=width, height=height - 1, recently=lately)]


def fetch(url: str) -> bytes:
    """What the governor at that address answers. Raises `NoAnswer`."""
    # Not through a proxy: what the environment says of those is meant for the world outside.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url + _PATH, timeout=_PATIENCE) as response:
            return bytes(response.read(_MOST))
    except HTTPError as error:
        with error:
            raise NoAnswer(f"{url} answers {error.code} {plain(str(error.reason))}") from None
    except URLError as error:
        raise NoAnswer(f"no governor answers at {url}: {_words(error.reason)}") from None
    except (OSError, ValueError) as error:
        raise NoAnswer(f"no governor answers at {url}: {_words(error)}") from None


def read(url: str, body: bytes) -> Status:
    """The status in an answer. Raises `NoAnswer` for something else."""
    try:
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswer(f"what answers at {url} is no governor of this version: {plain(str(error))}") from None


def _words(reason: object) -> str:
    return plain(reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason))


def _print_json(body: bytes) -> None:
    sys.stdout.write(body.decode().rstrip() + "\n")
    sys.stdout.flush()


def parser(*, add_help: bool = True) -> argparse.ArgumentParser:
    """The parser of the command; without `--help` where it is part of another one."""
    parser = argparse.ArgumentParser(prog="governor status", description=_DESCRIPTION, allow_abbrev=False, add_help=add_help)
    parser.add_argument("--watch", action="store_true", help="show it anew each second, until Ctrl-C")
    parser.add_argument(
        "--json", action="store_true", help="print the status document, for scripts; with --watch one in each line"
    )
    parser.add_argument("--url", type=_url, default="http://127.0.0.1:8787", help="where the governor is served (%(default)s)")
    return parser


def _url(text: str) -> str:
    """An address, without a slash at its end."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        usable = usable and not (parts.query or parts.fragment or parts.username) and text == plain(text) and " " not in text
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address; allowed: for instance 'http://127.0.0.1:8787'")
    return text.rstrip("/")
