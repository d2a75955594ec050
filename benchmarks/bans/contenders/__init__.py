"""The clients that take part in the ban benchmark."""

from typing import Final

from benchmarks.bans.contenders.adaptive import Adaptive
from benchmarks.bans.contenders.governed import Governed
from benchmarks.bans.contenders.libraries import AiolimiterTenacity, PyrateTenacity, Stamina, Tenacity
from benchmarks.bans.contenders.naive import Naive
from benchmarks.bans.contract import Contender

#: In the order of the tables.
CONTENDERS: Final[tuple[Contender, ...]] = (
    Governed(known=True),
    Governed(known=False),
    Naive(),
    Tenacity(),
    Stamina(),
    AiolimiterTenacity(),
    PyrateTenacity(),
    Adaptive(),
)
