"""The command line: `governor check`, `governor serve` and `governor status`.

Exit status: 0 success; 1 `serve` cannot have its address, or no governor answers `status`; 2 a mistake in the arguments or the
settings, or a missing extra.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from governor.config import Config, show
from governor.errors import ConfigError

_CHECK: Final = (
    "Prints what is in force, defaults and environment included, as a policy file; or names the mistake and exits with 2."
)

_DEMO: Final = (
    "governor demo: the demo is not part of the package. Clone the repository of traffic-governor, and run `make demo` in it."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, from `sys.argv` unless arguments are given, and answers the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["demo"]:
        print(_DEMO, file=sys.stderr)
        return 2
    try:
        if words[:1] == ["serve"]:
            from governor.daemon.serve import main as serve

            return serve(words[1:])
        if words[:1] == ["status"]:
            from governor.daemon.status_command import main as status

            return status(words[1:])
    except ModuleNotFoundError as missing:
        print(f"governor {words[0]}: {missing}", file=sys.stderr)
        return 2
    return _check(_parser().parse_args(words).file)


class _Version(argparse.Action):
    """Prints the version. `importlib.metadata` is slow to load, so only this option loads it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"governor {version('traffic-governor')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="governor", description="Keeps outbound calls within the limits of their providers.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="print what is in force for each scope, or the mistake", description=_CHECK)
    check.add_argument(
        "file", nargs="?", metavar="FILE", help="the policy file; without it: the one that GOVERNOR_CONFIG names, if any"
    )
    commands.add_parser("demo", add_help=False, help="says where to find the demo: `make demo` in a clone")
    commands.add_parser("serve", add_help=False, help="run a governor that can be watched; see `governor serve --help`")
    commands.add_parser("status", add_help=False, help="what a running governor refuses; see `governor status --help`")
    return parser


def _check(file: str | None) -> int:
    try:
        config = Config.load(file)
    except ConfigError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    print("\n".join(show(config)))
    return 0
