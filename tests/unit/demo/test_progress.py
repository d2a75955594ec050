"""The demo shows that it is at work, on a terminal and elsewhere."""

from io import StringIO

from demo.contender import Figures
from demo.progress import Progress

FIGURES = Figures(sent=7, answered_2xx=4, answered_4xx=2, answered_5xx=1)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_do_not_pile_up() -> None:
    output = StringIO()
    progress = Progress("with", 10.0, output)
    for elapsed in (1.0, 2.0, 3.9, 4.0):
        progress(elapsed, FIGURES)
    progress.end()

    assert ["1.0", "4.0"] == [line.split()[1] for line in output.getvalue().splitlines()]


def test_a_terminal_shows_one_line_that_is_gone_in_the_end() -> None:
    output = Terminal()
    progress = Progress("with", 10.0, output)
    progress(1.0, FIGURES)
    progress(2.0, FIGURES)
    progress.end()

    assert "\n" not in output.getvalue()
    assert output.getvalue().endswith("\r\x1b[K")


def test_the_line_says_what_has_been_met() -> None:
    output = StringIO()
    Progress("with", 10.0, output)(1.0, FIGURES)

    assert "with   1.0 of 10 s: 7 sent, 4 answered 2xx, 2 denied, 1 met a 503" == output.getvalue().strip()
