"""All contenders, with their workloads, and what each does and does not do."""

from typing import Final

from benchmarks.contention.catalogue import CONTENTION
from benchmarks.contract import WHOLE_JOB, Contender, Family
from benchmarks.inbound.catalogue import INBOUND
from benchmarks.outbound.catalogue import OUTBOUND
from benchmarks.processes.catalogue import ADMISSIONS, PROCESSES

_PAIRS: Final = 100_000
_QUICK_PAIRS: Final = 10_000

CONTENDERS: Final = (
    Contender(
        name="textbook",
        family=Family.PAIRS,
        entry="contenders.textbook:pairs",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="textbook: dict + Lock + GCRA",
        does="acquire from one bucket; safe from any thread",
        does_not="no outcome, no breaker, no cap, no counters, no waiting",
    ),
    Contender(
        name="policies-gcra",
        family=Family.PAIRS,
        entry="contenders.floor:gcra",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="bare policies: the token bucket alone",
        does="acquire from one bucket, on one loop",
        does_not="no scopes, no outcome, no breaker, no cap, no counters, no waiting",
    ),
    Contender(
        name="policies-all",
        family=Family.PAIRS,
        entry="contenders.floor:gcra_breaker_cap",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="bare policies: bucket + breaker + cap",
        does="acquire and outcome: bucket, breaker, global cap, each asked and told every time, which the governor avoids",
        does_not="no scopes, no degraded mode, no counters, no waiting",
    ),
    Contender(
        name="try-permit",
        family=Family.PAIRS,
        entry="contenders.ours:try_permit",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="governor: `try_permit` + `record`",
        does=f"acquire and outcome: {WHOLE_JOB}",
        does_not="called on the governor's own loop; never waits",
    ),
    Contender(
        name="try-permit-kept",
        family=Family.PAIRS,
        entry="contenders.kept:try_permit",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="governor with state that survives: `try_permit` + `record`",
        does=f"acquire and outcome: {WHOLE_JOB}; what is granted is written ahead of it",
        does_not="called on the governor's own loop; never waits",
    ),
    Contender(
        name="async-with",
        family=Family.PAIRS,
        entry="contenders.ours:async_with",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="governor: `async with permit`",
        does=f"acquire and outcome: {WHOLE_JOB}; would wait in a queue",
        does_not="called on the governor's own loop; never has to wait here",
    ),
    Contender(
        name="hundred-tasks",
        family=Family.PAIRS,
        entry="contenders.ours:hundred_tasks",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="governor: `async with permit`, 100 tasks, one scope",
        does=f"acquire and outcome: {WHOLE_JOB}; each block yields once to the loop, so that 100 permits are out at a time",
        does_not="never has to wait here",
    ),
    Contender(
        name="hundred-tasks-alone",
        family=Family.PAIRS,
        entry="contenders.loop:hundred_tasks",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="control: the same 100 tasks without a governor",
        does="yields once to the loop",
        does_not="no permit, no outcome: what the row above pays to asyncio",
    ),
    Contender(
        name="lock-engine",
        family=Family.PAIRS,
        entry="contenders.lock_engine:pairs",
        size=_PAIRS,
        quick_size=_QUICK_PAIRS,
        title="lock-based engine: `check` + `record`",
        does=f"acquire and outcome: {WHOLE_JOB}; one lock each, safe from any thread",
        does_not="no waiting; one thread here, so no lock is ever contended",
    ),
    Contender(
        name="waiting",
        family=Family.WAITING,
        entry="contenders.waiting:governed",
        size=4,
        quick_size=1,
        title="governor: 100 waiters on one scope of 200/s",
        does="from the instant at which the bucket owes the permit to the waiter's first line of code after it",
    ),
    Contender(
        name="timers",
        family=Family.WAITING,
        entry="contenders.waiting:timers",
        size=4,
        quick_size=1,
        title="control: 100 tasks in `asyncio.sleep` until the same instants",
        does="what the event loop and this machine are late by themselves",
        does_not="no permit, no queue",
    ),
    *(
        Contender(
            name=f"{name}-{scopes}",
            family=Family.MEMORY,
            entry=f"contenders.memory:{name.replace('-', '_')}",
            size=scopes,
            quick_size=scopes,
            title=f"{title}, {scopes:,} scopes",
            does=does,
            does_not=does_not,
        )
        for scopes in (1_000, 10_000)
        for name, title, does, does_not in (
            ("memory-governor", "governor", f"an actor with its task, mailbox, {WHOLE_JOB}, retry budget", ""),
            ("memory-lock-engine", "lock-based engine", WHOLE_JOB, "no task, no waiting line, no retry budget"),
            ("memory-textbook", "textbook", "one number and its key", "nothing else"),
        )
    ),
    Contender(
        name="startup",
        family=Family.STARTUP,
        entry="contenders.startup:pairs_of_programs",
        size=11,
        quick_size=3,
        title="`python -c 'import governor'` beside `python -c pass`",
        does="whole programs, from start to exit, in turns; files in the page cache, bytecode compiled",
        does_not="no event loop is started, no client imported",
    ),
    Contender(
        name="watched",
        family=Family.WATCHING,
        entry="watching.status:watched",
        size=5_000,
        quick_size=1_000,
        title="governor with 1,000 scopes, its status polled 10 times a second over HTTP",
        does="a status of 1,000 scopes, to its last byte at the client; 500 permits and outcomes a second on the same loop",
        does_not="one poller, on the same machine",
    ),
    Contender(
        name="unwatched",
        family=Family.WATCHING,
        entry="watching.status:unwatched",
        size=5_000,
        quick_size=1_000,
        title="control: the same without monitoring",
        does="the same permits and outcomes; mostly what the timers of the event loop are late",
        does_not="no daemon",
    ),
    *CONTENTION,
    *INBOUND,
    *OUTBOUND,
    *PROCESSES,
    *ADMISSIONS,
)
