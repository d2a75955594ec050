"""What a governor answered, narrowed to the type that a test expects."""

from governor import Denied, Permit, Reason


def granted(answer: Permit | Denied) -> Permit:
    """The permit; fails if there is none."""
    assert isinstance(answer, Permit), answer
    return answer


def denied(answer: Permit | Denied) -> Denied:
    """The denial; fails if a permit was granted."""
    assert isinstance(answer, Denied), answer
    return answer


def reason(answer: Permit | Denied) -> Reason | None:
    """Why a permit was denied; None if it was granted."""
    return answer.reason if isinstance(answer, Denied) else None
