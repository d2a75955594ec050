"""Time of the status of 1,000 scopes, and of decisions while it is polled 10 times a second.

The daemon and those who ask for permits share one event loop; the poller is another process. A task asks 500 times a second for
a permit and reports its outcome, each time in another scope. Its latency is counted from the instant at which it should have
asked: what holds the loop up counts, and so does the lateness of the loop's own timers, which the control shows alone.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Mapping
from time import monotonic_ns
from typing import Final

import anyio
import anyio.to_thread

from benchmarks.measure import BURST, CAP, RATE, check_count, percentile
from benchmarks.watching.poller import EVERY
from governor import Config, Governor, Permit, TokenBucket
from governor._units import SECOND

#: The metrics: milliseconds for an answer, and microseconds for a decision.
STATUS_P50, STATUS_P99 = "status_p50_ms", "status_p99_ms"
DECISION_P50, DECISION_P99 = "decision_p50_us", "decision_p99_us"

SCOPES: Final = 1_000
_CONFIG: Final = Config.from_mapping(
    {"global": {"requests_per_minute": CAP}, "outbound": {"default": {"limits": [TokenBucket(RATE, SECOND, BURST)]}}}
)
_TICK_NS: Final = 2_000_000


def watched(size: int) -> Mapping[str, float]:
    """`size` milliseconds with a poller."""
    return anyio.run(_watched, size)


def unwatched(size: int) -> Mapping[str, float]:
    """The same without one, and without a daemon."""
    return anyio.run(_unwatched, size)


async def _watched(size: int) -> Mapping[str, float]:
    import uvicorn

    from governor.daemon import create_app
    from governor.daemon.serve import listen

    with listen("127.0.0.1", 0) as listener:
        async with Governor(_CONFIG) as governor, anyio.create_task_group() as tasks:
            _use_all_scopes(governor)
            server = uvicorn.Server(uvicorn.Config(create_app(governor), log_config=None, access_log=False))
            tasks.start_soon(server.serve, [listener])
            # The first answer takes longer: modules are loaded, and schemas compiled.
            await _poll(listener.getsockname(), 1, [])
            polled: list[float] = []
            async with anyio.create_task_group() as measured:
                measured.start_soon(_poll, listener.getsockname(), max(1, round(size / 1_000 / EVERY)), polled)
                decisions = await _decide(governor, size)
            server.should_exit = True
    return {**decisions, STATUS_P50: percentile(polled, 0.5), STATUS_P99: percentile(polled, 0.99)}


async def _unwatched(size: int) -> Mapping[str, float]:
    async with Governor(_CONFIG) as governor:
        _use_all_scopes(governor)
        return await _decide(governor, size)


def _use_all_scopes(governor: Governor) -> None:
    granted = 0
    for number in range(SCOPES):
        permit = governor.try_permit(f"scope{number}", "get")
        if isinstance(permit, Permit):
            permit.record(status=200)
            granted += 1
    check_count(granted, SCOPES)
    # As in a program that has run for a while: the first look at everything there is belongs to the start.
    gc.collect()


async def _poll(address: tuple[str, int], times: int, polled: list[float]) -> None:
    host, port = address
    command = [
        sys.executable,
        "-m",
        "benchmarks.watching.poller",
        host,
        str(port),
        "/api/v1/traffic-control/status",
        str(times),
    ]
    run = await anyio.run_process(command, stderr=None, start_new_session=True)
    assert isinstance(run, subprocess.CompletedProcess)
    polled.extend(json.loads(run.stdout))


async def _decide(governor: Governor, size: int) -> Mapping[str, float]:
    """Asks on a schedule, and catches up at once when late."""
    taken: list[float] = []
    granted = 0
    start = monotonic_ns()
    asks = max(1, size * 1_000_000 // _TICK_NS)
    for number in range(asks):
        due = start + number * _TICK_NS
        if (early := due - monotonic_ns()) > 0:
            await anyio.sleep(early / 1e9)
        permit = governor.try_permit(f"scope{number % SCOPES}", "get")
        if isinstance(permit, Permit):
            permit.record(status=200)
            granted += 1
        taken.append((monotonic_ns() - due) / 1_000)
    check_count(granted, asks)
    return {DECISION_P50: percentile(taken, 0.5), DECISION_P99: percentile(taken, 0.99)}
