"""`governor status` shows the state of a real daemon, and says so when there is none."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from tests.integration.daemon.daemon import Daemon, Start
from tests.support.programs import governor
from tests.support.waits import PATIENCE


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return governor("status", *arguments, http_proxy="http://127.0.0.1:1")


def _command(arguments: Sequence[str]) -> list[str]:
    return [
        sys.executable,
        "-W",
        "error",
        "-c",
        "import sys; from governor.cli import main; sys.exit(main())",
        "status",
        *arguments,
    ]


def _environment() -> dict[str, str]:
    # A proxy that the environment names is for the world outside, and is not asked.
    return {**os.environ, "http_proxy": "http://127.0.0.1:1", "COLUMNS": "100"}


@pytest.mark.promise("R10", "R30")
def test_an_open_breaker_is_said_in_words_and_stands_first_in_the_table(start: Start) -> None:
    daemon = start()
    daemon.do("call", "weather:get", "500", "2")
    daemon.do("call", "aaa:get", "200", "1")
    said = run("--url", daemon.url)
    lines = said.stdout.splitlines()

    assert (0, "") == (said.returncode, said.stderr)
    assert "1 scope denies calls" == lines[0]
    assert lines[1].startswith("  weather:get denies calls: circuit breaker open after HTTP 500, probes in ")
    assert ["weather:get", "aaa:get"] == [line.split()[0] for line in lines if ":get " in line][1:3]


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_is_said_in_words(start: Start) -> None:
    daemon = start()
    for scope in ("one", "two"):
        daemon.do("call", scope, "500", "2")
    lines = run("--url", f"{daemon.url}/").stdout.splitlines()

    assert "Outbound traffic is paused" == lines[0]
    assert lines[1].startswith(
        "  Degraded mode pauses all outbound calls after failures in a row, most from one, two, resumes in "
    )


@pytest.mark.promise("R30")
def test_json_is_the_document_of_the_daemon(daemon: Daemon) -> None:
    said = run("--json", "--url", daemon.url)
    printed: dict[str, Any] = json.loads(said.stdout)
    served = daemon.status()

    assert (0, list(served), served["inbound_scopes"]) == (said.returncode, list(printed), printed["inbound_scopes"])


def test_where_nothing_listens_it_says_so_and_ends_with_1() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    said = run("--url", f"http://127.0.0.1:{port}")

    assert (1, "") == (said.returncode, said.stdout)
    assert f"governor status: no governor answers at http://127.0.0.1:{port}: Connection refused\n" == said.stderr


def test_another_path_of_a_daemon_answers_404_and_that_is_1(daemon: Daemon) -> None:
    url = f"{daemon.url}/elsewhere"
    said = run("--url", url)

    assert (1, f"governor status: what answers at {url} is no governor: 404 Not Found\n") == (said.returncode, said.stderr)


def test_a_watch_goes_on_until_ctrl_c_and_ends_with_0(daemon: Daemon) -> None:
    command = _command(["--watch", "--json", "--url", daemon.url])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        looks = [json.loads(watch.stdout.readline())["global"]["now"] for _ in range(2)]
        watch.send_signal(signal.SIGINT)
        rest, errors = watch.communicate(timeout=PATIENCE)

    assert (0, "") == (watch.returncode, errors)
    assert looks[0] < looks[1]
    assert all(json.loads(line) for line in rest.splitlines())


def test_a_reader_that_goes_away_is_no_error(daemon: Daemon) -> None:
    command = _command(["--watch", "--json", "--url", daemon.url])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        watch.stdout.readline()
        watch.stdout.close()
        errors = watch.stderr.read()

    assert (0, "") == (watch.returncode, errors)
