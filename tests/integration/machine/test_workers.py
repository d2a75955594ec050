"""Real servers with several workers, whose clients are limited by one daemon, and killed daemons and workers."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from tests.integration.machine.machine import Machine
from tests.support.servers import Answer, ask
from tests.support.waits import PATIENCE, until

POLICY = """
[inbound]
announce = true
[inbound.default]
limits = ["5/hour burst 5"]
address_limits = ["1000/s burst 1000"]
total_limits = []
[inbound.held]
paths = ["/held"]
limits = ["2 in flight"]
"""
#: Seconds that no request may take, on a machine that is busy.
PROMPT = 5.0


class Service:
    """A server with workers, all of which have served a request."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, client: str) -> Answer | None:
        """The response; None if its worker has died, or none has started yet."""
        with suppress(OSError, HTTPException):
            return ask(self._port, path, {"x-actor": client})
        return None

    def status(self, path: str, client: str) -> int:
        """The status of a response, 0 without one."""
        response = self.get(path, client)
        return 0 if response is None else response.status

    def workers(self) -> set[int]:
        """The processes that have answered some requests that no limit applies to."""
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: self.get("/health", "none"), range(16))
        return {int(answer.body) for answer in answers if answer is not None}


@contextmanager
def service(machine: Machine, workers: int) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app = "tests.integration.machine.programs.api:asgi"
    web = machine.execute(
        *("-m", "uvicorn", app, "--workers", str(workers), "--port", str(port)),
        *("--log-level", "warning", "--no-proxy-headers", "--timeout-graceful-shutdown", "1"),
    )
    try:
        served = Service(port)
        until(lambda: len(served.workers()) == workers)
        yield served
    finally:
        web.terminate()  # Its workers end with it.
        web.wait(PATIENCE)


def lets_five_through(served: Service, pool: ThreadPoolExecutor) -> None:
    """As many requests of each client as one process would."""
    clients = ["ann", "bob"] * 20
    responses = list(pool.map(served.get, ["/"] * 40, clients))
    granted = [(client, one) for client, one in zip(clients, responses, strict=True) if one is not None and one.status == 200]
    left = sorted(response.headers["ratelimit"].split(";")[1] for _, response in granted)

    assert {"ann": 5, "bob": 5} == Counter(client for client, _ in granted)
    assert ["r=0", "r=0", "r=1", "r=1", "r=2", "r=2", "r=3", "r=3", "r=4", "r=4"] == left
    assert [429] * 30 == [one.status for one in responses if one is not None and one.status != 200]


@pytest.mark.promise("R60", "R21", "R27")
def test_four_workers_let_as_many_requests_of_a_client_through_as_one_would(tmp_path: Path) -> None:
    machine = Machine(tmp_path, POLICY)
    try:
        machine.daemon()
        with service(machine, 4) as served, ThreadPoolExecutor(16) as pool:
            lets_five_through(served, pool)
            limited = Counter(pool.map(served.status, ["/limited"] * 24, ["eve"] * 24))

        # Five of her requests are within the limit of her client, and three of these within that of the endpoint.
        assert {200: 3, 429: 21} == limited
    finally:
        machine.close()


@pytest.mark.promise("R60", "R61", "R63")
def test_places_of_a_killed_worker_come_back_and_no_request_hangs_without_the_daemon(tmp_path: Path) -> None:
    machine = Machine(tmp_path, POLICY, on_daemon_loss='"deny"')
    try:
        daemon = machine.daemon()
        with service(machine, 2) as served, ThreadPoolExecutor(8) as pool:
            lets_five_through(served, pool)
            held = [pool.submit(_hold, served) for _ in range(2)]
            until(lambda: served.status("/held?seconds=0", "ann") == 429)
            for worker in served.workers():
                os.kill(worker, signal.SIGKILL)
            until(lambda: served.status("/held?seconds=0", "ann") == 200)
            broken = [one.result() for one in held]
            took, ended = list[float](), Event()
            callers = [pool.submit(_visit, served, f"client-{number}", took, ended) for number in range(4)]
            until(lambda: len(took) > 8)
            daemon.kill()
            until(lambda: served.status("/held?seconds=0", "bob") == 503)
            machine.daemon()
            until(lambda: served.status("/held?seconds=0", "bob") == 200)
            ended.set()
            wait(callers)
            statuses = set().union(*(one.result() for one in callers))

        assert [0, 0] == broken
        assert {200, 503} <= statuses <= {0, 200, 429, 503}
        assert max(took) < PROMPT
    finally:
        machine.close()


def _hold(served: Service) -> int:
    """Holds a place, if need be after the request that looks whether all are taken. The status in the end."""
    while (status := served.status(f"/held?seconds={PATIENCE}", "ann")) == 429:
        pass
    return status


def _visit(served: Service, client: str, took: list[float], ended: Event) -> set[int]:
    """Asks again and again; the statuses."""
    statuses = set()
    while not ended.is_set():
        start = monotonic()
        statuses.add(served.status("/held?seconds=0.01", client))
        took.append(monotonic() - start)
    return statuses
