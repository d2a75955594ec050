"""Layers: the policy file, the environment and `.env`, which of them wins, and how a mistake in each is named."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from governor.config import Config, LoggingSettings, describe
from governor.errors import ConfigError

LIMITS = "GOVERNOR__OUTBOUND__GITHUB__LIMITS"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has an empty folder of its own, so that paths in messages are short, and no `.env` but its own."""
    monkeypatch.chdir(tmp_path)


def load(file: str | None = None, *, env: Mapping[str, str] | None = None, dotenv: str | None = None) -> Config:
    if file is not None:
        Path("governor.toml").write_text(file, encoding="utf-8")
    if dotenv is not None:
        Path(".env").write_text(dotenv, encoding="utf-8")
    return Config.load(None if file is None else "governor.toml", environ=env or {})


def mistake(file: str | None = None, *, env: Mapping[str, str] | None = None, dotenv: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, env=env, dotenv=dotenv)
    return str(caught.value)


def limits(config: Config, scope: str = "github") -> list[str]:
    return [describe(limit) for limit in config.for_scope(scope).limits]


@pytest.mark.promise("R53")
def test_without_file_and_environment_the_built_in_defaults_are_in_force() -> None:
    assert Config.from_mapping({}) == load()


@pytest.mark.promise("R53")
def test_the_policy_file_of_the_documentation_says_what_it_seems_to_say() -> None:
    config = load(
        """
        [global]
        degraded_exempt = ["multi_runtime"]

        [outbound.default]
        breaker = { failures = 4 }

        [outbound.github]
        limits = ["1/s burst 60", "5000 per hour strict"]

        [outbound."github:post"]
        limits = ["20 per minute strict", "30 in flight"]

        [inbound.chat]
        paths = ["/api/v1/chat", "/talk"]
        """
    )

    assert frozenset({"multi_runtime"}) == config.global_.degraded_exempt
    assert ["1/s burst 60", "5000 per hour strict"] == limits(config, "github:get")
    assert ["20 per minute strict", "30 in flight"] == limits(config, "github:post")
    assert (3, 4) == (config.for_scope("github:post").breaker.failures, config.for_scope("gitlab").breaker.failures)
    assert ("/api/v1/chat", "/talk") == config.inbound["chat"].paths


FILE = 'outbound.github.limits = ["2/s"]'
DOTENV = f"""{LIMITS}='["3/s"]'"""
ENV = {LIMITS: '["4/s"]'}


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("file", "dotenv", "env", "expected"),
    [
        (None, None, None, "1/s burst 60"),
        (FILE, None, None, "2/s burst 2"),
        (None, DOTENV, None, "3/s burst 3"),
        (FILE, DOTENV, None, "3/s burst 3"),
        (FILE, None, ENV, "4/s burst 4"),
        (FILE, DOTENV, ENV, "4/s burst 4"),
    ],
)
def test_environment_over_dotenv_over_file_over_defaults(
    file: str | None, dotenv: str | None, env: Mapping[str, str] | None, expected: str
) -> None:
    assert [expected] == limits(load(file, dotenv=dotenv, env=env))


@pytest.mark.promise("R53")
def test_layers_override_each_other_key_by_key() -> None:
    config = load(
        'outbound.github.breaker = { failures = 7, open_for = "10s" }',
        dotenv="GOVERNOR__OUTBOUND__GITHUB__BREAKER__OPEN_FOR=20s\nGOVERNOR__OUTBOUND__GITHUB__BREAKER__PROBES=5",
        env={"GOVERNOR__OUTBOUND__GITHUB__BREAKER__PROBES": "6"},
    )
    breaker = config.for_scope("github").breaker

    assert (7, 20_000_000, 6) == (breaker.failures, breaker.open_for, breaker.probes)
    assert ["1/s burst 60"] == limits(config)


def test_a_variable_for_a_key_wins_over_one_for_the_table_around_it_whatever_their_order() -> None:
    table = ("GOVERNOR__OUTBOUND__GITHUB__BREAKER", "{ failures = 8, probes = 8 }")
    key = ("GOVERNOR__OUTBOUND__GITHUB__BREAKER__FAILURES", "9")

    for env in (dict([table, key]), dict([key, table])):
        breaker = load(env=env).for_scope("github").breaker
        assert (9, 8) == (breaker.failures, breaker.probes)


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("name", "value", "file"),
    [
        ("GOVERNOR__GLOBAL__REQUESTS_PER_MINUTE", "500", "global.requests_per_minute = 500"),
        ("GOVERNOR__GLOBAL__DEGRADED_COOLDOWN", "90s", 'global.degraded_cooldown = "90s"'),
        ("GOVERNOR__GLOBAL__DEGRADED_COOLDOWN", "'90s'", 'global.degraded_cooldown = "90s"'),
        ("GOVERNOR__GLOBAL__DEGRADED_EXEMPT", "['multi_runtime']", 'global.degraded_exempt = ["multi_runtime"]'),
        ("GOVERNOR__OUTBOUND__X__RETRY", "{ attempts = 1 }", "outbound.x.retry.attempts = 1"),
        ("GOVERNOR__OUTBOUND__MULTI_RUNTIME__LIMITS", "[]", "outbound.multi_runtime.limits = []"),
        ("GOVERNOR__INBOUND__EXEMPT_PATHS", '["/up"]', 'inbound.exempt_paths = ["/up"]'),
        ("GOVERNOR__INBOUND__CHAT__PATHS", '["/talk"]', 'inbound.chat.paths = ["/talk"]'),
        ("GOVERNOR__LOGGING__ENABLED", "true", "logging.enabled = true"),
        ("GOVERNOR__LOGGING__DIRECTORY", "/var/log", 'logging.directory = "/var/log"'),
        ("GOVERNOR__LOGGING__MAX_SIZE_MB", "50", "logging.max_size_mb = 50"),
    ],
)
def test_a_variable_says_what_the_same_key_in_the_file_would_say(name: str, value: str, file: str) -> None:
    assert load() != load(env={name: value})
    assert load(file) == load(env={name: value})


def test_a_value_cannot_smuggle_in_a_second_key() -> None:
    assert "logging.enabled is 'true\\nx = 1'" in mistake(env={"GOVERNOR__LOGGING__ENABLED": "true\nx = 1"})


@pytest.mark.parametrize("name", ["GOVERNOR__OUTBOUND__GITHUB__POST__LIMITS", "GOVERNOR__OUTBOUND__GITHUB:POST__LIMITS"])
def test_the_method_of_a_scope_is_a_part_of_the_name(name: str) -> None:
    config = load(env={name: '["60 per minute strict"]'})

    assert ["60 per minute strict"] == limits(config, "github:post")
    assert ["1/s burst 60"] == limits(config, "github:get")


def test_a_table_of_a_scope_is_not_taken_for_a_method() -> None:
    config = load(env={"GOVERNOR__OUTBOUND__GITHUB__RETRY_BUDGET__FLOOR": "3"})

    assert 3 == config.for_scope("github:post").retry_budget.floor
    assert set(Config.from_mapping({}).outbound) == set(config.outbound)


@pytest.mark.promise("R19", "R53")
@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        (LIMITS, '["60/minut"]', "outbound.github.limits[0] is '60/minut'; expected a limit as text"),
        (LIMITS, "60/minute", "outbound.github.limits is '60/minute'; expected a list of limits"),
        ("GOVERNOR__GLOBAL__MAX_SCOPE", "5", "unknown key 'max_scope' in [global]; did you mean 'max_scopes'?"),
        ("GOVERNOR__GLOBL__X", "5", "unknown section [globl]; did you mean 'global'?"),
        (
            "GOVERNOR__OUTBOUND__DEFAULT__BREAKER__PROBES",
            "1",
            "outbound.default.breaker.successes is 2; expected a whole number",
        ),
        # What Python cannot read or print, and text that is not UTF-8.
        ("GOVERNOR__GLOBAL__MAX_SCOPES", "9" * 5000, f"global.max_scopes is '{'9' * 499}...; expected a whole number"),
        ("GOVERNOR__GLOBAL__MAX_SCOPES", "[" * 5000, "global.max_scopes is '[[["),
        ("GOVERNOR__MACHINE__SHARE", "\udcff", r"machine.share is '\udcff'; expected a number"),
        ("GOVERNOR__OUTBOUND__\udcff__LIMITS", "[]", r"""outbound."\\udcff" is '\udcff'; expected a scope"""),
    ],
)
def test_a_mistake_in_the_environment_is_named_by_its_variable(name: str, value: str, what: str) -> None:
    assert mistake(env={name: value}).startswith(f"{name}: {what}")


@pytest.mark.parametrize(
    "name", ["GOVERNOR__", "GOVERNOR__GLOBAL____X", "GOVERNOR__GLOBAL__", "GOVERNOR__" + 999 * "A__" + "A"]
)
def test_a_name_with_an_empty_part_or_too_many_is_a_mistake(name: str) -> None:
    assert mistake(env={name: "5"}).startswith(f"{name} is '5'; expected a name of at most 10 parts, none of them empty, for")


def test_a_word_that_is_neither_on_nor_off_is_a_mistake() -> None:
    message = "ENABLE_TRAFFIC_CONTROL_LOGGING is 'maybe'; expected one of 1, true, yes, on, 0, false, no, off"

    assert message == mistake(env={"ENABLE_TRAFFIC_CONTROL_LOGGING": "maybe"})


@pytest.mark.promise("R53")
def test_a_line_of_dotenv_that_cannot_be_read_is_a_mistake_if_it_sets_one_of_ours() -> None:
    message = "cannot read GOVERNOR__GLOBAL__MAX_SCOPES in env file '.env': is a quotation mark missing?"

    assert message == mistake(dotenv='X="\nGOVERNOR__GLOBAL__MAX_SCOPES="5\n')
    assert load(dotenv="X='1\nY=2 # GOVERNOR__GLOBAL__MAX_SCOPES='5\n") == load(dotenv="")


def test_a_mistake_in_dotenv_is_named_by_file_and_variable() -> None:
    assert f".env: {LIMITS}: outbound.github.limits[0] is '3/x'; " in mistake(dotenv=f"""{LIMITS}='["3/x"]'""")
    assert mistake(dotenv="GOVERNOR__GLOBAL__MAX_SCOPES=none").startswith(
        ".env: GOVERNOR__GLOBAL__MAX_SCOPES: global.max_scopes is 'none'; "
    )


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("file", "what"),
    [
        ('outbound.github.limits = ["60/minut"]', "1:27: outbound.github.limits[0] is '60/minut'; expected a limit as text"),
        (
            "[outbound.github]\nbreaker.failure_rate = 0.5",
            "2:1: outbound.github.breaker.window is 'off'; expected exactly one of",
        ),
        ("[global]\nmax_scopes = 5 5", "2:16: invalid TOML: Expected newline or end of document after a statement: 'max"),
        ("max_scopes = 5 5\n[global]\n", "1:16: invalid TOML: Expected newline or end of document after a statement: 'max"),
        (
            "[outbound.a:b]",
            (
                "1:12: invalid TOML: Expected ']' at the end of a table declaration: '[outbound.a:b]'; a name with such"
                ' characters is in quotes: [outbound."a:b"]'
            ),
        ),
        ("x = [1,\n2", "2:2: invalid TOML: Unclosed array: '2'"),
        ("x = [1,\n", "1:8: invalid TOML: Invalid value: 'x = [1,'"),
    ],
)
def test_a_mistake_in_the_policy_file_is_named_by_file_line_and_column(file: str, what: str) -> None:
    assert mistake(file).startswith(f"governor.toml:{what}")


@pytest.mark.parametrize(
    ("file", "name", "value", "blamed"),
    [
        ('outbound.github.limits = ["1/x"]', LIMITS, '["2/x"]', LIMITS),
        ('outbound.github.limits = ["1/x"]', "GOVERNOR__OUTBOUND__GITHUB__RETRY__ATTEMPTS", "2", "governor.toml"),
        ('outbound.git.limits = ["1/x"]', LIMITS, '["2/s"]', "governor.toml"),
        ('outbound.github.limits = ["1/s"]', "GOVERNOR__OUTBOUND__GIT__LIMITS", '["2/x"]', "GOVERNOR__OUTBOUND__GIT__LIMITS"),
        # A value in the place of a table, of which the environment sets a key.
        ("outbound.github = 3", LIMITS, '["2/s"]', "governor.toml"),
        ('outbound.github.breaker = "on"', "GOVERNOR__OUTBOUND__GITHUB__BREAKER__PROBES", "5", "governor.toml"),
        ("outbound.github = 3", "GOVERNOR__OUTBOUND", "{ github = {} }", "governor.toml"),
    ],
)
def test_a_mistake_is_blamed_on_the_layer_that_made_it(file: str, name: str, value: str, blamed: str) -> None:
    said = mistake(file, env={name: value})

    assert (True, blamed) == ("outbound." in said, said.partition(":")[0])


def test_an_overridden_value_does_no_harm() -> None:
    assert ["4/s burst 4"] == limits(load('outbound.github.limits = ["1/x"]', env=ENV))
    config = load("provider.github.cost.post = 5", env={"GOVERNOR__PROVIDER__GITHUB__COST__POST__POINTS": "3"})
    assert {"points": 3} == config.provider["github"].cost["post"]
    # Budgets bound what they bound: one whose last amount is switched off is gone.
    amounts = 'budget.a.requests = "5 per day"\nbudget.b.requests = "5 per day"'
    assert {"b"} == load(amounts, env={"GOVERNOR__BUDGET__A__REQUESTS": "off"}).budget.keys()


@pytest.mark.promise("R53")
def test_a_policy_file_that_cannot_be_read_is_a_mistake() -> None:
    Path("latin.toml").write_bytes(b"# caf\xe9")
    Path("huge.toml").write_text(f"x = {'9' * 5000}", encoding="utf-8")
    Path("deep.toml").write_text(f"x = {'[' * 5000}", encoding="utf-8")
    Path("deep table.toml").write_text(f"[x{'.x' * 2000}]", encoding="utf-8")

    for path, why in [
        ("a\0b", "embedded null byte"),
        ("huge.toml", "Exceeds the limit"),
        ("deep.toml", ""),
        ("missing.toml", f"No such file or directory in {re.escape(os.getcwd())}$"),
        ("folder/missing.toml", f"No such file or directory in {re.escape(os.getcwd())}$"),
        ("/missing.toml", "No such file or directory$"),
        (".", "Is a directory"),
        ("latin.toml", "not a text file in UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=f"^cannot read policy file {re.escape(repr(path))}: {why}"):
            Config.load(path, environ={})
    with pytest.raises(ConfigError, match=r"^deep table.toml:1:2: unknown section \[x\]"):
        Config.load("deep table.toml", environ={})


FREE = [
    *(
        "GOVERNOR",
        "GOVERNORATE",
        "GOVERNORATE_LIMITS",
        "GOVERNOR_HOME",
        "GOVERNOR_X",
        "CPU_GOVERNOR",
        "governor_x",
    ),
    # What Kubernetes and Docker set for the neighbours of a service that is called governor.
    *("GOVERNOR_SERVICE_HOST", "GOVERNOR_SERVICE_PORT_HTTP", "GOVERNOR_PORT", "GOVERNOR_PORT_8787_TCP_ADDR", "GOVERNOR_NAME"),
    *("GOVERNOR_ENABLED", "GOVERNOR_LOG_LEVEL", "GOVERNOR_API_KEY", "TRAFFIC_CONTROL_LOG_LEVEL", "PATH", "LIMITS"),
]


@pytest.mark.parametrize("name", FREE)
def test_variables_of_other_programs_are_none_of_ours(name: str) -> None:
    assert load() == load(env={name: "1"}) == load(dotenv=f"{name}=1")


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GOVERNOR_GLOBAL_REQUESTS_PER_MINUTE", "GOVERNOR__GLOBAL__REQUESTS_PER_MINUTE"),
        ("GOVERNOR_REQUESTS_PER_MINUTE", "GOVERNOR__GLOBAL__REQUESTS_PER_MINUTE"),
        ("GOVERNOR_GLOBL_MAX_SCOPES", "GOVERNOR__GLOBAL__MAX_SCOPES"),
        ("GOVERNOR_GLOBAL__MAX_SCOPES", "GOVERNOR__GLOBAL__MAX_SCOPES"),
        ("GOVERNOR__GLOBAL_MAX_SCOPES", "GOVERNOR__GLOBAL__MAX_SCOPES"),
        ("governor__global__max_scopes", "GOVERNOR__GLOBAL__MAX_SCOPES"),
        ("governor_global_max_scopes", "GOVERNOR__GLOBAL__MAX_SCOPES"),
        ("Governor__Global__Max_Scopes", "GOVERNOR__GLOBAL__MAX_SCOPES"),
        ("GOVENOR__GLOBAL__MAX_SCOPES", "GOVERNOR__GLOBAL__MAX_SCOPES"),
        ("GOVERNOR_OUTBOUND_WEATHER_LIMITS", "GOVERNOR__OUTBOUND__WEATHER__LIMITS"),
        ("GOVERNOR_OUTBOUND_WEATHER_POST_RETRY_BUDGET_FLOOR", "GOVERNOR__OUTBOUND__WEATHER__POST__RETRY_BUDGET__FLOOR"),
        ("GOVERNOR_WEATHER_BREAKER_OPEN_FOR", "GOVERNOR__OUTBOUND__WEATHER__BREAKER__OPEN_FOR"),
        ("GOVERNOR_LIMITS", "GOVERNOR__OUTBOUND__DEFAULT__LIMITS"),
        ("GOVERNOR_INBOUND_CHAT_LIMITS", "GOVERNOR__INBOUND__CHAT__LIMITS"),
        ("GOVERNOR_EXEMPT_PATHS", "GOVERNOR__INBOUND__EXEMPT_PATHS"),
        ("GOVERNOR_LOGGING_ENABLED", "GOVERNOR__LOGGING__ENABLED"),
        ("governor_config", "GOVERNOR_CONFIG"),
        ("GOVERNOR__CONFIG", "GOVERNOR_CONFIG"),
        ("GOVERNOR_CONFIG_FILE", "GOVERNOR_CONFIG"),
        ("GOVENOR_CONFIG", "GOVERNOR_CONFIG"),
        ("Enable_Traffic_Control_Logging", "ENABLE_TRAFFIC_CONTROL_LOGGING"),
        ("TRAFFIC_CONTROL_LOGDIR", "TRAFFIC_CONTROL_LOG_DIR"),
        ("GOVERNOR_SOKCET", "GOVERNOR_SOCKET"),
        ("GOVERNOR_SPAWN_IDLE", "GOVERNOR__MACHINE__SPAWN_IDLE"),
    ],
)
def test_a_name_that_is_nearly_one_of_ours_is_a_mistake_that_names_the_near_one(name: str, meant: str) -> None:
    message = f"unknown variable {name!r}; did you mean {meant!r}?"

    assert (message, f".env: {message}") == (mistake(env={name: "5"}), mistake(dotenv=f"export {name}=5"))


@pytest.mark.parametrize("name", ["GOVERNOR__GLOBAL__MAX_SCOPES", "GOVERNOR_CONFIG", "GOVERNOR_GLOBAL_MAX_SCOPES"])
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_variable_is_unset(name: str, blank: str) -> None:
    assert load() == load(env={name: blank}) == load(dotenv=f"{name}='{blank}'")


def test_a_blank_variable_hides_nothing_that_a_weaker_layer_says() -> None:
    assert ["3/s burst 3"] == limits(load(FILE, dotenv=DOTENV, env={LIMITS: " "}))


@pytest.mark.promise("R53")
@pytest.mark.parametrize("said", ["governor.toml", " governor.toml "])
def test_without_a_path_the_file_is_the_one_that_a_variable_names(said: str) -> None:
    expected = load(FILE)
    Path("other.toml").write_text('outbound.github.limits = ["9/s"]', encoding="utf-8")

    assert expected == Config.load(environ={"GOVERNOR_CONFIG": said}) == load(dotenv=f"GOVERNOR_CONFIG='{said}'")
    assert expected == load(env={"GOVERNOR_CONFIG": said}, dotenv="GOVERNOR_CONFIG=other.toml")
    assert expected == load(env={"GOVERNOR_CONFIG": ""}, dotenv="GOVERNOR_CONFIG=governor.toml")
    assert expected == Config.load("governor.toml", environ={"GOVERNOR_CONFIG": "other.toml"})


def test_a_file_that_a_variable_names_and_that_is_missing_is_blamed_on_the_variable() -> None:
    said = f"cannot read policy file 'nowhere.toml' (set by GOVERNOR_CONFIG{{}}): No such file or directory in {Path.cwd()}"

    assert said.format("") == mistake(env={"GOVERNOR_CONFIG": "nowhere.toml"})
    assert said.format(" in .env") == mistake(dotenv="GOVERNOR_CONFIG=nowhere.toml")


def test_the_home_of_the_user_may_be_written_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    Path("home").mkdir()
    Path("home/governor.toml").write_text(FILE, encoding="utf-8")
    Path("home/settings.env").write_text("GOVERNOR__GLOBAL__MAX_SCOPES=5", encoding="utf-8")

    for config in (
        Config.load("~/governor.toml", environ={}),
        Config.load(Path("~/governor.toml"), environ={}),
        load(env={"GOVERNOR_CONFIG": "~/governor.toml"}),
        load(dotenv="GOVERNOR_CONFIG=~/governor.toml"),
    ):
        assert ["2/s burst 2"] == limits(config)
    assert 5 == Config.load(environ={}, env_file="~/settings.env").global_.max_scopes
    for directory in (
        load('logging.directory = "~/logs"').logging.directory,
        load(env={"TRAFFIC_CONTROL_LOG_DIR": "~/logs"}).logging.directory,
        LoggingSettings(directory=Path("~/logs")).directory,
    ):
        assert tmp_path / "home" / "logs" == directory


def test_the_home_of_a_user_that_does_not_exist_is_a_plain_name() -> None:
    assert Path("~no-such-user/logs") == LoggingSettings(directory=Path("~no-such-user/logs")).directory


MARKED = ["utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("encoding", MARKED)
def test_a_byte_order_mark_is_read_in_the_policy_file_and_in_dotenv(encoding: str) -> None:
    Path("governor.toml").write_text(f"{FILE} # für\r\n", encoding=encoding, newline="")
    Path(".env").write_text("GOVERNOR__GLOBAL__MAX_SCOPES=5\r\nNAME=für\r\n", encoding=encoding, newline="")
    config = Config.load("governor.toml", environ={})

    assert (["2/s burst 2"], 5) == (limits(config), config.global_.max_scopes)


UNREADABLE = [*MARKED, "latin-1", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("encoding", UNREADABLE)
def test_an_env_file_of_other_programs_may_have_any_encoding(encoding: str) -> None:
    Path(".env").write_text("# GOVERNOR__GLOBAL__MAX_SCOPES=5\nDB_PASSWORD=für-GOVERNOR__X\n", encoding=encoding)

    assert Config.from_mapping({}) == load()


@pytest.mark.parametrize("name", ["GOVERNOR__GLOBAL__MAX_SCOPES", "GOVERNOR_CONFIG", "GOVERNOR_GLOBAL_MAX_SCOPES"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be"])
def test_an_env_file_that_sets_one_of_ours_and_cannot_be_read_as_text_is_a_mistake(encoding: str, name: str) -> None:
    Path(".env").write_text(f"DB_PASSWORD=für\nexport {name}=5\n", encoding=encoding)

    assert f"cannot read env file '.env', which sets {name}: not a text file in UTF-8" == mistake()


def test_an_env_file_that_cannot_be_opened_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Path(".env").write_text("GOVERNOR__GLOBAL__MAX_SCOPES=5", encoding="utf-8")

    def reject(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "read_bytes", reject)
        config = load()

    assert Config.from_mapping({}) == config
    assert ["Cannot read .env, so that no settings are taken from it: Permission denied."] == caplog.messages


def test_a_folder_in_the_place_of_an_env_file_is_none(caplog: pytest.LogCaptureFixture) -> None:
    Path(".env").mkdir()

    assert Config.from_mapping({}) == load()
    assert [] == caplog.messages


@pytest.mark.promise("R53")
def test_logging_is_switched_on_by_the_variables_of_the_reference_system() -> None:
    config = load(env={"ENABLE_TRAFFIC_CONTROL_LOGGING": "Yes", "TRAFFIC_CONTROL_LOG_DIR": "/var/log/governor"})

    assert LoggingSettings(enabled=True, directory=Path("/var/log/governor")) == config.logging


@pytest.mark.parametrize("words", ["1", "true", " ON ", "Yes"])
def test_logging_is_switched_on_by_any_of_the_usual_words(words: str) -> None:
    assert load(env={"ENABLE_TRAFFIC_CONTROL_LOGGING": words}).logging.enabled


@pytest.mark.parametrize("words", ["0", "False", "no", "off"])
def test_logging_is_switched_off_by_any_of_the_usual_words(words: str) -> None:
    assert not load("logging.enabled = true", env={"ENABLE_TRAFFIC_CONTROL_LOGGING": words}).logging.enabled


def test_an_empty_variable_of_the_reference_system_says_nothing() -> None:
    file = 'logging = { enabled = true, directory = "/var/log" }'

    assert load(file) == load(file, env={"ENABLE_TRAFFIC_CONTROL_LOGGING": "", "TRAFFIC_CONTROL_LOG_DIR": ""})


def test_the_folder_for_logs_is_text_even_if_it_looks_like_a_number() -> None:
    assert Path("2024") == load(env={"TRAFFIC_CONTROL_LOG_DIR": "2024"}).logging.directory
    assert Path("2024") == load(env={"GOVERNOR_SOCKET": "2024"}).machine.socket


@pytest.mark.promise("R53")
def test_by_default_the_process_environment_and_dotenv_are_read_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVERNOR__GLOBAL__MAX_SCOPES", "7")
    Path(".env").write_text("GOVERNOR__GLOBAL__MAX_WAITING=8\nGOVERNOR__GLOBAL__MAX_SCOPES=9", encoding="utf-8")
    before = dict(os.environ)
    config = Config.load()

    assert (7, 8) == (config.global_.max_scopes, config.global_.max_waiting)
    assert before == dict(os.environ)


def test_dotenv_can_be_switched_off() -> None:
    Path(".env").write_text(DOTENV, encoding="utf-8")

    assert Config.from_mapping({}) == Config.load(environ={}, env_file=None)


@pytest.mark.parametrize(("dotenv", "loaded"), [("SECRET=1", False), ("GOVERNOR__GLOBAL__MAX_SCOPES=5", True)])
def test_python_dotenv_is_loaded_only_for_a_file_that_names_a_setting_of_ours(dotenv: str, loaded: bool) -> None:
    Path(".env").write_text(dotenv, encoding="utf-8")
    program = "import sys; from governor.config import Config; Config.load(environ={}); print('dotenv' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert str(loaded) == answer.strip()
