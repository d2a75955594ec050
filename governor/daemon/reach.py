"""How `governor status` and `governor ctl` reach the daemon: its socket, or its URL."""

import argparse
import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from governor.protocol import default_path
from governor.wording import plain

#: The URL of `governor serve` without options.
URL: Final = "http://127.0.0.1:8787"
#: The environment variable with the path of the socket.
SOCKET: Final = "GOVERNOR_SOCKET"
#: Stands for the socket of the user.
_DEFAULT: Final = ""


def add_socket(parser: argparse._ActionsContainer) -> None:
    """Adds `--socket` to a parser."""
    text = f"the socket of the daemon; without a path, that of the user; default: what {SOCKET} names, if anything"
    parser.add_argument("--socket", nargs="?", const=_DEFAULT, metavar="PATH", help=text)


def add_either(parser: argparse.ArgumentParser) -> None:
    """Adds `--socket` and `--url`, which exclude each other, to a parser."""
    either = parser.add_mutually_exclusive_group()
    add_socket(either)
    either.add_argument("--url", type=url_of, help=f"the URL of the daemon; default, without a socket: {URL}")


def socket_of(option: str | None, *, http: bool) -> Path | None:
    """The socket of the `--socket` that was given, else that of the environment unless it is to be `http`; None without any.

    Raises `UsageError` where there can be no socket of the user.
    """
    if option is None and not http:
        option = os.environ.get(SOCKET) or None
    if option is None:
        return None
    return Path(option) if option else default_path()


def url_of(text: str) -> str:
    """A URL without a slash at its end."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        usable = usable and not (parts.query or parts.fragment or parts.username) and text == plain(text) and " " not in text
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL of a daemon; use for instance '{URL}'")
    return text.rstrip("/")
