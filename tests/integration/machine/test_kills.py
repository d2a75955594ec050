"""Processes that share limits, and the daemon with its state, are killed under load."""

from pathlib import Path
from time import monotonic

import pytest

from tests.integration.machine.machine import Machine, provider
from tests.support.waits import until

POLICY = """
[global]
requests_per_minute = "off"
[provider.weather]
limits = ["40 per 2 seconds strict"]
[outbound.weather]
limits = ["30 per second strict", "3 in flight"]
"""


@pytest.mark.promise("R02", "R61", "R62")
def test_no_limit_is_exceeded_and_calls_go_on_after_a_kill(tmp_path: Path) -> None:
    machine = Machine(tmp_path, POLICY, state=f'"{tmp_path / "state"}"')
    try:
        daemon = machine.daemon()
        with provider() as server:
            server.takes = 0.02
            workers = machine.workers(3, server)
            workers.pop(0).kill()
            daemon.kill()
            machine.daemon()
            back_at = monotonic()
            until(lambda: server.since(back_at + 1.0) > 5)
            answered = [int(machine.ended(worker)) for worker in workers]

        assert server.most_within(1.0) <= 30
        assert server.most_within(2.0) <= 40
        assert server.most_at_once <= 3
        assert all(answered)
    finally:
        machine.close()
