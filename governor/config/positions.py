"""Positions in the text of a policy file: the line and the column of every key and of every item of a list.

`tomllib` reports no positions. The scanner here reads text that `tomllib` has accepted, so that it skips all checks.
"""

import re
import tomllib
from typing import Final

from governor.config.names import join

#: Line and column, both from 1; the column counts characters.
Position = tuple[int, int]

_SPACE: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANKS: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
_SCALAR: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:""?)?|\'\'\'.*?\'\'\'(?:\'\'?)?|"(?:\\.|[^"\\])*"|'[^']*'|[^,\]}#\n]+''', re.DOTALL
)


def positions(text: str) -> dict[str, Position]:
    """The position of each path, as in `ConfigError`: `outbound.github.limits[0]`. `text` must be valid TOML."""
    scanner = _Scanner(text)
    scanner.document()
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    found: dict[str, Position] = {}
    line = 0
    for path, at in sorted(scanner.found.items(), key=lambda item: item[1]):
        while line + 1 < len(starts) and starts[line + 1] <= at:
            line += 1
        found[path] = (line + 1, at - starts[line] + 1)
    return found


class _Scanner:
    """One pass over a document; `found` maps each path to the index of its first character."""

    def __init__(self, text: str) -> None:
        self.found: dict[str, int] = {}
        self._text = text
        self._at = 0
        # How many tables each array of tables has so far.
        self._arrays: dict[str, int] = {}

    def document(self) -> None:
        table = ""
        while self._skip(_SPACE) < len(self._text):
            if self._takes("[["):
                table = self._key("", last_is_array=True)
                self._takes("]]")
            elif self._takes("["):
                table = self._key("")
                self._takes("]")
            else:
                self._pair(table)

    def _pair(self, table: str) -> None:
        path = self._key(table)
        self._takes("=")
        self._value(path)

    def _key(self, path: str, *, last_is_array: bool = False) -> str:
        """Reads a dotted key beneath `path`, and returns the whole path."""
        while True:
            start = self._skip(_BLANKS)
            end = self._skip(_KEY)
            path = join(path, _unquoted(self._text[start:end]))
            self._skip(_BLANKS)
            more = self._takes(".")
            if last_is_array and not more:
                self._arrays[path] = self._arrays.get(path, 0) + 1
            self.found.setdefault(path, start)
            if path in self._arrays:
                path = f"{path}[{self._arrays[path] - 1}]"
                self.found.setdefault(path, start)
            if not more:
                return path

    def _value(self, path: str) -> None:
        self._skip(_BLANKS)
        if self._takes("["):
            number = 0
            while not self._closes("]"):
                item = f"{path}[{number}]"
                self.found[item] = self._at
                self._value(item)
                number += 1
        elif self._takes("{"):
            while not self._closes("}"):
                self._pair(path)
        else:
            self._skip(_SCALAR)

    def _closes(self, bracket: str) -> bool:
        """Skips to the next item, and says whether there is none."""
        self._skip(_SPACE)
        if self._takes(","):
            self._skip(_SPACE)
        return self._takes(bracket) or self._at >= len(self._text)

    def _takes(self, word: str) -> bool:
        if not self._text.startswith(word, self._at):
            return False
        self._at += len(word)
        return True

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return self._at


def _unquoted(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[:1] in "'\"" else key
