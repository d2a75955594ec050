"""The catalogue: whatever is in it can be measured."""

import gc
from collections.abc import Iterator
from shutil import which

import pytest

from benchmarks.catalogue import CONTENDERS
from benchmarks.contention import exactness, idle
from benchmarks.contention.subject import Law
from benchmarks.contract import Contender, Family
from benchmarks.inbound import served
from benchmarks.outbound import pool
from benchmarks.processes import crew, holders
from benchmarks.targets import TARGETS
from benchmarks.worker import measure

#: So little that every workload does all that it does, and no figure means anything. Where it is milliseconds, they are few.
TINY = {
    Family.PAIRS: 100,
    Family.WAITING: 1,
    Family.MEMORY: 10,
    Family.STARTUP: 1,
    Family.CLIENTS: 1000,
    Family.SERVED: 20,
    Family.POOL: 1,
}


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Iterator[None]:
    """What takes its time whatever the size does not do so here, such as a look for garbage at what other tests have left."""
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactness, "_ASKING", 10)
        patch.setattr(exactness, "_SILENCE", dict.fromkeys(Law, 0))
        patch.setattr(idle, "_SETTLING", 0.01)
        patch.setattr(served, "_TURNS", 1)
        patch.setattr(crew, "PROCESSES", 1)
        patch.setattr(holders, "_SETTLING", 0.01)
        patch.setattr(holders, "_COUNTED", 0.01)
        patch.setattr(pool, "COUNTS", (1, 2))
        yield


def aimed_at(name: str) -> set[str]:
    """The metrics of a contender that targets are about."""
    own = {target.metric for target in TARGETS if target.contender == name}
    return own | {target.base_metric or target.metric for target in TARGETS if (target.base or target.contender) == name}


# pyrate-limiter starts a thread that asserts that its limiter has a bucket; on a busy machine that has been closed by then.
@pytest.mark.filterwarnings("ignore:Exception in thread PyrateLimiter:pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_every_workload_runs_and_measures_what_targets_are_about(contender: Contender) -> None:
    """What is resident may shrink meanwhile, in a process as large as this one, and a difference of times may be negative."""
    if contender.needs and not which(contender.needs):
        pytest.skip(f"{contender.needs} is not installed")
    found = measure(contender, TINY.get(contender.family, 10))

    assert [] == [metric for metric, value in found.items() if not value >= 0 and metric not in ("resident_bytes", "extra_ms")]
    assert aimed_at(contender.name) <= found.keys()


def test_every_target_is_about_contenders_there_are() -> None:
    assert {name for one in TARGETS for name in (one.contender, one.base) if name} <= {one.name for one in CONTENDERS}
