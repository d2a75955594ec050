"""Servers with several workers, a task queue and a script share one strict limit at the provider of the demo."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest

from demo.daemon import daemon
from demo.governed import policy
from demo.launch import Provider
from demo.rules import ProviderLog, Rules
from governor import Duration
from governor.config import parse_limit
from governor.policies.windows.parameters import StrictWindow
from tests.support.loopback import listening
from tests.support.waits import PATIENCE, until

PROGRAMS: Final = "tests.integration.machine.programs"
#: Ten in any half second: what is called for here takes a few windows.
LIMIT: Final = parse_limit("10 per 500ms strict", field="limit")
CALLS: Final = 40


class Setting:
    """A provider, the governor of the machine, and programs that use both."""

    def __init__(self, provider: Provider, socket: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PROVIDER": provider.base_url,
            "GOVERNOR_SOCKET": str(socket),
            "QUEUE": str(folder),
        }

    @contextmanager
    def running(self, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
        with subprocess.Popen([sys.executable, "-m", *command], env=self.environment) as process:
            try:
                yield process
            finally:
                process.terminate()

    def run(self, *command: str) -> None:
        subprocess.run([sys.executable, "-m", *command], env=self.environment, check=True, timeout=PATIENCE)


@contextmanager
def setting(folder: Path) -> Iterator[tuple[Setting, list[ProviderLog]]]:
    """In the end, the list has what the provider has seen."""
    assert isinstance(LIMIT, StrictWindow)
    none = Duration(0)
    rules = Rules(reads=LIMIT, writes=LIMIT, outage_from=none, outage_until=none)
    logs: list[ProviderLog] = []
    with Provider(rules) as provider, daemon(folder, policy(rules)) as socket:
        yield Setting(provider, socket, folder), logs
        logs.append(provider.finish())


@contextmanager
def client_of(url: str) -> Iterator[httpx2.Client]:
    """What asks the server, as soon as it answers: with a connection for each request, so that all workers get some."""

    def answers() -> bool:
        try:
            return client.get("/").status_code > 0
        except httpx2.TransportError:
            return False

    limits = httpx2.Limits(max_keepalive_connections=0)
    with httpx2.Client(base_url=url, timeout=PATIENCE, limits=limits) as client:
        until(answers)
        yield client


def answers(client: httpx2.Client, pool: ThreadPoolExecutor) -> list[str]:
    """What the server says of each of its calls."""
    return [answer.text for answer in pool.map(client.get, ["/call"] * CALLS)]


@pytest.mark.promise("R60")
def test_four_web_workers_a_task_queue_and_a_script_share_one_limit(tmp_path: Path) -> None:
    with setting(tmp_path) as (here, logs), listening() as free:
        port = free.getsockname()[1]
        free.close()
        web = ("uvicorn", f"{PROGRAMS}.web:asgi", "--workers", "4", "--port", str(port), "--log-level", "warning")
        queue = (
            "celery",
            "--app",
            f"{PROGRAMS}.tasks",
            "worker",
            "--pool",
            "prefork",
            "--concurrency",
            "2",
            "--loglevel",
            "error",
        )
        with (
            here.running(*web),
            here.running(*queue),
            client_of(f"http://127.0.0.1:{port}") as client,
            ThreadPoolExecutor(16) as pool,
        ):
            script = pool.submit(here.run, f"{PROGRAMS}.cron", str(CALLS // 4))
            tasks = pool.submit(here.run, f"{PROGRAMS}.enqueue", str(CALLS // 4))
            said = answers(client, pool)
            tasks.result()
            script.result()

    assert 1 < len(set(said))
    assert {"200"} == {one.partition(" ")[0] for one in said}
    assert (0, CALLS + 2 * (CALLS // 4)) == (logs[0].count(403, 429), logs[0].count(200))


@pytest.mark.promise("R60")
def test_workers_that_gunicorn_forks_from_a_loaded_program_share_one_limit(tmp_path: Path) -> None:
    with setting(tmp_path) as (here, logs), listening() as free:
        port = free.getsockname()[1]
        free.close()
        web = (
            "gunicorn",
            f"{PROGRAMS}.web:wsgi",
            "--preload",
            "--workers",
            "3",
            "--threads",
            "4",
            "--bind",
            f"127.0.0.1:{port}",
        )
        with here.running(*web), client_of(f"http://127.0.0.1:{port}") as client, ThreadPoolExecutor(16) as pool:
            said = answers(client, pool)

    assert 1 < len(set(said))
    assert {"200"} == {one.partition(" ")[0] for one in said}
    assert 0 == logs[0].count(403, 429)
