"""SIGHUP, SIGTERM and SIGINT to a daemon at work."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from threading import Semaphore

import httpx2
import pytest

from tests.integration.daemon.daemon import API, POLICY, Daemon, Start, listening, until
from tests.support.waits import PATIENCE


@pytest.mark.promise("R53")
def test_sighup_reads_the_policy_file_again_and_what_was_spent_stays_spent(start: Start) -> None:
    daemon = start()
    daemon.do("call", "scarce", "200", "1")
    daemon.policy.write_text(POLICY.replace("1/minute burst 1", "1/minute burst 4"), encoding="utf-8")
    daemon.signal(signal.SIGHUP)
    said = daemon.errors.get(timeout=PATIENCE)
    scope = daemon.status()["scopes"]["outbound:scarce"]

    assert "governor serve: settings read again" == said
    assert {"available_tokens": 0, "capacity": 4, "refill_rate": 1 / 60}.items() <= scope["rate_limit"].items()
    assert 1 == scope["metrics"]["total_requests"]


@pytest.mark.promise("R53")
def test_sighup_with_a_bad_file_changes_nothing_and_says_why(start: Start) -> None:
    daemon = start()
    daemon.do("call", "scarce", "200", "1")
    daemon.policy.write_text(POLICY.replace("1/minute burst 1", "1/minut"), encoding="utf-8")
    daemon.signal(signal.SIGHUP)
    said = daemon.errors.get(timeout=PATIENCE)
    daemon.policy.unlink()
    daemon.signal(signal.SIGHUP)
    said_without_file = daemon.errors.get(timeout=PATIENCE)
    scope = daemon.status()["scopes"]["outbound:scarce"]

    path = str(daemon.policy)
    assert said.startswith(
        f"governor serve: settings not changed: {path}:11:11: outbound.scarce.limits[0] is '1/minut'; expected "
    )
    assert (
        f"governor serve: settings not changed: cannot read policy file '{path}': No such file or directory"
        == said_without_file.strip()
    )
    assert 1 == scope["rate_limit"]["capacity"]


@pytest.mark.promise("R55")
def test_sigterm_under_load_cuts_no_request_off_and_answers_all_that_wait(start: Start) -> None:
    """Every client asks, on one connection, until it is told to go. That is the only way to end: anything else fails."""
    daemon = start("--drain", str(PATIENCE))
    daemon.do("call", "queue", "200", "1")
    daemon.do("wait", "queue", "3")
    with ThreadPoolExecutor(10) as pool:
        served = Semaphore(0)
        clients = [pool.submit(ask_until_told_to_go, daemon, served) for _ in range(6)]
        listeners = [pool.submit(listen_to_the_end, daemon, served) for _ in range(2)]
        # Who comes after the signal is turned away, and proves nothing.
        assert all(served.acquire(timeout=PATIENCE) for _ in range(8))
        while daemon.status()["scopes"]["outbound:queue"]["waiting"] < 3:
            pass
        daemon.signal(signal.SIGTERM)
        asked = [client.result(PATIENCE) for client in clients]
        heard = [listener.result(PATIENCE) for listener in listeners]
    status = daemon.ended()
    waiters = [daemon.output.get(timeout=PATIENCE) for _ in range(3)]

    assert 0 == status
    assert [HTTPStatus.SERVICE_UNAVAILABLE] * 6 == asked
    assert [True, True] == heard
    assert ["waiter: shutting_down"] * 3 == waiters
    assert "" == daemon.errors.get(timeout=PATIENCE)


def ask_until_told_to_go(daemon: Daemon, served: Semaphore) -> int:
    """The status of the last answer. Releases `served` at the first one."""
    with httpx2.Client(base_url=daemon.url, timeout=PATIENCE) as client:
        assert "success" == client.get(f"{API}/status").json()["status"]
        served.release()
        while (answer := client.get(f"{API}/status")).status_code == HTTPStatus.OK:
            assert "success" == answer.json()["status"]
        return answer.status_code


def listen_to_the_end(daemon: Daemon, served: Semaphore) -> bool:
    """Whether there was nothing but the status to hear. Releases `served` at the first; raises if the stream breaks off."""
    with listening(daemon.url) as events:
        until(events, "snapshot")
        served.release()
        # The rest, to its proper end.
        return all(kind == "changes" for kind, _ in events)


@pytest.mark.promise("R55")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_connection_holds_nothing_up_for_longer_than_it_may_drain(start: Start, number: signal.Signals) -> None:
    daemon = start("--drain", "0.1")
    with httpx2.Client(base_url=daemon.url) as client:
        assert 200 == client.get("/health").status_code
        daemon.signal(number)

        assert 0 == daemon.ended()


@pytest.mark.promise("R55")
def test_a_listener_that_reads_nothing_does_not_keep_it_from_ending(start: Start) -> None:
    daemon = start("--drain", "0.1")
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as deaf:
        deaf.sendall(f"GET {API}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with listening(daemon.url) as events:
            until(events, "snapshot")
        daemon.signal(signal.SIGTERM)

        assert 0 == daemon.ended()


@pytest.mark.promise("R55")
def test_who_asks_a_second_time_does_not_wait_for_the_drain(start: Start) -> None:
    daemon = start("--drain", "3600")
    with httpx2.Client(base_url=daemon.url) as client:
        assert 200 == client.get("/health").status_code
        daemon.signal(signal.SIGTERM)
        while _code(daemon) == HTTPStatus.OK:
            pass
        daemon.signal(signal.SIGINT)

        assert 0 == daemon.ended()


def _code(daemon: Daemon) -> int:
    return daemon.get("/health").status_code
