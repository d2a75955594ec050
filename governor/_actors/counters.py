"""The counters that an actor counts with.

The garbage collector need not look at them, since nothing in them refers back. Compiled where there is a compiler.
"""

from types import MappingProxyType
from typing import Final, cast

# C: import cython
import msgspec

from governor._fields import Counts, stored_directly
from governor._units import Instant
from governor.errors import Reason
from governor.policies.contract import Result
from governor.statistics import COUNTS, CounterRecord


class LastFailure(msgspec.Struct, frozen=True, gc=False):
    """The latest failure: when it was learned of, and its HTTP status or the class name of its error."""

    at: Instant
    status: int | None
    error: str | None


#: What has been denied and dropped where nothing has. An entry cannot be added.
_NO_DENIED: Final = cast("dict[Reason, int]", MappingProxyType({}))
_NO_DROPPED: Final = cast("dict[str, int]", MappingProxyType({}))


# C: @cython.no_gc
# C: @cython.cclass
@stored_directly  # C:
class Counters(Counts, gc=False, eq=False):  # C: class Counters(Counts):
    """Plain integers and dictionaries, written by one actor only. To add to these, see `some_denied` and `some_dropped`."""

    answered_4xx: int = 0
    answered_5xx: int = 0
    answered_429: int = 0
    failures: int = 0
    neutral: int = 0
    retries: int = 0
    denied: dict[Reason, int] = _NO_DENIED
    dropped: dict[str, int] = _NO_DROPPED
    last_failure: LastFailure | None = None

    # C: def __init__(self):
    # C:     self.denied, self.dropped = _NO_DENIED, _NO_DROPPED

    def some_denied(self) -> dict[Reason, int]:
        """A dictionary for the first denial. For all further ones add to `denied`, which saves them a call."""
        self.denied = {}
        return self.denied

    def some_dropped(self) -> dict[str, int]:
        """The same for units that are dropped."""
        self.dropped = {}
        return self.dropped

    def go_on_from(self, record: CounterRecord) -> None:
        """Continues from the counters of a scope that was set aside. Its breaker keeps the number of openings."""
        for name in COUNTS:
            if name != "openings":
                setattr(self, name, getattr(record, name))
        self.denied = dict(record.denied)
        self.dropped = dict(record.dropped)

    def ended(self, status: int | None, result: Result, times: int = 1) -> None:
        """Counts one outcome, or several equal ones: an answer by the class of its HTTP status, everything else by result."""
        if result is Result.NEUTRAL:
            self.neutral += times
        elif result is Result.FAILURE and (status is None or status < 500):
            self.failures += times
        elif status is None or not 200 <= status < 600 or 300 <= status < 400:
            self.others += times
        elif status < 300:
            self.answered_2xx += times
        elif status < 500:
            self.answered_4xx += times
            self.answered_429 += times if status == 429 else 0
        else:
            self.answered_5xx += times

    def record(self, openings: int = 0) -> CounterRecord:
        """A snapshot, with the number of `openings` of the breaker, which the breaker counts."""
        return CounterRecord(
            requests=self.requests,
            answered_2xx=self.answered_2xx,
            answered_4xx=self.answered_4xx,
            answered_5xx=self.answered_5xx,
            answered_429=self.answered_429,
            failures=self.failures,
            neutral=self.neutral,
            others=self.others,
            retries=self.retries,
            openings=openings,
            denied=dict(self.denied) if self.denied else {},
            dropped=dict(self.dropped) if self.dropped else {},
        )
