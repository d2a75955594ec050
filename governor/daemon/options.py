"""The command line of `governor serve`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from governor.daemon.doorway import LOOPBACK_NAMES

_DESCRIPTION: Final = (
    "Runs a governor with an HTTP API: a dashboard at /, status, events, metrics. SIGHUP reads the policy file again; SIGTERM "
    "and SIGINT end it, after all requests have been answered."
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was said, with the defaults for what was not."""

    config: str | None
    host: str
    port: int
    allow_host: tuple[str, ...]
    drain: float

    def allowed_hosts(self) -> tuple[str, ...]:
        """The names under which the daemon may be asked: those of this machine, the one it is bound to, and those allowed."""
        return (*LOOPBACK_NAMES, url_host(self.host), *self.allow_host)

    def policy_file(self, environ: Mapping[str, str]) -> str | None:
        """The policy file to show: `--config`, or else the one that `GOVERNOR_CONFIG` names in `environ`; None for neither."""
        return self.config or environ.get("GOVERNOR_CONFIG", "").strip() or None


def url_host(host: str) -> str:
    """An address as it stands in URLs and in `Host`: one of IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def parse(arguments: Sequence[str]) -> Options:
    """The options. Ends the program with status 2 on a mistake, and with 0 after `--help`."""
    said = parser().parse_args(arguments)
    return Options(config=said.config, host=said.host, port=said.port, allow_host=tuple(said.allow_host), drain=said.drain)


def parser(*, add_help: bool = True) -> argparse.ArgumentParser:
    """The parser of the command; without `--help` where it is part of another one."""
    parser = argparse.ArgumentParser(prog="governor serve", description=_DESCRIPTION, allow_abbrev=False, add_help=add_help)
    parser.add_argument("--config", metavar="FILE", help="the policy file; default: the one in GOVERNOR_CONFIG, if any")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8787, help="the port; 0 for any that is free (%(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="one more name that requests may have in Host, without port; * for any; may be repeated",
    )
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how long clients with open connections get a 503 before the daemon ends (%(default)s)",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; allowed: 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time to drain; allowed: 0 to 3600 seconds")
    return seconds
