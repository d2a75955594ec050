"""What has happened to one scope since the governor started?"""

from collections.abc import Mapping

import msgspec

from governor.errors import Reason
from governor.policies.contract import Result


class CounterRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The counters of a scope, or sums of them. `requests` counts permits granted, `retries` those among them.

    A permit whose outcome is known is in exactly one of `answered_2xx`, `answered_4xx`, `answered_5xx`, `failures`, `neutral`
    and `others`; what is left of `requests` is under way. `dropped` are amounts, by unit, that calls have used beyond the
    `max_debt` of their scope, and that no limit was charged with.
    """

    requests: int = 0
    answered_2xx: int = 0
    answered_4xx: int = 0
    answered_5xx: int = 0
    #: Also part of `answered_4xx`.
    answered_429: int = 0
    #: Errors that took the place of an answer, or of the rest of it.
    failures: int = 0
    #: Permits given back unused, and outcomes that say nothing: cancelled, forgotten.
    neutral: int = 0
    #: Answers 1xx and 3xx, and successes without a status.
    others: int = 0
    retries: int = 0
    denied: Mapping[str, int] = {}
    dropped: Mapping[str, int] = {}

    def __add__(self, other: "CounterRecord") -> "CounterRecord":
        return CounterRecord(
            requests=self.requests + other.requests,
            answered_2xx=self.answered_2xx + other.answered_2xx,
            answered_4xx=self.answered_4xx + other.answered_4xx,
            answered_5xx=self.answered_5xx + other.answered_5xx,
            answered_429=self.answered_429 + other.answered_429,
            failures=self.failures + other.failures,
            neutral=self.neutral + other.neutral,
            others=self.others + other.others,
            retries=self.retries + other.retries,
            denied=_sums(self.denied, other.denied),
            dropped=_sums(self.dropped, other.dropped),
        )

    def __sub__(self, other: "CounterRecord") -> "CounterRecord":
        """What is left of a sum when a part of it goes."""
        differences = {
            name: getattr(self, name) - getattr(other, name)
            for name in CounterRecord.__struct_fields__
            if name not in ("denied", "dropped")
        }
        return CounterRecord(
            **differences,
            denied=_sums(self.denied, {key: -count for key, count in other.denied.items()}),
            dropped=_sums(self.dropped, {key: -count for key, count in other.dropped.items()}),
        )

    @property
    def under_way(self) -> int:
        """Permits whose outcome is not known."""
        ended = self.answered_2xx + self.answered_4xx + self.answered_5xx + self.failures + self.neutral + self.others
        return self.requests - ended


def _sums(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    sums = {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
    return {key: count for key, count in sums.items() if count}


class Counters:
    """The counters that an actor counts with; plain integers, written by that actor only."""

    __slots__ = (
        "answered_2xx",
        "answered_429",
        "answered_4xx",
        "answered_5xx",
        "dropped",
        "failures",
        "neutral",
        "others",
        "denied",
        "requests",
        "retries",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.answered_2xx = 0
        self.answered_4xx = 0
        self.answered_5xx = 0
        self.answered_429 = 0
        self.failures = 0
        self.neutral = 0
        self.others = 0
        self.retries = 0
        self.denied: dict[Reason, int] = {}
        self.dropped: dict[str, int] = {}

    def go_on_from(self, record: CounterRecord) -> None:
        """The counters of a scope that comes back."""
        for name in CounterRecord.__struct_fields__:
            if name not in ("denied", "dropped"):
                setattr(self, name, getattr(record, name))
        self.denied = {Reason(reason): count for reason, count in record.denied.items()}
        self.dropped = dict(record.dropped)

    def ended(self, status: int | None, result: Result, times: int = 1) -> None:
        """Counts one outcome, or several alike: an answer by the class of its HTTP status, everything else by its result."""
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

    def record(self) -> CounterRecord:
        """The counters as they stand."""
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
            denied={reason.value: count for reason, count in self.denied.items()},
            dropped=dict(self.dropped),
        )
