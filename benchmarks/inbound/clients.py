"""The cost of very many clients: memory for each, pauses for cleaning up, and what remains when they are idle.

Each client is an actor with one request. All come from one address, so that the table of clients is what grows. Memory is
measured twice, each time on a governor of its own: by the pages that the process holds (on Linux only), and by what Python
allocated.
"""

import asyncio
import sys
from collections.abc import Mapping
from time import thread_time_ns
from typing import Final

from benchmarks.contenders.memory import Meter, Resident, Traced
from benchmarks.measure import BURST, RATE, check_count
from governor import Config, Governor
from governor._actors.inbound.group import GroupActor
from governor.messages import InboundRequest
from governor.policies.clients.tables import sweeps
from governor.testing import ManualClock

#: The metrics, for one client: what they take, and what of that is left after they were quiet.
TRACED: Final = "traced_bytes"
RESIDENT: Final = "resident_bytes"
AFTER: Final = "resident_after_bytes"
#: The longest step of the clean-up, while no client can be dropped and when all can.
MAX_STEP_MS: Final = "longest_ms"

_WIDE: Final = [f"{RATE}/s burst {BURST}"]
_HOUR: Final = 3600.0
#: An hour until the bucket of a client is full again, so that no client is dropped too early.
_SLOW: Final = {"limits": ["1/hour burst 10"], "address_limits": _WIDE, "total_limits": _WIDE}


def table(size: int) -> Mapping[str, float]:
    """`size` clients."""
    figures = asyncio.run(_quieted(size)) if sys.platform == "linux" else {}
    return {TRACED: asyncio.run(_traced(size)), **figures}


async def _traced(size: int) -> float:
    async with _governor(size, ManualClock()) as governor:
        meter = Traced()
        _fill(governor, size, meter)
        return meter.grown() / size


async def _quieted(size: int) -> Mapping[str, float]:
    clock = ManualClock()
    async with _governor(size, clock) as governor:
        meter = Resident()
        group = _fill(governor, size, meter)
        full = meter.grown()
        busy = _longest_step(group)
        check_count(group.clients(), size)
        clock.advance(_HOUR)
        quiet = _longest_step(group)
        check_count(group.clients(), 0)
        return {RESIDENT: full / size, AFTER: max(0, meter.grown()) / size, MAX_STEP_MS: max(busy, quiet)}


def _governor(size: int, clock: ManualClock) -> Governor:
    # The tables are filled unevenly, and no client should be dropped for lack of room.
    return Governor(Config.from_mapping({"inbound": {"default": _SLOW, "max_clients": 2 * size + 10_000}}), clock=clock)


def _fill(governor: Governor, size: int, meter: Meter) -> GroupActor:
    group = governor.inbound._actor("default")
    assert group is not None
    address = governor.inbound.pseudonyms.address(b"198.51.100.1")
    meter.start()
    denied = 0
    for number in range(size):
        denied += group.admit(InboundRequest(governor.inbound.pseudonyms.actor(b"client%d" % number), address)) is not None
    check_count(size - denied, size)
    return group


def _longest_step(group: GroupActor) -> float:
    """Milliseconds, of one round. Of the processor: what other programs take of it is no pause of ours."""
    steps = []
    for _ in range(max(map(sweeps, group._tables.values()))):
        start = thread_time_ns()
        group._sweep()
        steps.append(thread_time_ns() - start)
    return max(steps) / 1_000_000
