"""Progress of the demo: lines on standard error, or one line that is overwritten on a terminal."""

import sys
from typing import Final, TextIO

from demo.contender import Figures

#: Seconds between two lines where lines pile up.
_BETWEEN: Final = 3.0


class Progress:
    """The watcher of one run."""

    def __init__(self, title: str, duration: float, output: TextIO | None = None) -> None:
        self._title = title
        self._duration = duration
        self._output = output or sys.stderr
        self._overwrite = self._output.isatty()
        self._next = 0.0

    def __call__(self, elapsed: float, figures: Figures) -> None:
        """Tells how far the run is, and what its client has met so far."""
        if not self._overwrite and elapsed < self._next:
            return
        self._next = elapsed + _BETWEEN
        said = (
            f"  {self._title:>18} {elapsed:5.1f} of {self._duration:g} s: {figures.sent:,} sent, "
            f"{figures.answered_2xx:,} answered 2xx, {figures.answered_4xx:,} denied, {figures.answered_5xx:,} met a 503"
        )
        self._output.write(f"\r{said}\x1b[K" if self._overwrite else f"{said}\n")
        self._output.flush()

    def end(self) -> None:
        """Clears the line that was written over."""
        if self._overwrite:
            self._output.write("\r\x1b[K")
            self._output.flush()
