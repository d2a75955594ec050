"""What a scope at rest holds: nothing that it does not need yet."""

import asyncio
import gc
import tracemalloc
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from functools import partial
from operator import is_
from pathlib import Path
from weakref import ref

import anyio
import pytest

from governor import Config, Governor
from governor._supervisor import Supervisor
from tests.support.answers import granted
from tests.support.governors import in_virtual_time as governed
from tests.support.governors import supervisor_of

pytestmark = pytest.mark.anyio

SCOPES = 200
#: Bytes for each scope with a provider of its own. On CPython 3.11 it is 6,100.
MAX_BYTES = 7_000
MADE_WHEN_NEEDED = (deque, OrderedDict, set, asyncio.Event, asyncio.Task, anyio.Event, anyio.CancelScope)


def objects() -> Counter[type]:
    """How many there are of what is to be made only when it is needed."""
    gc.collect()
    return Counter(type(one) for one in gc.get_objects() if type(one) in MADE_WHEN_NEEDED)


async def test_a_scope_that_was_touched_once_has_no_queue_no_set_no_event_and_no_task() -> None:
    async with governed("9/s burst 9", max_scopes=1_000, requests_per_minute=100_000) as governor:
        for number in range(10):  # What all scopes share is there afterwards.
            granted(governor.try_permit(f"first{number}")).record(status=200)
        await anyio.wait_all_tasks_blocked()
        before = objects()
        tracemalloc.start()
        for number in range(SCOPES):
            granted(governor.try_permit(f"weather{number}")).record(status=200)
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        made = objects() - before

    assert Counter() == made
    assert taken / SCOPES < MAX_BYTES


async def test_a_governor_that_has_been_closed_is_collected(tmp_path: Path) -> None:
    """Also where calls have waited for a shared limit, a hook knows the governor, or its state is kept."""
    limits = {"provider": {"acme": {"limits": ["1 in flight"]}}}
    kept = limits | {"machine": {"state": str(tmp_path)}}
    left = [await closed(settings) for settings in ({}, limits, kept)]
    gc.collect()

    assert [None] * 3 == [one() for one in left]


async def closed(settings: Mapping[str, object]) -> ref[Supervisor]:
    governor = Governor(Config.from_mapping(settings))
    governor.add_hook(partial(is_, governor))
    async with governor, anyio.create_task_group() as tasks:
        permit = granted(governor.try_permit("acme", "GET"))
        tasks.start_soon(waits, governor)
        await anyio.wait_all_tasks_blocked()
        permit.record(status=200)
    return ref(supervisor_of(governor))


async def waits(governor: Governor) -> None:
    async with governor.permit("acme", "POST"):
        pass
