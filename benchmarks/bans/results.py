"""The figures of a whole benchmark: looked up by scenario and contender, and kept as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.bans.contract import Scenario
from benchmarks.bans.measures import Measures
from benchmarks.bans.oracle import NAME as ORACLE


class Results(msgspec.Struct, frozen=True):
    """All measures, the cost of reading hints in microseconds, and the scenarios that could not run, with the reason."""

    measures: list[Measures]
    reading: dict[str, float]
    skipped: dict[str, str]

    def runs(self, contender: str, scenarios: Iterable[Scenario]) -> Iterator[tuple[Measures, Measures]]:
        """The runs of a contender in these scenarios, each with the oracle's of the same seed."""
        names = {scenario.name for scenario in scenarios}
        oracles = {(one.scenario, one.seed): one for one in self.measures if one.contender == ORACLE}
        for one in self.measures:
            if one.contender == contender and one.scenario in names:
                yield one, oracles[one.scenario, one.seed]

    def first(self, contender: str, scenario: str) -> Measures | None:
        """The run of a contender with the first seed; None if there is none."""
        return next((one for one in self.measures if (one.contender, one.scenario) == (contender, scenario)), None)


def merged(new: Results, old: Results, contenders: Sequence[str]) -> Results:
    """The new figures of these contenders and of the oracle, with the old ones of all others."""
    kept = [one for one in old.measures if one.contender != ORACLE and one.contender not in contenders]
    return Results([*new.measures, *kept], new.reading, new.skipped)


def write(results: Results, path: Path) -> None:
    """Writes JSON, a run to a line, so that versions can be compared."""
    head, *rest = msgspec.json.encode(results).split(b'{"scenario":')
    path.write_bytes(head + b"".join(b'\n{"scenario":' + one for one in rest) + b"\n")


def read(path: Path) -> Results:
    """The figures in a file."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
