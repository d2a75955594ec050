"""Processes that share limits, and the daemon with its state, are killed or stopped under load."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from time import sleep

import pytest

from governor import Config, Governor, Permit
from tests.integration.machine.machine import environ, listening
from tests.stress import kills
from tests.support.waits import PATIENCE, until


@pytest.mark.promise("R02", "R61", "R62")
def test_no_limit_is_exceeded_and_calls_go_on_after_each_kill(tmp_path: Path) -> None:
    """Here two kills. `python -m tests.stress.kills --kills 200` makes two hundred."""
    kills.run(tmp_path, 2, seed=1)


#: Takes permits of its lease, one after another, until it finds that it was stopped; then it says what it still gets of it.
HOLDER = """
    from time import monotonic, sleep
    from governor import PermitDenied, default

    governor = default()
    governor.acquire_blocking("weather").record(status=200)
    used, last = 1, monotonic()
    while True:
        permit = governor.leases.take("weather", None)
        if monotonic() - last > 1.0:
            break
        if permit is None:
            try:
                permit = governor.acquire_blocking("weather", timeout=5)
            except PermitDenied:  # Stopped while it asked: the others have got all that was left.
                break
        permit.record(status=200)
        used, last = used + 1, monotonic()
        sleep(0.002)
    print(used, permit)
"""


@pytest.mark.promise("R02", "R61")
def test_what_a_process_holds_is_worth_nothing_after_it_was_stopped_for_longer_than_its_lease(tmp_path: Path) -> None:
    settings = {"outbound": {"weather": {"limits": ["1/day burst 2000"]}}, "global": {"requests_per_minute": "off"}}
    governor = Governor(Config.from_mapping(settings))
    environment = {**environ(dict(os.environ)), "GOVERNOR_SOCKET": str(tmp_path / "s")}
    command = [sys.executable, "-c", dedent(HOLDER)]
    with listening(governor, tmp_path / "s"), subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as holder:
        try:
            until(lambda: any(one.leased > 20 for one in governor.statistics().members))
            holder.send_signal(signal.SIGSTOP)
            held = governor.statistics().members[0].leased
            sleep(1.6)  # A lease, the tenth that the owner waits longer, and until it looks.
            until(lambda: governor.statistics().members[0].leased == 0)
            taken = 0
            while isinstance(permit := governor.try_permit("weather"), Permit):
                permit.record(status=200)
                taken += 1
            holder.send_signal(signal.SIGCONT)
            output, _ = holder.communicate(timeout=PATIENCE)
        finally:
            holder.kill()
        used, permit_after = output.decode().split()
        left = governor.statistics().scopes["weather"]

    assert held > 0
    assert "None" == permit_after
    # What it held when it was stopped counts as used, and no other process has got it.
    assert 2000 - held <= int(used) + taken <= 2000
    assert [0] == [limit.available for limit in left.limits]
    assert 0 == left.leased
