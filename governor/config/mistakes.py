"""Collection of mistakes, so that all mistakes of the settings are reported at once."""

from collections.abc import Iterable
from types import TracebackType

from governor.errors import ConfigError, Problem


class Mistakes:
    """Collects the problems of every `ConfigError` that a `with` block raises, and suppresses the exception.

    One object serves any number of blocks, one after the other.
    """

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def __enter__(self) -> "Mistakes":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if not isinstance(error, ConfigError):
            return False
        self.problems.extend(error.problems)
        return True

    def report(self) -> None:
        """Raises one `ConfigError` with all problems so far, if there are any."""
        if self.problems:
            raise ConfigError.of(self.problems)


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most similar to a misspelled one; None if none is similar."""
    import difflib  # loaded only for settings with mistakes

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
