"""The catalogue: whatever is in it can be measured."""

from collections.abc import Iterator, Mapping
from functools import cache
from shutil import which

import pytest

from benchmarks.catalogue import CONTENDERS
from benchmarks.contention import exactness, idle
from benchmarks.contention.subject import Law
from benchmarks.contract import Contender, Family
from benchmarks.inbound import served
from benchmarks.processes import crew
from benchmarks.targets import TARGETS, Target
from benchmarks.worker import measure

#: So little that every workload does all that it does, and no figure means anything. Where it is milliseconds, they are few.
TINY = {
    Family.PAIRS: 100,
    Family.WAITING: 1,
    Family.MEMORY: 10,
    Family.STARTUP: 1,
    Family.CLIENTS: 1000,
    Family.SERVED: 200,
    Family.POOL: 1,
}


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Iterator[None]:
    """What takes its time whatever the size does not do so here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactness, "_ASKING", 10)
        patch.setattr(exactness, "_SILENCE", dict.fromkeys(Law, 0))
        patch.setattr(idle, "_SETTLING", 0.01)
        patch.setattr(served, "_TURNS", 1)
        patch.setattr(crew, "PROCESSES", 1)
        yield


@cache
def figures(name: str) -> Mapping[str, float]:
    contender = next(contender for contender in CONTENDERS if contender.name == name)
    if contender.needs and not which(contender.needs):
        pytest.skip(f"{contender.needs} is not installed")
    return measure(contender, TINY.get(contender.family, 10))


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_every_workload_runs(contender: Contender) -> None:
    """What is resident may shrink meanwhile, in a process as large as this one."""
    found = {metric: value for metric, value in figures(contender.name).items() if metric != "resident_bytes"}

    assert [] == [metric for metric, value in found.items() if not value >= 0]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.title)
def test_every_target_is_about_something_that_is_measured(target: Target) -> None:
    base = target.base or target.contender

    assert target.metric in figures(target.contender)
    assert (target.base_metric or target.metric) in figures(base)
