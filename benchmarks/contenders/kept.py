"""The cost of state that survives: of a governed call while it is kept, and of a start that finds 10,000 scopes."""

import asyncio
import tempfile
from collections.abc import Mapping
from time import perf_counter
from typing import Final

from benchmarks.contenders.ours import WIDE_OPEN
from benchmarks.measure import time_pairs_on_loop
from governor import Config, Governor, Permit

#: The metric of a start, in seconds: opening the folder, and granting the first call.
RECOVERY_S: Final = "recovery_s"
_BATCH: Final = 100


def try_permit(size: int) -> Mapping[str, float]:
    """As the governor without state; a call that is denied because a record is being written is made again."""

    async def timed() -> Mapping[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            async with Governor(Config.from_mapping(WIDE_OPEN | {"machine": {"state": folder}})) as governor:
                return await time_pairs_on_loop(lambda count: _pairs(governor, count), size)

    return asyncio.run(timed())


async def _pairs(governor: Governor, count: int) -> int:
    granted = 0
    while granted < count:
        permit = governor.try_permit("bench", "GET")
        if isinstance(permit, Permit):
            permit.record(status=200)
            granted += 1
        else:
            await asyncio.sleep(0.001)
    return granted


def recovery(size: int) -> Mapping[str, float]:
    """The start of a governor whose folder has `size` scopes."""
    with tempfile.TemporaryDirectory() as folder:
        limits = ["60 per hour strict", "10/s burst 100"]
        settings = WIDE_OPEN | {"outbound": {"default": {"limits": limits}}, "machine": {"state": folder}}
        config = Config.from_mapping(settings)
        asyncio.run(_fill(config, size))
        return asyncio.run(_started(config))


async def _fill(config: Config, scopes: int) -> None:
    async with Governor(config) as governor:
        for first in range(0, scopes, _BATCH):
            calls = [governor.acquire("bench", f"m{number}", timeout=60.0) for number in range(first, first + _BATCH)]
            for permit in await asyncio.gather(*calls):
                permit.record(status=200)


async def _started(config: Config) -> Mapping[str, float]:
    began = perf_counter()
    async with Governor(config) as governor:
        (await governor.acquire("bench", "m0", timeout=60.0)).record(status=200)
        return {RECOVERY_S: perf_counter() - began}
