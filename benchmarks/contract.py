"""The types of contenders and measurements."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import msgspec


class BenchmarkError(Exception):
    """A measurement that must not be published: a contender failed, or did not do what it was measured for."""


class Family(StrEnum):
    """Contenders of one family are measured round-robin and stand in one table."""

    PAIRS = "pairs"
    THREADS = "threads"
    LOOPS = "loops"
    LATENCY = "latency"
    WAITING = "waiting"
    SCARCE = "scarce"
    PROCESSES = "processes"
    ADMISSIONS = "admissions"
    MESSAGES = "messages"
    ROUND_TRIPS = "round_trips"
    HOLDERS = "holders"
    MEMORY = "memory"
    IDLE = "idle"
    WATCHING = "watching"
    CALLS = "calls"
    SERVED = "served"
    CLIENTS = "clients"
    ADAPTERS = "adapters"
    POOL = "pool"
    STARTUP = "startup"
    RECOVERY = "recovery"


#: What a contender module offers: measures a workload of this size once, and answers its figures by metric.
Entry = Callable[[int], Mapping[str, float]]


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One workload of one implementation.

    `entry` is `module:function` in `benchmarks`; `size` and `quick_size` are what the function is given. One that can measure
    any limiter is given a `subject` first, which is named in the same way. `does` and `does_not` say what is compared with
    what, and stand beside every figure. `needs` is a program without which it is left out.
    """

    name: str
    family: Family
    entry: str
    size: int
    quick_size: int
    title: str
    does: str
    does_not: str = ""
    subject: str | None = None
    needs: str | None = None


class Sample(msgspec.Struct, frozen=True):
    """One repetition: the figures of one fresh process. Times end in `_us` or `_ms`, sizes in `_bytes`."""

    contender: str
    round: int
    values: dict[str, float]


#: The metric of the family `pairs`: microseconds for one permit and its outcome.
PAIR_US: Final = "pair_us"

#: What the governor does for each pair, and some of its contenders.
WHOLE_JOB: Final = "bucket, breaker, global cap of a minute, degraded mode, counters"
