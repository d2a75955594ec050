"""The figures to look at while working: `python -m benchmarks.quick`, or `make bench-quick`.

All rows share one process and take turns, some thousand calls each. A figure is processor time, the least of all turns: what
the machine does meanwhile only adds to it. The memory of a scope is measured in fresh processes. Nothing is written.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import process_time_ns
from typing import Final, NamedTuple

import msgspec

from benchmarks.catalogue import CONTENDERS
from benchmarks.contenders import lock_engine, ours, textbook
from benchmarks.machine import this_machine
from benchmarks.measure import BURST, CAP, RATE, check_count
from benchmarks.runner import measure_in_fresh_process
from governor import Config, Governor, _build
from governor_client import GovernorClient

TURNS: Final = 30
CALLS: Final = 5_000

#: Makes so many calls, and returns how many were granted.
Work = Callable[[int], Awaitable[int]]
Opens = Callable[[AsyncExitStack], Awaitable[Work]]

_PLAIN: Final = f"{RATE}/s burst {BURST}"


class Row(NamedTuple):
    """What is measured; `denied` if no call of it is granted."""

    title: str
    opens: Opens
    denied: bool = False


class Figure(NamedTuple):
    """Nanoseconds of one call, of a row."""

    title: str
    ns: float


async def _textbook(_: AsyncExitStack) -> Work:
    limiter = textbook.TextbookLimiter(RATE, BURST)

    async def work(count: int) -> int:
        return textbook.acquired(limiter, count)

    return work


async def _lock_engine(_: AsyncExitStack) -> Work:
    engine = lock_engine.wide_open()

    async def work(count: int) -> int:
        return lock_engine.checked(engine, count)

    return work


async def _governor(stack: AsyncExitStack, *limits: str) -> Governor:
    settings = {"global": {"requests_per_minute": CAP}, "outbound": {"default": {"limits": limits}}}
    return await stack.enter_async_context(Governor(Config.from_mapping(settings)))


def _on_the_loop(*limits: str) -> Opens:
    """`try_permit`, and `record` if it was granted."""

    async def opens(stack: AsyncExitStack) -> Work:
        governor = await _governor(stack, *limits)

        async def work(count: int) -> int:
            return ours.tried(governor, count)

        return work

    return opens


async def _async_with(stack: AsyncExitStack) -> Work:
    governor = await _governor(stack, _PLAIN)
    return lambda count: ours.pairs(governor, count)


async def _denied(stack: AsyncExitStack) -> Work:
    governor = await _governor(stack, "1 per day burst 1")
    stack.callback(lambda permit: None, governor.try_permit("bench", "GET"))  # Kept: a permit that is dropped is given back.
    work = await _on_the_loop("1 per day burst 1")(stack)
    await work(1)
    return work


async def _leased(stack: AsyncExitStack) -> Work:
    """From a thread beside the loop. The time of both counts."""
    client = GovernorClient(await _governor(stack, _PLAIN))
    return lambda count: asyncio.to_thread(ours.tried, client, count)


PLAIN: Final = "pair: `try_permit` + `record`"
LOCK_ENGINE: Final = "lock-based engine: `check` + `record`"
TEXTBOOK: Final = "textbook: `acquire`"

ROWS: Final = (
    Row(TEXTBOOK, _textbook),
    Row(LOCK_ENGINE, _lock_engine),
    Row(PLAIN, _on_the_loop(_PLAIN)),
    Row("`async with` + `record`", _async_with),
    Row("pair, two limits", _on_the_loop(_PLAIN, f"{BURST}/minute burst {BURST}")),
    Row("pair, strict window", _on_the_loop(f"{BURST} per minute strict")),
    Row("pair, in flight", _on_the_loop("1000 in flight")),
    Row("denied", _denied, denied=True),
    Row("pair, leased to a thread", _leased),
)

#: Contenders whose memory is measured, by their titles here.
MEMORY: Final = {
    TEXTBOOK: "memory-textbook-1000",
    LOCK_ENGINE: "memory-lock-engine-1000",
    "governor": "memory-governor-1000",
}


@asynccontextmanager
async def _opened(rows: Sequence[Row]) -> AsyncIterator[list[Work]]:
    async with AsyncExitStack() as stack:
        yield [await row.opens(stack) for row in rows]


async def measure(rows: Sequence[Row] = ROWS, *, turns: int = TURNS, calls: int = CALLS) -> list[Figure]:
    """The least time of each row. The first turn warms up, and does not count."""
    least = [float("inf")] * len(rows)
    async with _opened(rows) as works:
        for turn in range(turns + 1):
            for place, (row, work) in enumerate(zip(rows, works, strict=True)):
                began = process_time_ns()
                granted = await work(calls)
                took = (process_time_ns() - began) / calls
                check_count(granted, 0 if row.denied else calls)
                await asyncio.sleep(0)  # What was put off for later belongs to no turn.
                if turn:
                    least[place] = min(least[place], took)
    return [Figure(row.title, ns) for row, ns in zip(rows, least, strict=True)]


def memory() -> dict[str, float]:
    """Bytes that Python allocates for each of 1,000 scopes, by title."""
    found = {contender.name: contender for contender in CONTENDERS if contender.name in MEMORY.values()}
    return {title: measure_in_fresh_process(found[name], found[name].size)["traced_bytes"] for title, name in MEMORY.items()}


def table(figures: Sequence[Figure], memory: dict[str, float]) -> str:
    """The figures in columns, each beside the two baselines and the plain pair."""
    ns = dict(figures)
    lines = [
        f"{'processor time, least of all turns':40} {'ns':>8} {'of textbook':>12} {'lock engine is':>15} {'of the pair':>12}"
    ]
    lines += [
        f"{title:40} {value:8,.0f} {value / ns[TEXTBOOK]:11.2f}x {ns[LOCK_ENGINE] / value:14.2f}x {value / ns[PLAIN]:11.2f}x"
        for title, value in figures
    ]
    lines += ["", f"{'memory of a scope':40} {'bytes':>8}", *(f"{title:40} {size:8,.0f}" for title, size in memory.items())]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; with `--json` the figures alone, and which build of the governor they are of."""
    if (sys.argv[1:] if arguments is None else arguments) == ["--json"]:
        print(msgspec.json.encode({"build": _build.name(), "figures": asyncio.run(measure(turns=TURNS // 3))}).decode())
        return 0
    machine = this_machine()
    print(f"{machine.processor}, {machine.cpus} CPUs, load {machine.load}; {machine.python}", flush=True)
    print(table(asyncio.run(measure()), memory()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
