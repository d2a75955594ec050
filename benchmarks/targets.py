"""What was promised, and was it kept?"""

from typing import Final

import msgspec

from benchmarks.contract import PAIR_US
from benchmarks.results import Results, Spread


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """`metric` of `contender`, or its ratio to `base`, is at most `most`."""

    title: str
    contender: str
    metric: str
    most: float
    unit: str
    base: str | None = None

    def measured(self, results: Results) -> Spread | None:
        """None if one of the two did not run."""
        if self.base is None:
            return results.spread(self.contender, self.metric)
        return results.ratio(self.contender, self.base, self.metric)


TARGETS: Final = (
    Target(
        title="`try_permit` + `record`, to one `acquire` of the textbook",
        contender="try-permit",
        base="textbook",
        metric=PAIR_US,
        most=3.3,
        unit="times",
    ),
    Target(
        title="`async with permit`, to `try_permit` + `record`",
        contender="async-with",
        base="try-permit",
        metric=PAIR_US,
        most=2.0,
        unit="times",
    ),
    Target(title="lateness of a permit that had to wait, p99", contender="waiting", metric="p99_ms", most=2.0, unit="ms"),
    Target(
        title="what `import governor` adds to an empty program", contender="startup", metric="extra_ms", most=100.0, unit="ms"
    ),
)
