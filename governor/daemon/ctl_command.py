"""`governor ctl`: an operator closes, opens and resets scopes and providers of a running governor, and recalls processes.

Over the socket of the daemon its file mode and the user decide who may. Over HTTP the admin token does.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from governor import ConfigError, GovernorError
from governor.command_line import Parser
from governor.config import parse_duration
from governor.daemon.offers import CLOSE, OPEN, RESET, RESUME
from governor.daemon.options import ADMIN_TOKEN
from governor.daemon.reach import SOCKET, URL, add_either, add_socket, socket_of
from governor.daemon.socket_client import SocketClient
from governor.protocol import default_path
from governor.wording import plain, several

_PREFIX: Final = "/api/v1/traffic-control"
#: Seconds for the daemon to answer.
_TIMEOUT: Final = 10.0
_MAX_BYTES: Final = 65_536

_DESCRIPTION: Final = (
    "Changes a running governor by hand. NAME is a scope, such as github:get, or a provider, such as github, with all of its "
    "scopes. The daemon is reached over its socket (--socket, or what "
    f"{SOCKET} names), which takes no token, or else at its URL, with its admin token, which is read from {ADMIN_TOKEN}. "
    "Exit status: 0 if it is done, 1 if it is not, 2 for a mistake on the command line."
)


class _NotDone(Exception):
    """Nothing was done. The message says why."""


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns the exit status."""
    options = parser()
    said = options.parse_args(arguments)
    try:
        print(_over_socket(said) or _over_http(said, options))
    except (_NotDone, GovernorError) as why:
        print(f"governor ctl: {why}", file=sys.stderr)
        return 1
    return 0


def _over_socket(said: argparse.Namespace) -> str:
    """Acts over the socket. Returns what was done, in words; empty if there is no socket to use."""
    path = socket_of(said.socket, http=bool(said.url or said.token))
    if path is None and said.path is None:
        path = default_path()
    if path is None:
        return ""
    with SocketClient(path) as client:
        acted = client.act(said.command, said.name, said.span)
    if acted.error:
        raise _NotDone(f"Nothing was done: {plain(acted.error)}.")
    processes = f"{acted.processes:,} process{'' if acted.processes == 1 else 'es'}"
    return _done(said, permits=several(acted.permits, "permit"), processes=processes)


def _over_http(said: argparse.Namespace, options: argparse.ArgumentParser) -> str:
    token = said.token or os.environ.get(ADMIN_TOKEN)
    if not token:
        options.error(
            f"there is no admin token: set {ADMIN_TOKEN} to the token that `governor serve` was started with, or use --socket"
        )
    body = {key: value for key, value in (("name", said.name), ("open_for", said.span)) if value}
    _post(said.url or URL, said.path, token, body)
    return _done(said)


def _done(said: argparse.Namespace, **counted: str) -> str:
    """What was done, in words."""
    words: str = said.done
    return words.format(name=plain(said.name), span=said.span, **counted)


def _post(url: str, path: str, token: str, body: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = Request(url + _PREFIX + path, data=msgspec.json.encode(body), headers=headers, method="POST")
    try:
        # Not through the proxy that the environment names: it is meant for the world outside, and gets to see no token.
        with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT):
            pass
    except HTTPError as error:
        with error:
            raise _NotDone(_problem(error, url)) from None
    except URLError as error:
        reason = error.reason
        words = reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason)
        raise _NotDone(f"no governor answers at {url}: {plain(words)}") from None
    except (OSError, ValueError) as error:
        raise _NotDone(f"no governor answers at {url}: {plain(str(error))}") from None


def _problem(error: HTTPError, url: str) -> str:
    """What the daemon says about the mistake, or that no daemon has answered."""
    try:
        said = msgspec.json.decode(error.read(_MAX_BYTES), type=dict[str, object])
        detail = plain(str(said.get("detail") or error.reason))
    except (msgspec.DecodeError, OSError):
        return f"what answers at {url} is no governor: {error.code} {plain(str(error.reason))}"
    if error.code == HTTPStatus.NOT_FOUND and not detail.startswith("Nothing was done"):
        return "the daemon has no such action: it was started without an admin token."
    return detail


def _span(text: str) -> str:
    """The text of a duration, checked before the daemon is asked, and before a token is missed."""
    try:
        parse_duration(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def parser(*, add_help: bool = True) -> argparse.ArgumentParser:
    """The parser of the command; without `--help` where it is part of another one."""
    parser = Parser(prog="governor ctl", description=_DESCRIPTION, add_help=add_help)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command", title="commands")
    http = Parser(add_help=False)
    add_either(http)
    http.add_argument(
        "--token",
        metavar="TOKEN",
        help=f"the admin token, for the URL; better set in {ADMIN_TOKEN}, as other users can read command lines",
    )
    close = commands.add_parser("close", parents=[http], help="let no call through for some time")
    close.add_argument("name", metavar="NAME", help="a scope or a provider")
    close.add_argument(
        "--for",
        dest="span",
        type=_span,
        metavar="DURATION",
        default="10m",
        help="for how long, such as 90s or 4h (%(default)s)",
    )
    close.set_defaults(path=CLOSE, done="{name} is closed for {span}.")
    opened = commands.add_parser("open", parents=[http], help="end that, and close the circuit breakers")
    opened.add_argument("name", metavar="NAME", help="a scope or a provider")
    opened.set_defaults(path=OPEN, span="", done="{name} is open.")
    reset = commands.add_parser("reset", parents=[http], help="open, and forget what the server has said and rejected")
    reset.add_argument("name", metavar="NAME", help="a scope or a provider")
    reset.set_defaults(path=RESET, span="", done="{name} is reset.")
    resume = commands.add_parser("resume", parents=[http], help="end degraded mode")
    resume.set_defaults(path=RESUME, name="", span="", done="Degraded mode is ended.")
    recall = commands.add_parser("recall", help="recall what a process has been granted ahead; over the socket only")
    recall.add_argument("name", metavar="PROCESS", help="the number of a process, or a name, for all processes of that name")
    add_socket(recall)
    recall.set_defaults(path=None, span="", url=None, token=None, done="{permits} of {processes} are recalled.")
    return parser
