"""Command line options of `governor serve`."""

import argparse
import os
from collections.abc import Sequence
from typing import Final

import msgspec

from governor import ConfigError
from governor.command_line import Parser
from governor.daemon.actions import check_token
from governor.daemon.host_check import LOOPBACK_NAMES

#: The environment variable with the admin token.
ADMIN_TOKEN: Final = "GOVERNOR_ADMIN_TOKEN"

_DESCRIPTION: Final = (
    "Runs a governor and serves its status over HTTP: a dashboard at /, statistics, events and metrics. SIGHUP reloads the "
    "policy file; SIGTERM and SIGINT end the daemon after all requests have been answered."
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options, with defaults for those that were not given. `drain` is in seconds."""

    config: str | None
    host: str
    port: int
    allow_host: tuple[str, ...]
    drain: float
    admin_token: str | None = None
    #: The path of the socket for other processes; empty for that of the user, None for what the settings say.
    socket: str | None = None
    #: Seconds without a process after which the daemon ends; None for never.
    exit_idle: float | None = None

    def allowed_hosts(self) -> tuple[str, ...]:
        """The allowed names in `Host`: those of loopback, the address to listen on, and those of `--allow-host`."""
        return (*LOOPBACK_NAMES, url_host(self.host), *self.allow_host)


def url_host(host: str) -> str:
    """An address in the form for URLs and `Host`: an IPv6 address is in brackets."""
    return f"[{host}]" if ":" in host else host


def parse(arguments: Sequence[str]) -> Options:
    """Parses the options. Exits with status 2 on a mistake, and with 0 after `--help`."""
    options = parser()
    said = options.parse_args(arguments)
    token = said.admin_token or os.environ.get(ADMIN_TOKEN) or None
    if token is not None:
        try:
            check_token(token)
        except ConfigError as mistake:
            options.error(f"--admin-token, {ADMIN_TOKEN}: {mistake}")
    return Options(
        config=said.config,
        host=said.host,
        port=said.port,
        allow_host=tuple(said.allow_host),
        drain=said.drain,
        admin_token=token,
        socket=said.socket,
        exit_idle=said.exit_idle,
    )


def parser(*, add_help: bool = True) -> argparse.ArgumentParser:
    """The parser of the command. `add_help` is false where it is the parent of another parser."""
    parser = Parser(prog="governor serve", description=_DESCRIPTION, add_help=add_help)
    parser.add_argument(
        "--config", metavar="FILE", help="the policy file; the default is the file that GOVERNOR_CONFIG names, if any"
    )
    parser.add_argument("--host", type=_host, default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8787, help="the port; 0 for any free port (%(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name to allow in the Host field, without port; * for any; may be repeated",
    )
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="seconds in which open connections get a 503 before the daemon exits (%(default)s)",
    )
    parser.add_argument(
        "--socket",
        nargs="?",
        const="",
        metavar="PATH",
        help="the unix socket for processes that share the limits; without a path, that of the user; default: `socket` of "
        "[machine] in the policy file, if any",
    )
    parser.add_argument(
        "--exit-idle",
        type=_idle_seconds,
        metavar="SECONDS",
        help="end once no process has been connected to the socket for so long; default: never",
    )
    parser.add_argument(
        "--admin-token",
        metavar="TOKEN",
        help="allows requests with this token, of at least 16 characters, to open and close circuit breakers and to end "
        f"degraded mode; better set in {ADMIN_TOKEN}, as other users can read command lines; default: no actions",
    )
    return parser


def _host(text: str) -> str:
    if not text.strip():  # A variable that is not set, which would listen on all addresses.
        raise argparse.ArgumentTypeError(f"{text!r} is no address; 0.0.0.0 and :: are all addresses of this machine")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; allowed: 0 to 65535")
    return int(text)


def _idle_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 31_622_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time without processes; allowed: above 0, to 366 days in seconds")
    return seconds


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time to drain; allowed: 0 to 3600 seconds")
    return seconds
