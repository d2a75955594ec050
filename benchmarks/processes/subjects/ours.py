"""The governor of a machine, in a process of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.contention.subject import Ask, Limit
from benchmarks.contention.subjects.ours import doors
from benchmarks.measure import CAP
from benchmarks.processes.subject import SharedSubject
from demo.daemon import daemon
from governor import Config, Governor
from governor_client import GovernorClient


@contextmanager
def _serve(folder: Path, limit: Limit) -> Iterator[str]:
    limits = [f"{limit.per_second}/s burst {limit.burst}"]
    with daemon(folder, {"global": {"requests_per_minute": CAP}, "outbound": {"default": {"limits": limits}}}) as socket:
        yield str(socket)


@contextmanager
def _connect(address: str, limit: Limit) -> Iterator[Callable[[str], Ask]]:
    with Governor(Config.from_mapping({"machine": {"socket": address}})) as governor:
        yield doors(GovernorClient(governor)).ask


GOVERNOR: Final = SharedSubject("processes.subjects.ours:GOVERNOR", _serve, _connect)
