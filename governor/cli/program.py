"""The program `governor`: its commands, and the exit status of each.

Exit status: 0 success; 1 the command ran and failed (no address for `serve`, no governor answers `status` or `ctl`); 2 a
mistake in the arguments or the settings, a file or output that cannot be written, or an extra that is not installed; 130
interrupted by Ctrl-C. A pipe whose reader has closed it ends a command quietly, with 0.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Final, TextIO, cast

from governor import __version__, _build
from governor.errors import ConfigError

_DESCRIPTION: Final = (
    "Rate limits, circuit breakers and retries for the APIs that a program calls, and limits for the API that it serves."
)
_EPILOG: Final = (
    "Exit status: 0 success; 1 the command failed; 2 a mistake in the arguments or the settings, or a missing extra. "
    "`governor COMMAND --help` explains each command."
)
_DEMO: Final = (
    "governor demo: the demo is not part of the package. Clone the repository of traffic-governor, and run `make demo` in it."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, from `sys.argv` unless arguments are given, and returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    _accept_any_output()
    try:
        status = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _write_no_more()  # The reader has gone, `head` for instance.
        return 0
    except OSError as error:
        _write_no_more()  # Of a full disk, for instance.
        print(f"governor: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _accept_any_output() -> None:
    """Lets commands print to a closed standard output, and text that its encoding lacks, such as the name of a file."""
    if cast("TextIO | None", sys.stdout) is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    elif isinstance(sys.stdout, TextIOWrapper):
        # It asks for the position in what was a file when the interpreter began: a pipe, where it has been replaced since.
        with suppress(OSError):
            sys.stdout.reconfigure(errors="backslashreplace")


def _write_no_more() -> None:
    """Without this Python reports an error of standard output once more, when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("", [])
    try:
        if command in _OTHERS:
            return _OTHERS[command](rest)
        said = parser().parse_args(words)
        run: Callable[[argparse.Namespace], int] = said.run
        return run(said)
    except ModuleNotFoundError as missing:
        print(f"governor {command}: {missing}", file=sys.stderr)
        return 2
    except ConfigError as mistake:
        print(mistake, file=sys.stderr)
        return 2


def parser(*, complete: bool = False) -> argparse.ArgumentParser:
    """The parser of the program. `complete` adds the options of `serve`, `status` and `ctl`, which parse their own."""
    # Imported here: what only prints the version, serves, or asks a daemon needs none of them.
    from governor.cli import check, completion, init, presets, schema
    from governor.command_line import Parser

    program = Parser(prog="governor", description=_DESCRIPTION, epilog=_EPILOG)
    program.add_argument("--version", action="version", version=_version(), help="print the version")
    commands = program.add_subparsers(required=True, metavar="COMMAND", title="commands")
    check.add_to(commands)
    init.add_to(commands)
    schema.add_to(commands)
    presets.add_to(commands)
    serve, status, ctl = _daemon_parsers() if complete else ([], [], [])
    commands.add_parser("serve", parents=serve, add_help=complete, help="run a governor with an HTTP API and a dashboard")
    commands.add_parser("status", parents=status, add_help=complete, help="show the scopes of a running governor")
    commands.add_parser("ctl", parents=ctl, add_help=complete, help="close, open and reset scopes of a running governor")
    completion.add_to(commands, lambda: parser(complete=True))
    commands.add_parser("demo", add_help=False, help="say where the demo is")
    return program


def _version() -> str:
    """The version and the build."""
    return f"governor {__version__} ({_build.name()})"


def _print_version(_: Sequence[str]) -> int:
    print(_version())
    return 0


def _demo(_: Sequence[str]) -> int:
    print(_DEMO, file=sys.stderr)
    return 2


def _serve(words: Sequence[str]) -> int:
    # Imported here, because only these commands need the web server, which takes long to load.
    from governor.daemon.serve import main as serve

    return serve(words)


def _status(words: Sequence[str]) -> int:
    from governor.daemon.status_command import main as status

    return status(words)


def _ctl(words: Sequence[str]) -> int:
    from governor.daemon.ctl_command import main as ctl

    return ctl(words)


def _daemon_parsers() -> tuple[list[argparse.ArgumentParser], ...]:
    """The parsers of `serve`, `status` and `ctl`; none without the extra `daemon`."""
    try:
        from governor.daemon.ctl_command import parser as ctl
        from governor.daemon.options import parser as serve
        from governor.daemon.status_command import parser as status
    except ModuleNotFoundError:
        return [], [], []
    return [serve(add_help=False)], [status(add_help=False)], [ctl(add_help=False)]


#: Commands that parse their own arguments, and what needs no parser.
_OTHERS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "--version": _print_version,
    "ctl": _ctl,
    "demo": _demo,
    "serve": _serve,
    "status": _status,
}
