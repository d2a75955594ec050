"""Results of all repetitions: summaries, and ratios between contenders."""

from collections.abc import Sequence
from statistics import median

import msgspec

from benchmarks.contract import Sample
from benchmarks.machine import Machine


class Spread(msgspec.Struct, frozen=True):
    """The middle, the smallest and the largest of several repetitions."""

    median: float
    least: float
    most: float


class Results(msgspec.Struct, frozen=True):
    """All samples of one invocation, and where they were taken."""

    machine: Machine
    samples: tuple[Sample, ...]

    def spread(self, contender: str, metric: str) -> Spread | None:
        """None if it was not measured."""
        return _spread([value for _, value in self._rounds(contender, metric)])

    def ratio(self, contender: str, base: str, metric: str, base_metric: str | None = None) -> Spread | None:
        """How many times `base`, or another figure of it: each round gives one ratio, of two taken shortly after each other."""
        below = dict(self._rounds(base, base_metric or metric))
        return _spread([value / below[number] for number, value in self._rounds(contender, metric) if below.get(number)])

    def rounds(self, contender: str) -> int:
        """How many repetitions there were."""
        return sum(sample.contender == contender for sample in self.samples)

    def _rounds(self, contender: str, metric: str) -> list[tuple[int, float]]:
        return [
            (sample.round, sample.values[metric])
            for sample in self.samples
            if sample.contender == contender and metric in sample.values
        ]


def json_lines(results: Results) -> bytes:
    """The machine first, then a line for each sample."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in (results.machine, *results.samples))


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None
