"""The parser of command lines: `argparse`, with what was probably meant in its messages."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from governor.config.mistakes import near_miss

_OPTION: Final = re.compile(r"--[a-z-]+")


class Parser(argparse.ArgumentParser):
    """The parser of one command. It names the command or the option that a mistyped one is similar to.

    Options are not abbreviated.
    """

    _commands: Mapping[str, argparse.ArgumentParser] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def add_subparsers(self, **options: Any) -> Any:
        """Adds commands, each with a parser of this class."""
        commands = super().add_subparsers(**options)
        self._commands = commands.choices
        return commands

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override] # overloaded there
        """Parses the arguments. Exits with status 2 and a message if one of them is unknown."""
        if args and self._commands:
            self._check_command(args[0], args[1:])
        said, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown[0])}")
        return said, unknown

    def _check_command(self, word: str, rest: Sequence[str]) -> None:
        if word in self._commands or word in self._options():
            return
        is_option = word.startswith("-")
        if is_option and not self._commands.keys().isdisjoint(rest):
            self.error(f"{word} comes before the command; write the options of a command after it")
        meant = self._meant(word)
        if meant:
            self.error(f"unknown {'option' if is_option else 'command'} {word!r}{meant}")

    def _options(self) -> list[str]:
        return ["-h", *_OPTION.findall(self.format_usage())]

    def _meant(self, word: str) -> str:
        near = near_miss(word.partition("=")[0], [*self._commands, *self._options()])
        return f"; did you mean {near!r}?" if near else ""
