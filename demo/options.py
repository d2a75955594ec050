"""The command line of the demo."""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from demo.rules import Rules
from demo.trace import read_trace
from demo.traffic import bursts
from governor._units import MILLISECOND, SECOND, Duration, describe_duration, from_seconds
from governor.config import describe, parse_limit
from governor.errors import ConfigError
from governor.policies.contract import REQUESTS
from governor.policies.windows.parameters import StrictWindow

_READS: Final = StrictWindow(40, Duration(2 * SECOND))
_WRITES: Final = StrictWindow(10, Duration(2 * SECOND))
#: What a limit may be: beyond this it limits nothing that this demo can send.
_MAX_AMOUNT: Final = 10_000
_SHORTEST: Final = Duration(100 * MILLISECOND)
#: The spell of 503s begins and ends after so many ninths of a run.
_OUTAGE: Final = (4, 5)

_DESCRIPTION: Final = (
    "The same traffic three times, over real sockets, against a provider that bans clients that continue after 429: without a "
    "governor, with one that knows the limits, and with one that only reads what answers say. Exit status: 0 if the client "
    "that knows the limits was not denied once, 1 if it was denied or banned, 2 for a mistake in what was typed or in "
    "the trace."
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One demo. `duration` is that of each run in seconds; arrivals follow each other `speed` times as fast as recorded."""

    trace: Path | None = None
    speed: float = 3.0
    seed: int = 1
    duration: float = 18.0
    reads: StrictWindow = _READS
    writes: StrictWindow = _WRITES

    def arrivals(self) -> Iterator[float]:
        """Seconds between the first arrival and each: recorded ones if there is a trace."""
        return bursts(self.seed) if self.trace is None else read_trace(self.trace)

    def source(self) -> str:
        """Where the arrivals come from, in words."""
        origin = f"seed {self.seed}" if self.trace is None else self.trace.name
        return f"{origin}, {self.speed:g} times as fast"

    def rules(self) -> Rules:
        """The rules of the provider for such a run."""
        begins, ends = (from_seconds(self.duration * ninths / 9, field="--duration") for ninths in _OUTAGE)
        return Rules(reads=self.reads, writes=self.writes, outage_from=begins, outage_until=ends)


def parse(arguments: Sequence[str]) -> Options:
    """Reads the command line. Raises `ConfigError` for a value that cannot be; argparse ends the program for anything else."""
    said = _parser().parse_args(arguments)
    return Options(
        trace=said.trace,
        speed=_number("--speed", said.speed, least=0.01, most=10_000.0),
        seed=said.seed,
        duration=_number("--duration", said.duration, least=3.0, most=600.0),
        reads=_strict("--limit", said.limit),
        writes=_strict("--write-limit", said.write_limit),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=_DESCRIPTION)
    add = parser.add_argument
    add("--trace", type=Path, metavar="FILE", help="arrivals: CSV with a TIMESTAMP column, or JSON lines with timestamp in ms")
    add("--speed", type=float, default=3.0, metavar="X", help="how many times as fast as they were recorded (default: 3)")
    add("--seed", type=int, default=1, metavar="N", help="for the mix of calls, and for arrivals without a trace (default: 1)")
    add("--duration", type=float, default=18.0, metavar="S", help="seconds that each of the three runs takes (default: 18)")
    reads, writes = describe(_READS), describe(_WRITES)
    add("--limit", default=reads, metavar="TEXT", help=f"the provider's limit for reads (default: {reads!r})")
    add("--write-limit", default=writes, metavar="TEXT", help=f"and the one for writes (default: {writes!r})")
    return parser


def _number(option: str, value: float, *, least: float, most: float) -> float:
    if not math.isfinite(value) or not least <= value <= most:
        raise ConfigError(option, value, f"a number from {least:g} to {most:g}")
    return value


def _strict(option: str, text: str) -> StrictWindow:
    limit = parse_limit(text, field=option)
    if not isinstance(limit, StrictWindow) or limit.unit != REQUESTS:
        raise ConfigError(option, text, f"a strict limit on requests, for instance {describe(_READS)!r}")
    if limit.amount > _MAX_AMOUNT or limit.per < _SHORTEST:
        raise ConfigError(option, text, f"at most {_MAX_AMOUNT} requests, in at least {describe_duration(_SHORTEST)}")
    return limit
