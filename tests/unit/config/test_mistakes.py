"""Every mistake of every source of settings, reported at once and each with its place."""

from pathlib import Path

import pytest

from governor.config import Config
from governor.errors import ConfigError

TEXT = """
[global]
max_scope = 5
degraded_cooldown = "9 parsecs"

[outbound.github]
limits = ["60/minut", "5/s", "1 in flght"]
breaker = { failures = 0, probes = 0, failure_rate = 2.0 }

[outbound."github:psot"]

[outbound.gitlab.retry]
attempts = 7
first_delay = "2m"

[inbound]
exempt_paths = ["up", "/up", "down"]

[inbound.chat]
paths = ["/chat"]
routes = [{ paths = ["/chat/{id}"], limits = ["1 token per s strict"], methods = ["psot", "POST"] }, {}]
"""


@pytest.mark.promise("R53")
def test_every_mistake_of_a_file_is_reported_at_once_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "governor.toml"
    path.write_text(TEXT, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Config.load(path, env_file=None, environ={"GOVERNOR__GLOBAL__MAX_WAITING": "0", "GOVERNOR_LIMITS": "1/s"})

    assert [
        ("", None, None, "GOVERNOR_LIMITS"),
        (str(path), 3, 1, "global.max_scope"),
        (str(path), 4, 1, "global.degraded_cooldown"),
        (str(path), 7, 11, "outbound.github.limits[0]"),
        (str(path), 7, 30, "outbound.github.limits[2]"),
        (str(path), 8, 13, "outbound.github.breaker.failures"),
        (str(path), 8, 27, "outbound.github.breaker.probes"),
        (str(path), 8, 39, "outbound.github.breaker.failure_rate"),
        (str(path), 10, 11, 'outbound."github:psot"'),
        (str(path), 13, 1, "outbound.gitlab.retry.attempts"),
        (str(path), 17, 17, "inbound.exempt_paths[0]"),
        (str(path), 17, 30, "inbound.exempt_paths[2]"),
        (str(path), 21, 47, "inbound.chat.routes[0].limits[0]"),
        (str(path), 21, 83, "inbound.chat.routes[0].methods[0]"),
        (str(path), 21, 102, "inbound.chat.routes[1]"),
        ("GOVERNOR__GLOBAL__MAX_WAITING", None, None, "global.max_waiting"),
    ] == [(one.source, one.line, one.column, one.path) for one in caught.value.problems]
    assert str(caught.value).startswith("16 mistakes in the settings:\n  unknown variable 'GOVERNOR_LIMITS'; did you mean ")


def test_a_file_that_is_not_toml_hides_no_mistake_of_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "governor.toml"
    path.write_text("[global\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Config.load(path, env_file=None, environ={"GOVERNOR__GLOBAL__MAX_WAITING": "0"})

    assert [(str(path), 1), ("GOVERNOR__GLOBAL__MAX_WAITING", None)] == [
        (one.source, one.line) for one in caught.value.problems
    ]


def test_a_rule_about_several_keys_is_not_reported_for_a_key_that_is_wrong_itself() -> None:
    breaker = {"failure_rate": 0.5, "window_calls": "many", "probes": 0}
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping({"outbound": {"github": {"breaker": breaker}}})

    assert ["window_calls", "probes"] == [one.path.rpartition(".")[2] for one in caught.value.problems]
