"""A daemon shows the processes that share its limits, and an operator acts on all of them at once."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor import Config, Denied, Governor, Permit, Reason
from tests.integration.daemon.daemon import Daemon, Start
from tests.integration.daemon.test_ctl import TOKEN, ctl
from tests.support.waits import until

pytestmark = pytest.mark.promise("R65")


@pytest.fixture
def address() -> Iterator[Path]:
    """A path for a socket, which is short enough wherever temporary folders are."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "governor.sock"


def test_one_place_shows_and_stops_what_processes_do(start: Start, address: Path) -> None:
    daemon = start("--admin-token", TOKEN, "--socket", str(address))
    config = Config.from_mapping({"machine": {"socket": str(address), "name": "worker"}})

    with Governor(config) as one, Governor(config) as other:
        granted = [member.try_permit("weather", "GET") for member in (one, other)]
        for permit in granted:
            assert isinstance(permit, Permit)
            permit.record(status=200)
        until(lambda: _metric(daemon, "governor_outcomes_total", "2xx") == 2)
        assert 2 == _metric(daemon, "governor_machine_processes")
        assert [("worker", os.getpid())] * 2 == [
            (member["name"], member["pid"]) for member in daemon.status()["global"]["members"]
        ]

        assert 0 == ctl(daemon, "close", "weather")[0]

        denials = [member.try_permit("weather", "GET") for member in (one, other)]
        assert [Reason.CIRCUIT_OPEN] * 2 == [one.reason for one in denials if isinstance(one, Denied)]
        assert 0 == ctl(daemon, "open", "weather")[0]
        assert isinstance(other.try_permit("weather", "GET"), Permit)

    until(lambda: _metric(daemon, "governor_machine_processes") == 0)


def _metric(daemon: Daemon, name: str, label: str = "") -> float:
    """The sum of the samples of a metric whose labels hold this."""
    lines = daemon.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and label in line)
