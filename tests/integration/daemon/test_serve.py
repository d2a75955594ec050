"""A real daemon shows what happens in it, to allowed hosts only."""

import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from governor import Config, Governor
from tests.integration.daemon.daemon import API, Daemon, Start
from tests.support.programs import governor


@pytest.mark.promise("R30", "R31", "R32", "R34")
def test_status_metrics_and_prometheus_tell_the_same(start: Start) -> None:
    daemon = start()
    daemon.do("call", "weather:get", "200", "3")
    daemon.do("call", "weather:post", "404", "2")
    daemon.do("call", "scarce", "200", "1")
    daemon.do("deny", "scarce", "4")

    status = daemon.status()
    report = daemon.get(f"{API}/metrics/weather").json()
    families = text_string_to_metric_families(daemon.get("/metrics").text)
    samples = {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}

    total = status["global"]
    assert ("success", ["scarce", "weather:get", "weather:post"]) == (status["status"], status["outbound_scopes"])
    assert (6, 4, 2, 6) == (total["total_requests"], total["total_2xx"], total["total_4xx"], total["requests_last_minute"])
    assert {"rate_limit_exceeded": 4} == total["denied"] == status["scopes"]["outbound:scarce"]["metrics"]["denied"]
    assert (5, 3, 2) == tuple(report["metrics"][name] for name in ("total_requests", "total_2xx", "total_4xx"))
    assert ["outbound:weather:get", "outbound:weather:post"] == report["aggregated_from"]
    assert (3.0, 2.0) == tuple(samples["governor_requests_total", scope] for scope in ("weather:get", "weather:post"))
    assert 4.0 == samples["governor_denied_total", "rate_limit_exceeded", "scarce"]


@pytest.mark.promise("R33")
def test_a_request_by_another_name_is_rejected_unless_the_name_is_allowed(start: Start) -> None:
    daemon = start("--allow-host", "governor.internal")
    answers = [daemon.get("/health", headers={"Host": host}).status_code for host in ("governor.internal:8787", "evil.example")]

    assert [200, 400] == answers


def test_the_status_names_the_policy_file(daemon: Daemon) -> None:
    assert str(daemon.policy) == daemon.status()["about"]["policy_file"]


def test_the_status_names_the_policy_file_that_only_dotenv_names(tmp_path: Path) -> None:
    (tmp_path / "governor.toml").write_text("", encoding="utf-8")
    (tmp_path / ".env").write_text("GOVERNOR_CONFIG=governor.toml\n", encoding="utf-8")
    daemon = Daemon(policy=tmp_path / "governor.toml", config=False)
    try:
        found = daemon.status()["about"]["policy_file"]
    finally:
        daemon.close()

    assert "governor.toml" == found


@pytest.mark.promise("R33")
def test_it_is_reached_on_loopback_only(daemon: Daemon) -> None:
    assert daemon.url.startswith("http://127.0.0.1:")


def test_answers_do_not_tell_what_serves_them(daemon: Daemon) -> None:
    assert "server" not in daemon.get("/health").headers


def test_an_address_that_is_taken_is_said_with_status_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = governor("serve", "--port", port, folder=tmp_path)

    said = f"governor serve: cannot listen on 127.0.0.1:{port}: the port is in use; choose another one with --port\n"
    assert (1, "", said) == (run.returncode, run.stdout, run.stderr)


def test_a_state_folder_that_is_in_use_is_said_with_status_1(tmp_path: Path) -> None:
    (tmp_path / "kept.toml").write_text('machine.state = "state"', encoding="utf-8")
    with Governor(Config.from_mapping({"machine": {"state": str(tmp_path / "state")}})):
        run = governor("serve", "--port", "0", "--config", "kept.toml", folder=tmp_path)

    assert (1, "") == (run.returncode, run.stdout)
    assert run.stderr.startswith("governor serve: the state folder state belongs to process ")


@pytest.mark.promise("R53")
def test_a_mistake_in_the_policy_file_is_said_with_status_2_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('outbound.github.limits = ["60/minut"]', encoding="utf-8")
    run = governor("serve", "--port", "0", "--config", "bad.toml", folder=tmp_path)

    assert (2, "") == (run.returncode, run.stdout)
    assert run.stderr.startswith("governor serve: bad.toml:1:27: outbound.github.limits[0] is '60/minut'; expected ")
