"""Failures that other threads have reported are read once each, in any order of steps."""

import pytest

from governor._actors.failures import Failures


class Actor:
    """An actor whose step, while it hears, has others heard in turn, and meets a failure that is reported meanwhile."""

    def __init__(
        self, failures: Failures, name: str, heard: list[str], *, reads: bool = False, late: "Actor | None" = None
    ) -> None:
        self.failures, self.name, self.heard = failures, name, heard
        self.reads, self.late = reads, late

    def hear(self) -> bool:
        self.heard.append(self.name)
        if self.reads:
            self.reads = False
            self.failures.read()
        if self.late is not None:
            self.failures.append(self.late)
            self.late = None
        return True


@pytest.mark.promise("R06")
def test_a_step_within_a_reading_reads_the_rest_and_no_later_failure_is_dropped_with_it() -> None:
    failures, heard = Failures(), list[str]()
    late = Actor(failures, "late", heard)
    first = Actor(failures, "first", heard, reads=True, late=late)
    failures.extend([first, Actor(failures, "second", heard)])

    failures.read()

    assert (["first", "first", "second", "late"], []) == (heard, list(failures))
