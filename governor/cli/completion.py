"""`governor completion`: prints a completion script for a shell. Needs the extra `completion`."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from governor.extras import missing

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_SHELLS: Final = ("bash", "fish", "zsh")
_DESCRIPTION: Final = (
    "Prints a completion script. bash: `governor completion bash > ~/.local/share/bash-completion/completions/governor`; "
    "zsh: write it to a file `_governor` in a folder of $fpath; fish: `governor completion fish > "
    "~/.config/fish/completions/governor.fish`."
)


def add_to(commands: "Commands", program: Callable[[], argparse.ArgumentParser]) -> None:
    """Adds the command to the parser. `program` makes the parser to complete, when it is needed."""
    parser = commands.add_parser("completion", help="print a completion script for a shell", description=_DESCRIPTION)
    parser.add_argument("shell", choices=_SHELLS, help="the shell to complete in")
    parser.set_defaults(run=lambda said: _run(said.shell, program()))


def _run(shell: str, program: argparse.ArgumentParser) -> int:
    try:
        import shtab  # optional, and only this command needs it
    except ModuleNotFoundError as error:
        raise missing("completion", error) from error
    print(shtab.complete(program, shell=shell))
    return 0
