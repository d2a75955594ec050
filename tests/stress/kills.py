"""Processes that share limits, and the daemon with its state, are killed under load, again and again.

    python -m tests.stress.kills --kills 200

Each kill ends a random process or the daemon, which is started again at once. Says after how long calls went on, by who was
killed. Ends with an error if the provider has seen a limit exceeded, if calls do not go on, or if a process does not end when
it is told to; and if calls go on later than they must. A killed process may have held all places in flight: they are free
again `arrival_margin` (2 s) after their grant, and the usual duration of a call, of 20 ms here.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Final

from tests.integration.machine.machine import WORKER, Machine, provider
from tests.support.waits import until

POLICY: Final = """
[global]
requests_per_minute = "off"
[provider.weather]
limits = ["40 per 2 seconds strict"]
[outbound.weather]
limits = ["30 per second strict", "3 in flight"]
"""
#: Calls that must arrive after a kill before the next one.
_CALLS: Final = 3
#: Seconds after which calls go on at the latest after a kill of a process: the margin, and the rest on a busy machine.
_BOUND: Final = 2.0 + 1.0


def run(folder: Path, kills: int, seed: int, *, workers: int = 3, say: Callable[[str], object] = str) -> dict[str, list[float]]:
    """Kills so many. Seconds until calls went on after each kill, by who was killed. Raises `AssertionError`."""
    random, machine = Random(seed), Machine(folder, POLICY, state=f'"{folder / "state"}"')
    took: dict[str, list[float]] = {"daemon": [], "process": []}
    try:
        daemon = machine.daemon()
        with provider() as server:
            server.takes = 0.02
            url = f"http://127.0.0.1:{server.server_address[1]}"
            crew = machine.workers(workers, server)
            for number in range(kills):
                sleep(random.uniform(0.0, 0.3))
                who = "daemon" if number % 3 == 0 else "process"
                if who == "daemon":
                    daemon.kill()
                    daemon.communicate()
                    daemon = machine.daemon()
                else:
                    victim = crew.pop(random.randrange(len(crew)))
                    victim.kill()
                    victim.communicate()
                    crew.append(machine.start(str(WORKER), url, f"/{workers + number}"))
                back_at, calls = monotonic(), len(server.times)
                until(lambda calls=calls: len(server.times) >= calls + _CALLS)  # type: ignore[misc] # a default
                took[who].append(monotonic() - back_at)
                say(f"{number + 1}: {who} killed, calls after {took[who][-1]:.2f} s")
            # One that was killed last has begun again by now: what comes to an end in order has been answered.
            until(lambda: f"/{workers + kills - 1}" in server.paths or who == "daemon")
            answered = [int(machine.ended(worker)) for worker in crew]
        assert all(answered), "each process has been answered"
        for most, limit in ((server.most_within(1.0), 30), (server.most_within(2.0), 40), (server.most_at_once, 3)):
            assert most <= limit, f"{most} calls where {limit} are allowed"
    finally:
        machine.close()
    return took


def main() -> None:
    """Runs it by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        took = run(Path(folder), options.kills, options.seed, say=lambda line: sys.stdout.write(line + "\n"))
    for who, times in took.items():
        ordered = sorted(times)
        if ordered:
            median, late = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100]
            sys.stdout.write(f"{len(ordered)} kills of a {who}: calls after {median:.2f} s at the median, ")
            sys.stdout.write(f"after {late:.2f} s in 95 %, after {ordered[-1]:.2f} s at the latest\n")
    assert max(took["process"], default=0.0) <= _BOUND, "places of a killed process come back after the margin"


if __name__ == "__main__":
    main()
