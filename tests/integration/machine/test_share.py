"""Several processes share one limit, whatever becomes of them and of the daemon."""

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import pytest

from governor import Config
from governor._member.spawn import Spawner
from tests.integration.machine.machine import Machine, provider
from tests.support.waits import until

STRICT = """
[global]
requests_per_minute = "off"
[outbound.weather]
limits = ["20 per second strict"]
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def make(policy: str, **settings: str) -> Machine:
        machines.append(Machine(tmp_path, policy, **settings))
        return machines[-1]

    yield make
    for one in machines:
        one.close()


@pytest.mark.promise("R02", "R51")
def test_processes_share_a_strict_limit_although_one_is_killed_and_one_stands_still(machine: Callable[..., Machine]) -> None:
    here = machine(STRICT)
    here.daemon()
    with provider() as server:
        workers = here.workers(3, server)
        workers[0].kill()
        workers[1].send_signal(signal.SIGSTOP)
        sleep(1.5)
        workers[1].send_signal(signal.SIGCONT)
        sleep(1.0)
        answered = [int(here.ended(worker)) for worker in workers[1:]]

        assert server.most_within(1.0) <= 20
        assert all(answered)
        assert len(server.times) > 40


@pytest.mark.promise("R02", "R51")
def test_no_call_hangs_and_no_window_is_exceeded_when_the_daemon_is_killed_and_comes_back(
    machine: Callable[..., Machine],
) -> None:
    here = machine(STRICT, share="0.3")
    daemon = here.daemon()
    with provider() as server:
        workers = here.workers(2, server)
        before = len(server.times)
        daemon.kill()
        sleep(3.0)
        without = len(server.times) - before
        here.daemon()
        back_at = monotonic()
        sleep(4.0)
        answered = [int(here.ended(worker)) for worker in workers]

        assert server.most_within(1.0) <= 20
        assert all(answered)
        assert without > 0
        assert server.since(back_at + 2.0) > 20


def test_a_daemon_that_cannot_be_started_for_lack_of_the_extra_is_not_waited_for_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    config = Config.from_mapping({"machine": {"socket": str(tmp_path / "socket"), "spawn": True}})

    spawner = Spawner(config, tmp_path / "socket", count(step=10.0).__next__)

    assert not any(spawner.missing() for _ in range(3))
    assert ["pip install 'traffic-governor[daemon]'."] == [text.rpartition(": ")[2] for text in caplog.messages]


def test_the_first_process_starts_the_daemon_which_ends_once_it_is_alone(machine: Callable[..., Machine]) -> None:
    here = machine(STRICT, spawn="true", spawn_idle='"1s"')
    with provider() as server:
        workers = here.workers(2, server)
        served = here.is_served()
        answered = [int(here.ended(worker)) for worker in workers]

        assert served
        assert all(answered)
        assert server.most_within(1.0) <= 20
        until(lambda: not here.is_served())
