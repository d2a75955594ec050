"""The limiters and their workloads, and what each does and does not do."""

from collections.abc import Iterator
from typing import Final

import msgspec

from benchmarks.contract import WHOLE_JOB, Contender, Family


class _Limiter(msgspec.Struct, frozen=True, kw_only=True):
    """A subject, and what stands beside its figures whatever it is put to."""

    name: str
    title: str
    subject: str
    does: str
    does_not: str = ""


_GOVERNOR: Final = _Limiter(
    name="governor",
    title="governor",
    subject="ours:GOVERNOR",
    does=f"acquire and outcome: {WHOLE_JOB}; would wait in a queue",
)
_TEXTBOOK: Final = _Limiter(
    name="textbook",
    title="textbook: dict + Lock + GCRA",
    subject="baselines:TEXTBOOK",
    does="acquire from one bucket; one lock for all",
    does_not="no outcome, no breaker, no cap, no counters, no queue",
)
_LOCK_ENGINE: Final = _Limiter(
    name="lock-engine",
    title="lock-based engine",
    subject="baselines:LOCK_ENGINE",
    does=f"acquire and outcome: {WHOLE_JOB}; one lock each",
    does_not="no queue",
)
_LIMITS: Final = _Limiter(
    name="limits",
    title="limits",
    subject="fixed_window:LIMITS",
    does="acquire: fixed window, in memory; one lock for each scope",
    does_not="up to twice the limit where two windows meet; no outcome, no breaker, no cap, no counters, no wait",
)
_PYRATE_LIMITER: Final = _Limiter(
    name="pyrate-limiter",
    title="pyrate-limiter",
    subject="pyrate:PYRATE_LIMITER",
    does="acquire: GCRA, in memory, on a clock of milliseconds; two locks; waits",
    does_not="no outcome, no breaker, no cap, no counters, no queue",
)
_THROTTLED: Final = _Limiter(
    name="throttled-py",
    title="throttled-py",
    subject="throttled_gcra:THROTTLED",
    does="acquire: GCRA, in memory; one lock for all; waits at least 0.2 s if it has to",
    does_not="no outcome, no breaker, no cap, no counters, no queue",
)
_AIOLIMITER: Final = _Limiter(
    name="aiolimiter",
    title="aiolimiter",
    subject="leaky_bucket:AIOLIMITER",
    does="acquire: leaky bucket; waits in a queue",
    does_not="one event loop, no threads; no denial, no outcome, no breaker, no cap, no counters",
)
_LIMITS_STACK: Final = _Limiter(
    name="limits-stack",
    title="limits + pybreaker + tenacity",
    subject="stacks:LIMITS_PYBREAKER_TENACITY",
    does="acquire, breaker and retries around a call that does nothing; the breaker makes its calls one at a time",
    does_not="up to twice the limit where two windows meet; no cap, no counters, no wait",
)
_THROTTLED_STACK: Final = _Limiter(
    name="throttled-stack",
    title="throttled-py + pybreaker + stamina",
    subject="stacks:THROTTLED_PYBREAKER_STAMINA",
    does="acquire, breaker and retries around a call that does nothing; the breaker makes its calls one at a time",
    does_not="no cap, no counters, no wait",
)
_AIOLIMITER_STACK: Final = _Limiter(
    name="aiolimiter-stack",
    title="aiolimiter + purgatory + stamina",
    subject="stacks:AIOLIMITER_PURGATORY_STAMINA",
    does="acquire, breaker and retries around a call that does nothing; waits in a queue",
    does_not="one event loop, no threads; no denial, no cap, no counters",
)
_FOR_THREADS: Final = (_GOVERNOR, _TEXTBOOK, _LOCK_ENGINE, _LIMITS, _PYRATE_LIMITER, _THROTTLED)


def _put_to(family: Family, entry: str, *limiters: _Limiter, milliseconds: int, quick_milliseconds: int) -> Iterator[Contender]:
    for limiter in limiters:
        yield Contender(
            name=f"{family}-{limiter.name}",
            family=family,
            entry=f"contention.{entry}",
            subject=f"contention.subjects.{limiter.subject}",
            size=milliseconds,
            quick_size=quick_milliseconds,
            title=limiter.title,
            does=limiter.does,
            does_not=limiter.does_not,
        )


CONTENTION: Final = (
    *_put_to(
        Family.THREADS,
        "threads:one_scope_and_many",
        *_FOR_THREADS,
        _LIMITS_STACK,
        _THROTTLED_STACK,
        milliseconds=300,
        quick_milliseconds=100,
    ),
    *_put_to(Family.LOOPS, "loops:everywhere", *_FOR_THREADS, milliseconds=500, quick_milliseconds=100),
    *_put_to(Family.LOOPS, "loops:on_one_loop", _AIOLIMITER, _AIOLIMITER_STACK, milliseconds=500, quick_milliseconds=100),
    Contender(
        name="loops-control",
        family=Family.LOOPS,
        entry="contention.loops:without_a_limiter",
        size=500,
        quick_size=100,
        title="control: no limiter",
        does="what asyncio and the interpreter leave to the rows above",
        does_not="no permit",
    ),
    *_put_to(
        Family.LATENCY,
        "latency:half_load",
        _GOVERNOR,
        _TEXTBOOK,
        _LOCK_ENGINE,
        milliseconds=600,
        quick_milliseconds=200,
    ),
    *_put_to(
        Family.SCARCE,
        "scarce:fairness",
        _GOVERNOR,
        _TEXTBOOK,
        _LOCK_ENGINE,
        _PYRATE_LIMITER,
        _THROTTLED,
        milliseconds=10_000,
        quick_milliseconds=2_000,
    ),
    Contender(
        name="idle-governor",
        family=Family.IDLE,
        entry="contention.idle:governor",
        size=5_000,
        quick_size=1_000,
        title="governor: 100 idle scopes, 8 idle threads",
        does="all scopes exist and no calls are made",
    ),
    Contender(
        name="idle-nothing",
        family=Family.IDLE,
        entry="contention.idle:nothing",
        size=5_000,
        quick_size=1_000,
        title="control: 8 idle threads",
        does="what the threads and this measurement cost by themselves",
        does_not="no governor",
    ),
)
