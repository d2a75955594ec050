"""A governor under stress: threads die, tasks are cancelled, and it is shut down in the middle.

    python -m tests.stress.program --runs 100 --seconds 2

In every run 8 threads and the tasks of two other event loops do with 11 scopes whatever a program may. Who does what is drawn
by chance; `--seed` draws the same again, though real threads never meet the same way twice. Half of the runs close the governor
while all are at work. Ends with status 1 when a limit was exceeded, a call was not answered, or the counters do not add up.
"""

import argparse
import faulthandler
import gc
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from random import Random
from threading import Event, Thread
from time import monotonic, sleep
from typing import Final

import anyio
import anyio.from_thread
import anyio.lowlevel

from benchmarks.laws import Admission, Span, admitted_while_closed, excess_over_bucket, most_at_once, most_in_window
from governor import Config, Denied, Governor, InFlight, Permit, PermitDenied, Reason, StrictWindow, TokenBucket, UsageError
from governor._actors.leases.permits_ahead import LeasedHeldPermit, LeasedPermit
from governor._actors.permit import HeldPermit
from governor._supervisor import Supervisor
from governor.clock import system_clock
from governor_client import GovernorClient

THREADS: Final = 8
#: Seconds after which a call without an answer counts as forgotten.
PATIENCE: Final = 30.0
#: Microseconds within which a refusal by an open breaker, or by degraded mode, is believed to say how long that lasts: probes
#: that are out say a second, and mean "unknown".
COOLING: Final = 40_000

OUTBOUND: Final = {
    "plenty": {"limits": ["1000000/s burst 1000000"]},
    "bucket1": {"limits": ["400/s burst 80"]},
    "bucket2": {"limits": ["600/s burst 300"]},
    "bucket3": {"limits": ["100/s burst 40"]},
    "scarce": {"limits": ["50/s burst 10"]},
    "vital": {"limits": ["300/s burst 100"]},
    "frail": {"limits": ["500/s burst 200"], "breaker": {"failures": 3, "open_for": "40ms", "probes": 2, "successes": 2}},
    "rated": {
        "limits": ["500/s burst 100"],
        "breaker": {"failures": 10, "failure_rate": 0.3, "minimum_calls": 20, "window_calls": 50, "open_for": "40ms"},
    },
    "strict": {"limits": ["100 per second strict"]},
    "flight": {"limits": ["5 in flight"]},
    "both": {"limits": ["200/s burst 50", "3 in flight"]},
}
SCOPES: Final = tuple(OUTBOUND)
#: No number of failures opens the breaker of the other scopes.
STURDY: Final = {"failures": 10**9}

HOMES: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


class Log:
    """What one caller has seen. Each caller has its own, so that none waits for a lock."""

    def __init__(self) -> None:
        self.admitted: dict[str, list[Admission]] = {scope: [] for scope in SCOPES}
        self.held: dict[str, list[Span]] = {scope: [] for scope in SCOPES}
        self.closed: dict[str, list[Span]] = {scope: [] for scope in SCOPES}
        self.paused: list[Span] = []
        self.denied: Counter[Reason] = Counter()
        self.seen: Counter[str] = Counter()


class Run:
    """One governor and its callers."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.random = Random(seed)
        self.seconds = seconds
        self.closes_early = self.random.random() < 0.5
        #: How much of what is sent goes wrong: each failure brings back what is granted ahead.
        self.trouble = self.random.choice([0.0, 0.002, 0.2])
        self.cap = self.random.choice([100, 2_000, 10**9, 10**9])
        self.config = Config.from_mapping(
            {
                "global": {
                    "requests_per_minute": self.cap,
                    "degraded_after_failures": self.random.choice([6, 10**9]),
                    "degraded_after_providers": self.random.choice([1, 2]),
                    "degraded_cooldown": "40ms",
                    "degraded_exempt": ["vital"],
                },
                "outbound": {"default": {"breaker": STURDY}, **OUTBOUND},
            }
        )
        self.logs: list[Log] = []
        self.errors: list[BaseException] = []
        self.stop = Event()
        self.closed_at = 0
        self.deaths = 0
        #: Permits whose outcome another thread reports.
        self.handed_over: deque[Permit] = deque()

    def new_log(self) -> Log:
        log = Log()
        self.logs.append(log)
        return log

    def seen(self, what: str) -> int:
        return sum(log.seen[what] for log in self.logs)


class Closed(Exception):
    """The governor has said that it is closed."""


class Caller:
    """One thread, or one task, for as long as it lives."""

    def __init__(self, run: Run, governor: Governor, seed: int) -> None:
        self.run = run
        self.client = GovernorClient(governor)
        self.random = Random(seed)
        self.log = run.new_log()
        self.leaked: list[Permit] = []
        self.streak: Iterator[str] = iter(())

    def terms(self) -> tuple[str, int, float | None]:
        """In which scope to ask, for how much, and how long to wait: None, as long as it takes, only if closing will answer."""
        scope = next(self.streak, None)
        if scope is None:
            scope = self.random.choice(SCOPES)
            # Permits are granted ahead to those who ask often.
            self.streak = iter([scope] * self.random.choice([0, 5, 50, 500]))
        patient = self.run.closes_early and self.random.random() < 0.01
        timeout = None if patient else self.random.choice([0.0] * 12 + [0.001, 0.01, 0.03])
        return scope, self.random.choice([1] * 30 + [2, 3]), timeout

    def step(self) -> None:
        """Asks as a thread asks, and reports what comes of it."""
        scope, cost, timeout = self.terms()
        before = system_clock()
        if timeout == 0.0:
            answer = self.client.try_permit(scope, cost=cost)
            if isinstance(answer, Denied):
                self.denied(scope, before, answer.reason, answer.retry_after)
            else:
                self.use(scope, Admission(before, system_clock(), cost), answer)
            return
        request = self.client.permit(scope, cost=cost, timeout=timeout)
        try:
            permit = request.__enter__()
        except PermitDenied as refusal:
            self.denied(scope, before, refusal.reason, refusal.retry_after)
            return
        self.use(scope, Admission(before, system_clock(), cost), permit)

    async def astep(self) -> None:
        """The same as a task; it may be cancelled at any moment."""
        scope, cost, timeout = self.terms()
        before = system_clock()
        with anyio.move_on_after(self.random.choice([0.0, 0.001, 0.01, 10.0])):
            try:
                async with self.client.permit(scope, cost=cost, timeout=timeout) as permit:
                    admission = Admission(before, system_clock(), cost)
                    if self.random.random() < 0.5:
                        # Neither forgotten nor handed over: the block would report by itself.
                        self.use(scope, admission, permit, least=0.1)
                        return
                    self.admitted(scope, admission)
                    try:
                        await anyio.sleep(self.random.choice([0.0, 0.0005]))
                    finally:
                        # Cancelled or not: the block reports.
                        self.hold(scope, admission)
                        self.log.seen["neutral"] += 1
                        permit.record(error=GeneratorExit())
            except PermitDenied as refusal:
                self.denied(scope, before, refusal.reason, refusal.retry_after)
        await anyio.lowlevel.checkpoint()

    def admitted(self, scope: str, admission: Admission) -> None:
        self.log.seen["granted"] += 1
        self.log.admitted[scope].append(admission)

    def hold(self, scope: str, admission: Admission) -> None:
        """The permit was out from after the answer until now, at least."""
        self.log.held[scope].append(Span(admission.after, system_clock()))

    def use(self, scope: str, admission: Admission, permit: Permit, *, least: float = 0.0) -> None:
        plain = not isinstance(permit, HeldPermit)
        self.log.seen["granted ahead"] += isinstance(permit, LeasedPermit | LeasedHeldPermit)
        chance = self.random.uniform(least, 1)
        if chance < 0.03:
            # Never sent: for the limits it is as if it had never been, so it is no admission.
            self.log.seen["granted"] += 1
            self.log.seen["neutral"] += 1
            self.hold(scope, admission)
            permit.give_back()
            return
        self.admitted(scope, admission)
        if chance < 0.05:
            # Forgotten. A permit that a limit waits for reports by itself as soon as it is.
            self.hold(scope, admission)
            self.log.seen["leaked" if plain else "neutral"] += 1
            if plain:
                self.leaked.append(permit)
        elif chance < 0.1:
            self.run.handed_over.append(permit)
            self.hold(scope, admission)
            self.log.seen["2xx"] += 1
        elif self.random.random() < self.run.trouble:
            with suppress(ConnectionResetError), permit:
                self.hold(scope, admission)
                self.log.seen["failures"] += 1
                raise ConnectionResetError
        else:
            self.hold(scope, admission)
            status = 503 if self.random.random() < self.run.trouble else self.random.choice([200] * 9 + [404, 429, None])
            self.log.seen["others" if status is None else f"{status // 100}xx"] += 1
            permit.record(status=status)

    def denied(self, scope: str, before: int, reason: Reason, retry_after: float | None) -> None:
        after = system_clock()
        self.log.denied[reason] += 1
        if reason is Reason.SHUTTING_DOWN:
            raise Closed
        wait = round((retry_after or 0) * 1_000_000)
        if wait <= COOLING:
            if reason is Reason.CIRCUIT_OPEN:
                self.log.closed[scope].append(Span(after, before + wait))
            elif reason is Reason.DEGRADED:
                self.log.paused.append(Span(after, before + wait))
        if self.random.random() < 0.3:
            self.streak = iter(())


def live_as_thread(run: Run, governor: Governor, seed: int) -> None:
    """Until the end, or until an early death that leaves permits unreported."""
    caller = Caller(run, governor, seed)
    try:
        while not run.stop.is_set() or run.closes_early:
            caller.step()
            if caller.random.random() < 0.0002:
                run.deaths += 1
                return
    except Closed:
        pass
    except BaseException as error:
        run.errors.append(error)


async def live_as_task(run: Run, governor: Governor, seed: int) -> None:
    caller = Caller(run, governor, seed)
    try:
        while not run.stop.is_set() or run.closes_early:
            await caller.astep()
    except Closed:
        pass
    except Exception as error:
        run.errors.append(error)


def live_as_loop(run: Run, governor: Governor, seed: int, backend: tuple[str, dict[str, object]]) -> None:
    """An event loop with tasks, which ends, with all of them at work or waiting, and begins again."""
    random = Random(seed)

    async def tasks() -> None:
        with anyio.move_on_after(random.uniform(0.05, 0.4)):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(live_as_task, run, governor, random.getrandbits(32))

    try:
        while not run.stop.is_set():
            anyio.run(tasks, backend=backend[0], backend_options=backend[1])
            run.deaths += 1
    except BaseException as error:
        run.errors.append(error)


def report_for_others(run: Run) -> None:
    """Until the end, and then what is left."""
    while not run.stop.is_set() or run.handed_over:
        try:
            permit = run.handed_over.popleft()
        except IndexError:
            sleep(0.001)
        else:
            permit.record(status=200)


def watch(run: Run, governor: Governor) -> None:
    """Whenever one looks, the figures must make sense; and now and then the governor's loop stands still."""
    random = Random(run.seconds)
    try:
        while not run.stop.is_set():
            check_figures(run, governor)
            if governor._access.portal is not None and random.random() < 0.02:
                governor._access.portal.post(partial(sleep, random.random() / 30))
            sleep(random.random() / 200)
    except UsageError as mistake:
        if "closed" not in str(mistake):
            run.errors.append(mistake)
    except BaseException as error:
        run.errors.append(error)


def check_figures(run: Run, governor: Governor) -> None:
    now = governor.statistics()
    assert now.requests_last_minute <= run.cap, now
    for name, scope in now.scopes.items():
        assert _ended(scope.counters) <= scope.counters.requests, (name, scope)
        for limit in scope.limits:
            assert 0 <= limit.available <= limit.capacity, (name, scope)


def _ended(counters: object) -> int:
    names = ("answered_2xx", "answered_4xx", "answered_5xx", "failures", "neutral", "others")
    return sum(getattr(counters, name) for name in names)


@contextmanager
def running(home: str, config: Config) -> Iterator[Governor]:
    """A governor on a thread of its own, or embedded in an event loop of the caller's."""
    if home == "background":
        with Governor(config) as governor:
            yield governor
        return
    backend, options = HOMES[home]
    with (
        anyio.from_thread.start_blocking_portal(backend, options) as portal,
        portal.wrap_async_context_manager(Governor(config)) as governor,
    ):
        yield governor


def crowd(run: Run, governor: Governor, home: str) -> list[Thread]:
    """All callers but the threads that are replaced when they die."""
    loops = [HOMES["uvloop" if home == "uvloop" else "asyncio"], HOMES["trio"]]
    works: list[tuple[str, Callable[[], None]]] = [
        *((f"loop{n}", partial(live_as_loop, run, governor, run.random.getrandbits(32), loop)) for n, loop in enumerate(loops)),
        ("reporter", partial(report_for_others, run)),
        ("watcher", partial(watch, run, governor)),
    ]
    return [start(name, work) for name, work in works]


def start(name: str, work: Callable[[], None]) -> Thread:
    thread = Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def stress(run: Run, home: str) -> None:
    """The whole run; raises what went wrong."""
    with running(home, run.config) as governor:
        others = crowd(run, governor, home)

        def born() -> Thread:
            return start("thread", partial(live_as_thread, run, governor, run.random.getrandbits(32)))

        threads = [born() for _ in range(THREADS)]
        end = monotonic() + run.seconds * (run.random.random() if run.closes_early else 1)
        while monotonic() < end and not run.errors:
            threads = [thread if thread.is_alive() else born() for thread in threads]
            sleep(0.01)
        if not run.closes_early:
            run.stop.set()
            see_off([*threads, *others])
            report_for_others(run)
            check_accounts(run, governor)
    run.closed_at = system_clock()
    run.stop.set()
    see_off([*threads, *others])
    for error in run.errors:
        raise error
    check_laws(run)


def see_off(threads: list[Thread]) -> None:
    """Every caller comes to an end."""
    deadline = monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    left = [thread.name for thread in threads if thread.is_alive()]
    if left:
        faulthandler.dump_traceback()
    assert not left, f"never answered: {left}"


def check_accounts(run: Run, governor: Governor) -> None:
    """All callers have ended: the counters equal what they have seen, and every lease has been recalled."""
    gc.collect()
    deadline = monotonic() + PATIENCE
    while True:
        now = governor.statistics()
        at_rest = all(scope.leased == scope.waiting == 0 for scope in now.scopes.values())
        full = all(one.available == one.capacity for scope in now.scopes.values() for one in scope.limits)
        if (at_rest and full) or monotonic() > deadline:
            break
        sleep(0.005)
    assert at_rest, now
    assert full, now
    counters = now.counters
    denied: Counter[Reason] = sum((log.denied for log in run.logs), Counter())
    never_seen = counters.requests - run.seen("granted")
    expected = {
        "2xx": counters.answered_2xx,
        "4xx": counters.answered_4xx,
        "5xx": counters.answered_5xx,
        "failures": counters.failures,
        "others": counters.others,
        # Granted to a call in the moment in which it was cancelled or gave up.
        "neutral": counters.neutral - never_seen,
        "leaked": counters.requests - _ended(counters),
    }
    assert {what: run.seen(what) for what in expected} == expected, (expected, never_seen)
    assert never_seen >= 0, now
    for reason, count in denied.items():
        if reason is not Reason.OVERLOADED:
            assert counters.denied[reason] >= count, (reason, count, now)
    supervisor = governor._access.backend
    assert isinstance(supervisor, Supervisor)
    assert supervisor.cap.leased == 0


def check_laws(run: Run) -> None:
    everything: list[Admission] = []
    for scope in SCOPES:
        admitted = [one for log in run.logs for one in log.admitted[scope]]
        everything += admitted
        closed = [span for log in run.logs for span in (*log.closed[scope], *(log.paused if scope != "vital" else ()))]
        wrong = admitted_while_closed(admitted, closed)
        assert not wrong, (scope, "admitted while closed", wrong)
        for limit in run.config.for_scope(scope).limits:
            match limit:
                case TokenBucket():
                    if sum(one.cost for one in admitted) <= limit.burst:
                        continue
                    excess = excess_over_bucket(admitted, amount=limit.amount, per=limit.per, burst=limit.burst)
                    assert excess <= 0, (scope, limit, excess)
                case StrictWindow():
                    most = most_in_window(admitted, limit.per)
                    assert most <= limit.amount, (scope, limit, most)
                case InFlight():
                    held = [span for log in run.logs for span in log.held[scope]]
                    assert most_at_once(held) <= limit.amount, (scope, limit, most_at_once(held))
                case _:
                    raise AssertionError(limit)
    if run.closes_early:
        late = [one for one in everything if one.before > run.closed_at]
        assert not late, ("admitted after the end", late)
    assert sum(one.cost for one in everything) <= run.cap, ("the global cap", run.cap)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.program", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--home", choices=["background", *HOMES], action="append")
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval())
    asked = parser.parse_args()
    sys.setswitchinterval(asked.switch_interval)
    faulthandler.dump_traceback_later(asked.runs * (asked.seconds + 2 * PATIENCE), exit=True)
    first = Random().getrandbits(32) if asked.seed is None else asked.seed
    homes = asked.home or ["background", *HOMES]
    totals: Counter[str] = Counter()
    for number in range(asked.runs):
        run = Run(first + number, asked.seconds)
        home = homes[number % len(homes)]
        try:
            stress(run, home)
        except BaseException:
            sys.stderr.write(f"run {number} with --seed {first + number} --home {home} failed\n")
            raise
        totals += sum((log.seen for log in run.logs), Counter[str]())
        totals["denied"] += sum(sum(log.denied.values()) for log in run.logs)
        totals["deaths"] += run.deaths
        totals["closed in the middle"] += run.closes_early
    sys.stdout.write(f"{asked.runs} runs: " + ", ".join(f"{what} {count}" for what, count in sorted(totals.items())) + "\n")


if __name__ == "__main__":
    main()
