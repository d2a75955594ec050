"""A denial that the headers have told is not told again by the body: it would look like one that says nothing of a limit."""

from collections.abc import Sequence
from typing import cast

import pytest

from governor import Permit
from governor._units import SECOND
from governor.hints import Hint, Severity, read_hints
from governor_client._attempt import Attempt

HEADERS = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "5"}


class Told:
    """A permit that keeps what it is told."""

    def __init__(self) -> None:
        self.hints_of: list[Sequence[Hint]] = []

    def hints(self, hints: Sequence[Hint]) -> None:
        self.hints_of.append(hints)


@pytest.mark.promise("R11")
@pytest.mark.parametrize(("body", "more"), [(b"{}", []), (b'{"retry_after": 20}', [(Severity.PAUSE, 20 * SECOND)])])
def test_the_body_of_a_denial_adds_a_longer_wait_and_no_other_denial(body: bytes, more: list[tuple[Severity, int]]) -> None:
    told = Told()
    attempt = Attempt(cast("Permit", told))
    for said in (None, body):
        attempt.hint(read_hints("acme", 429, HEADERS, now=0.0, body=said))
    first, second = told.hints_of

    assert [Severity.EXHAUSTED, Severity.THROTTLED] == [hint.severity for hint in first]
    assert more == [(hint.severity, hint.retry_after) for hint in second]
