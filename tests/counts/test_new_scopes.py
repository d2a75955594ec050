"""A new scope takes no more Python calls, memory and objects for the collector than the table allows."""

import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from governor import Config, Governor, Permit, _build
from tests.counts.allowed import NEW_SCOPE, compare, counts_bytes
from tests.support.counting import TRIES, calls_in, no_labels

pytestmark = pytest.mark.filterwarnings("default::tests.counts.allowed.CanBeLowered")

#: Enough that tables, which grow by leaps, count little.
SCOPES = 400


@asynccontextmanager
async def plenty() -> AsyncIterator[Governor]:
    settings = {
        "global": {"requests_per_minute": 1_000_000_000},
        "outbound": {"default": {"limits": ["1000000/s burst 1000000"]}},
    }
    with no_labels():
        async with Governor(Config.from_mapping(settings)) as governor:
            touch(governor, "first")
            yield governor


def touch(governor: Governor, provider: str) -> None:
    permit = governor.try_permit(provider, "GET")
    assert isinstance(permit, Permit)
    permit.record(status=200)


@pytest.mark.anyio
async def test_the_first_permit_of_a_scope_takes_no_more_calls_than_allowed() -> None:
    async with plenty() as governor:
        called = min((calls_in(partial(touch, governor, f"scope{turn}"), "governor") for turn in range(TRIES)), key=len)

    compare("a new scope", "Python calls", NEW_SCOPE["calls"], len(called), called)


@pytest.mark.anyio
async def test_a_scope_at_rest_takes_no_more_memory_and_objects_than_allowed() -> None:
    async with plenty() as governor:
        gc.collect()
        before = len(gc.get_objects())
        tracemalloc.start()
        try:
            for number in range(SCOPES):
                touch(governor, f"scope{number}")
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        objects = len(gc.get_objects()) - before

    compare("a scope at rest", "objects", NEW_SCOPE["objects"], objects // SCOPES)
    if counts_bytes():
        # In hundreds: tables of all scopes have a share in it. Fields in C are numbers beside their objects.
        allowed = NEW_SCOPE["bytes"] + (100 if _build.is_compiled() else 0)
        compare("a scope at rest", "bytes", allowed, taken // SCOPES // 100 * 100)
