"""The limiters that processes share, and what each does and does not do."""

from typing import Final

from benchmarks.contract import WHOLE_JOB, Contender, Family

_SUBJECTS: Final = (
    (
        "governor",
        "governor, `governor serve --socket`",
        "ours:GOVERNOR",
        f"acquire and outcome: {WHOLE_JOB}; permits granted ahead to each process",
        "",
        None,
    ),
    (
        "limits-redis",
        "limits, counters in Redis",
        "stores:LIMITS_ON_REDIS",
        "acquire: fixed window; a script in Redis, over loopback, for each",
        "up to twice the limit where two windows meet; no outcome, no breaker, no cap, no counters, no wait",
        "redis-server",
    ),
    (
        "limits-memcached",
        "limits, counters in memcached",
        "stores:LIMITS_ON_MEMCACHED",
        "acquire: fixed window; an increment in memcached, over loopback, for each",
        "up to twice the limit where two windows meet; no outcome, no breaker, no cap, no counters, no wait",
        "memcached",
    ),
    (
        "pyrate-limiter",
        "pyrate-limiter, bucket in SQLite",
        "files:PYRATE_LIMITER",
        "acquire: sliding window; a lock on a file and a transaction for each; waits",
        "no outcome, no breaker, no cap, no counters, no queue",
        None,
    ),
)

_GATEKEEPERS: Final = (
    (
        "governor",
        "governor, `governor serve --socket`",
        "GOVERNOR",
        "limits of client, address and group; requests that arrive together in one message; the end of each request",
        "the processor time of the daemon is not in that of a worker",
        None,
    ),
    (
        "limits-redis",
        "limits (`limits.aio`), counters in Redis",
        "LIMITS_ON_REDIS",
        "one fixed window for each client; a script in Redis, over loopback, for each request",
        "no limits of address and group, no end of a request; up to twice the limit where two windows meet",
        "redis-server",
    ),
    (
        "alone",
        "control: governor, each worker by itself",
        "ALONE",
        "the same limits in the event loop of the worker",
        "shares nothing: four workers let four times as many requests through",
        None,
    ),
)

PROCESSES: Final = (
    *(
        Contender(
            name=f"processes-{name}",
            family=Family.PROCESSES,
            entry="processes.throughput:shared_by_processes",
            subject=f"processes.subjects.{subject}",
            size=2_000,
            quick_size=500,
            title=title,
            does=does,
            does_not=does_not,
            needs=needs,
        )
        for name, title, subject, does, does_not, needs in _SUBJECTS
    ),
    *(
        Contender(
            name=f"messages-{name}",
            family=Family.MESSAGES,
            entry="processes.scarce:message_by_message",
            subject=f"processes.subjects.ours:{subject}",
            size=4_000,
            quick_size=1_000,
            title=title,
            does=f"acquire and outcome: {WHOLE_JOB}; a message for each to the daemon, and one back",
            does_not=does_not,
        )
        for name, subject, title, does_not in (
            ("strict", "STRICT", "governor, a strict window that is never reached", "no call waits"),
            ("places", "PLACES", "governor, 8 calls in flight", "calls that do nothing; three of four wait at any time"),
        )
    ),
    Contender(
        name="round-trips",
        family=Family.ROUND_TRIPS,
        entry="processes.latency:one_at_a_time",
        size=3_000,
        quick_size=500,
        title="governor, `governor serve --socket`",
        does="from the call of one thread to its permit; a scope that is new to both processes, and one that is known",
        does_not="one call at a time",
    ),
    Contender(
        name="holders",
        family=Family.HOLDERS,
        entry="processes.holders:idle",
        size=1_000,
        quick_size=200,
        title="governor, `governor serve --socket`, 1,000 processes",
        does="processes that are connected and have held permits, and make no calls now",
        does_not="connections of one process; Linux only",
    ),
)

ADMISSIONS: Final = tuple(
    Contender(
        name=f"admissions-{name}",
        family=Family.ADMISSIONS,
        entry="processes.admissions:admitted_by_workers",
        subject=f"processes.admissions:{subject}",
        size=2_000,
        quick_size=500,
        title=title,
        does=does,
        does_not=does_not,
        needs=needs,
    )
    for name, title, subject, does, does_not, needs in _GATEKEEPERS
)
