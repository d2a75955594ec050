"""The governor of a machine, in a process of its own."""

from collections.abc import Callable, Iterator, Mapping
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

#: Calls in flight where most have to wait: a quarter of those that are made.
_PLACES: Final = 8


@contextmanager
def _serve(folder: Path, limit: Limit) -> Iterator[str]:
    with daemon(folder, _settings(f"{limit.per_second}/s burst {limit.burst}")) as socket:
        yield str(socket)


@contextmanager
def _serve_strictly(folder: Path, limit: Limit) -> Iterator[str]:
    with daemon(folder, _settings(f"{limit.burst} per minute strict")) as socket:
        yield str(socket)


@contextmanager
def _serve_places(folder: Path, limit: Limit) -> Iterator[str]:
    with daemon(folder, _settings(f"{_PLACES} in flight")) as socket:
        yield str(socket)


def _settings(limit: str) -> Mapping[str, Mapping[str, object]]:
    return {"global": {"requests_per_minute": CAP}, "outbound": {"default": {"limits": [limit]}}}


@contextmanager
def _connect(address: str, limit: Limit) -> Iterator[Callable[[str], Ask]]:
    with Governor(Config.from_mapping({"machine": {"socket": address}})) as governor:
        yield doors(GovernorClient(governor)).ask


@contextmanager
def _connect_to_wait(address: str, limit: Limit) -> Iterator[Callable[[str], Ask]]:
    with Governor(Config.from_mapping({"machine": {"socket": address}})) as governor:
        yield doors(GovernorClient(governor)).wait


STRICT: Final = SharedSubject("processes.subjects.ours:STRICT", _serve_strictly, _connect)
PLACES: Final = SharedSubject("processes.subjects.ours:PLACES", _serve_places, _connect_to_wait)
GOVERNOR: Final = SharedSubject("processes.subjects.ours:GOVERNOR", _serve, _connect)
