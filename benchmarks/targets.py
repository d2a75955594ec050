"""Targets, and whether they were reached."""

import math
from typing import Final

import msgspec

from benchmarks.contention import latency, scarce
from benchmarks.contention.threads import apart, together
from benchmarks.contract import PAIR_US
from benchmarks.inbound import calls, clients, served
from benchmarks.outbound import adapters
from benchmarks.outbound.catalogue import ADAPTERS
from benchmarks.processes.holders import RESIDENT_BYTES
from benchmarks.processes.latency import COLD_P50, COLD_P99
from benchmarks.processes.scarce import LARGEST_SHARE, LEAST_SHARE
from benchmarks.processes.throughput import PER_SECOND
from benchmarks.results import Results, Spread
from benchmarks.watching import status


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """`metric` of `contender` is at most `most`, or at least `least`; or its ratio to `base` is.

    The ratio is to the same metric, or to `base_metric`. `decimals` is how finely it is shown.
    """

    title: str
    contender: str
    metric: str
    unit: str
    most: float = math.inf
    least: float = -math.inf
    base: str | None = None
    base_metric: str | None = None
    decimals: int = 2

    @property
    def goal(self) -> str:
        """The bound in words."""
        return f"at least {self.least:.3g} {self.unit}" if self.most == math.inf else f"at most {self.most:.3g} {self.unit}"

    def measured(self, results: Results) -> Spread | None:
        """None if one of the two did not run."""
        if self.base is None:
            return results.spread(self.contender, self.metric)
        return results.ratio(self.contender, self.base, self.metric, self.base_metric)

    def kept_by(self, value: float) -> bool:
        """Is this good enough? The bound itself is."""
        return self.least <= value <= self.most


#: The scopes of which nothing is granted ahead.
_MESSAGES: Final = (("strict", "a strict window"), ("places", "calls in flight"))

TARGETS: Final = (
    Target(
        title="`try_permit` + `record`, to one `acquire` of the textbook",
        contender="try-permit",
        base="textbook",
        metric=PAIR_US,
        most=3.3,
        unit="times",
    ),
    Target(
        title="`try_permit` + `record` with state that survives, to the same without",
        contender="try-permit-kept",
        base="try-permit",
        metric=PAIR_US,
        most=1.05,
        unit="times",
    ),
    Target(
        title="`async with permit`, to `try_permit` + `record`",
        contender="async-with",
        base="try-permit",
        metric=PAIR_US,
        most=2.0,
        unit="times",
    ),
    Target(
        title="pairs per second, 8 threads in one scope, to acquires of the textbook",
        contender="threads-governor",
        base="threads-textbook",
        metric=together(8),
        least=5.0,
        unit="times",
    ),
    Target(
        title="pairs per second, 8 threads in one scope, to those of the lock-based engine",
        contender="threads-governor",
        base="threads-lock-engine",
        metric=together(8),
        least=30.0,
        unit="times",
    ),
    Target(
        title="pairs per second, 8 threads in 8 scopes, to 8 threads in one",
        contender="threads-governor",
        base="threads-governor",
        metric=apart(8),
        base_metric=together(8),
        least=2 / 3,
        unit="times",
    ),
    *(
        Target(
            title=f"pairs per second, {count} threads in one scope, to one thread",
            contender="threads-governor",
            base="threads-governor",
            metric=together(count),
            base_metric=together(1),
            least=least,
            unit="times",
        )
        for count, least in ((8, 0.7), (16, 0.6))
    ),
    Target(
        title="a permit and its outcome, 8 threads at half load, p99",
        contender="latency-governor",
        metric=f"{latency.HALF}_{latency.P99}",
        most=100.0,
        unit="us",
    ),
    Target(
        title="what the thread that got least got of 500 per second, in fair shares",
        contender="scarce-governor",
        metric=scarce.LEAST_SHARE,
        least=0.8,
        unit="shares",
        decimals=3,
    ),
    Target(
        title="what 8 threads got of what 500 per second allow",
        contender="scarce-governor",
        metric=scarce.OF_ALLOWED,
        least=0.995,
        unit="times",
        decimals=4,
    ),
    Target(
        title="pairs per second, 4 processes with 2 threads each",
        contender="processes-governor",
        metric=PER_SECOND,
        least=400_000,
        unit="per second",
        decimals=0,
    ),
    *(
        Target(
            title=f"the same, to {store}",
            contender="processes-governor",
            base=base,
            metric=PER_SECOND,
            least=50.0,
            unit="times",
        )
        for store, base in (
            ("limits on Redis", "processes-limits-redis"),
            ("limits on memcached", "processes-limits-memcached"),
            ("pyrate-limiter on SQLite", "processes-pyrate-limiter"),
        )
    ),
    *(
        Target(
            title=f"permits per second, 4 processes, a message for each: {title}",
            contender=f"messages-{name}",
            metric=PER_SECOND,
            least=20_000,
            unit="per second",
            decimals=0,
        )
        for name, title in _MESSAGES
    ),
    *(
        Target(
            title=f"what the process that {who} of these: {title}",
            contender=f"messages-{name}",
            metric=metric,
            least=least,
            most=most,
            unit="shares",
            decimals=3,
        )
        for who, metric, least, most in (
            ("got least, in fair shares,", LEAST_SHARE, 0.9, math.inf),
            ("got most", LARGEST_SHARE, -math.inf, 1.1),
        )
        for name, title in _MESSAGES
    ),
    *(
        Target(title=title, contender="round-trips", metric=metric, most=most, unit="us", decimals=0)
        for title, metric, most in (
            ("first permit of a scope, from the daemon, p50", COLD_P50, 300.0),
            ("first permit of a scope, from the daemon, p99", COLD_P99, 1_000.0),
        )
    ),
    Target(
        title="memory of the daemon with 1,000 connected processes",
        contender="holders",
        metric=RESIDENT_BYTES,
        most=100.0 * 1_048_576,
        unit="bytes",
        decimals=0,
    ),
    Target(title="lateness of a permit that had to wait, p99", contender="waiting", metric="p99_ms", most=2.0, unit="ms"),
    Target(
        title="a status of 1,000 scopes over HTTP, p50", contender="watched", metric=status.STATUS_P50, most=20.0, unit="ms"
    ),
    Target(
        title="a decision while the status is polled, p99, to the same unwatched",
        contender="watched",
        base="unwatched",
        metric=status.DECISION_P99,
        most=1.2,
        unit="times",
    ),
    Target(
        title="what limits on clients add to a call of an application",
        contender="calls-governed",
        metric=calls.ADDED_US,
        most=4.0,
        unit="us",
    ),
    Target(
        title="a denied call, to one that is admitted",
        contender="calls-denied",
        base="calls-governed",
        metric=calls.CALL_US,
        most=1.25,
        unit="times",
    ),
    *(
        Target(
            title=f"what a permit adds to a call: {contender.title}",
            contender=contender.name,
            metric=adapters.ADDED_US,
            most=60.0,
            unit="us",
        )
        for contender in ADAPTERS
    ),
    Target(
        title="answers per second of uvicorn, to those without limits on clients",
        contender="served-governed",
        metric=served.SHARE,
        least=0.95,
        unit="times",
        decimals=3,
    ),
    Target(
        title="memory for each client, of a million",
        contender="clients",
        metric=clients.TRACED,
        most=130.0,
        unit="bytes",
        decimals=0,
    ),
    Target(
        title="the longest pause for cleaning up, of a million clients",
        contender="clients",
        metric=clients.MAX_STEP_MS,
        most=2.0,
        unit="ms",
    ),
    Target(
        title="what `import governor` adds to an empty program", contender="startup", metric="extra_ms", most=60.0, unit="ms"
    ),
    Target(
        title="what a governor and its first permit add to an empty program",
        contender="startup-permit",
        metric="extra_ms",
        most=60.0,
        unit="ms",
    ),
)
