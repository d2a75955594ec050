"""Hosts and their providers: which entry counts, what the default is for, and which maps are rejected."""

from collections.abc import Mapping
from pathlib import Path
from threading import enumerate as enumerate_threads
from typing import Any

import pytest

from governor import Config, ConfigError, Governor, current
from governor_client import instrument
from governor_client._hosts import MAX_HOSTS, Default, HostTerms, settings
from tests.support.governors import no_default_yet

HOSTS = {
    "api.github.com": "github",
    "API.GitHub.com.:8443": "github-enterprise",
    "*.openai.azure.com": "openai",
    "*.eu.openai.azure.com": "openai-eu",
    "mine.openai.azure.com": "mine",
    "localhost:11434": "ollama",
    "[::1]:8080": "tunnel",
    "bücher.example": "books",
}


def provider_of(hosts: Mapping[str, str], host: str, port: int | None = 443, *, default: Default = None) -> str | None:
    terms = HostTerms(settings(hosts, default)).of(host, "/", port)
    return None if terms is None else terms.provider


@pytest.mark.promise("R56")
@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("api.github.com", 443, "github"),
        ("api.github.com", 80, "github"),
        ("Api.GitHub.com.", 443, "github"),
        ("api.github.com", 8443, "github-enterprise"),
        ("github.com", 443, None),
        ("xapi.github.com", 443, None),
        ("api.github.com.example", 443, None),
        ("a.openai.azure.com", 443, "openai"),
        ("a.b.openai.azure.com", 443, "openai"),
        ("a.eu.openai.azure.com", 443, "openai-eu"),
        ("mine.openai.azure.com", 443, "mine"),
        ("openai.azure.com", 443, None),
        ("eu.openai.azure.com", 443, "openai"),
        ("localhost", 11434, "ollama"),
        ("localhost", 8000, None),
        ("127.0.0.1", 11434, None),
        ("::1", 8080, "tunnel"),
        ("[::1]", 8080, "tunnel"),
        ("xn--bcher-kva.example", 443, "books"),
        ("BÜCHER.example", 443, "books"),
        ("", 443, None),
    ],
)
def test_the_most_exact_entry_counts(host: str, port: int, expected: str | None) -> None:
    assert expected == provider_of(HOSTS, host, port)


@pytest.mark.promise("R52", "R56")
@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", ""])
def test_a_default_is_not_for_this_machine_nor_for_requests_without_a_host(host: str) -> None:
    assert (None, None) == (provider_of({}, host, default="other"), provider_of({}, host, default=lambda host: "other"))


@pytest.mark.promise("R56")
def test_a_default_is_for_all_other_hosts_by_name_or_by_function() -> None:
    def default(host: str) -> str | None:
        return None if host == "intranet" else host.replace(".", "-").upper()

    hosts = {"api.github.com": "github"}

    assert "other" == provider_of(hosts, "example.com", default="Other")
    assert "github" == provider_of(hosts, "api.github.com", default="other")
    assert "example-com" == provider_of(hosts, "Example.com.", default=default)
    assert None is provider_of(hosts, "intranet", default=default)


@pytest.mark.promise("R53")
def test_a_default_that_returns_no_provider_is_reported_with_the_host() -> None:
    with pytest.raises(ConfigError) as caught:
        provider_of({}, "example.com", default=lambda host: "a:b")

    assert ("default('example.com')", "a:b") == (caught.value.field, caught.value.value)


@pytest.mark.promise("R56")
def test_answers_of_a_default_are_kept_for_a_bounded_number_of_hosts() -> None:
    asked: list[str] = []

    def default(host: str) -> str:
        asked.append(host)
        return "other"

    terms = HostTerms(settings({}, default))
    for number in (*range(MAX_HOSTS), 0):
        terms.of(f"h{number}.example", "/", 443)
    kept = len(asked)
    terms.of("new.example", "/", 443)
    terms.of("h1.example", "/", 443)

    assert MAX_HOSTS == kept
    assert ["new.example", "h1.example"] == asked[kept:]


@pytest.mark.promise("R52", "R56")
def test_declared_paths_and_hosts_need_no_permit() -> None:
    terms = HostTerms(settings({"*.example": "w"}, ungoverned=["/health", "free.example"]))

    assert None is terms.of("a.example", "/health/live", 443)
    assert None is terms.of("free.example", "/", 443)
    assert None is not terms.of("a.example", "/", 443)


@pytest.mark.promise("R53", "R56")
@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ({"hosts": ["api.github.com"]}, "hosts", ["api.github.com"]),
        ({"hosts": {}}, "hosts", {}),
        *(
            ({"hosts": {entry: "w"}}, "hosts", entry)
            for entry in (
                *("", ".", "*", "*.", "a.*", "a*.example", "https://a.example", "a.example/v1", "a .example", "u@a.example"),
                *("a.example:", "a.example:0", "a.example:65536", "a.example:http", "a:b:c", 7, None),
            )
        ),
        ({"hosts": {"a.example": "w", "A.example.": "v"}}, "hosts", "A.example."),
        ({"hosts": {"a.example": "w:get"}}, "hosts['a.example']", "w:get"),
        ({"hosts": {"a.example": None}}, "hosts['a.example']", None),
        ({"hosts": {}, "default": "a b"}, "default", "a b"),
        ({"hosts": {}, "default": 7}, "default", 7),
        ({"hosts": {"a.example": "w"}, "libraries": "httpx2"}, "libraries", "httpx2"),
        ({"hosts": {"a.example": "w"}, "libraries": []}, "libraries", []),
        ({"hosts": {"a.example": "w"}, "libraries": ["httpx2", "pycurl"]}, "libraries", "pycurl"),
        ({"hosts": {"a.example": "w"}, "wait": -1}, "wait", -1),
        ({"hosts": {"a.example": "w"}, "on_refusal": "warn"}, "on_refusal", "warn"),
        ({"hosts": {"a.example": "w"}, "ungoverned": "/health"}, "ungoverned", "/health"),
    ],
)
def test_an_invalid_argument_is_named_with_its_value_and_what_is_allowed(
    arguments: dict[str, Any], field: str, value: object
) -> None:
    with pytest.raises(ConfigError) as caught:
        instrument(**arguments)

    assert (field, value) == (caught.value.field, caught.value.value)
    assert caught.value.allowed


@pytest.mark.promise("R52", "R56")
def test_requests_to_hosts_without_a_provider_start_no_governor_and_the_first_one_with_a_provider_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "governor.toml").write_text('[provider.hub]\nhosts = ["api.hub.com"]\n')
    with no_default_yet():
        monkeypatch.setenv("GOVERNOR_CONFIG", str(file))
        threads = set(enumerate_threads())
        terms = HostTerms(settings({"api.github.com": "github"}))
        unmapped = [terms.of(host, "/", 443) for host in ("example.com", "localhost", "")]
        known = [found.provider for host in ("api.hub.com", "api.github.com") if (found := terms.of(host, "/", 443))]
        before = current(), set(enumerate_threads()) - threads
        first = terms.of("api.hub.com", "/", 443)
        assert first is not None
        started = first.governor
        after = current()
        # From now on its settings count.
        started.reconfigure(Config.from_mapping({"provider": {"other": {"hosts": ["example.com"]}}}))
        followed = terms.of("example.com", "/", 443)

    assert ([None] * 3, ["hub", "github"]) == (unmapped, known)
    assert (None, set()) == before
    assert (started, "other") == (after, followed and followed.provider)


@pytest.mark.promise("R14", "R56")
def test_hosts_in_the_settings_name_a_provider_beneath_those_of_the_map_and_follow_other_settings() -> None:
    def config(**hosts: list[str]) -> Config:
        return Config.from_mapping({"provider": {name: {"hosts": of_provider} for name, of_provider in hosts.items()}})

    def found() -> list[str | None]:
        hosts = ("api.hub.com", "lab.example", "a.lab.example", "localhost")
        return [None if (one := terms.of(host, "/", 80)) is None else one.provider for host in hosts]

    with Governor(config(hub=["API.hub.com", "localhost:80"], lab=["*.lab.example"])) as governor:
        terms = HostTerms(settings({"api.hub.com": "mine"}, governor=governor))
        before = found()
        governor.reconfigure(config(other=["lab.example"]))
        after = found()
        alone = HostTerms(settings(None, governor=governor)).of("lab.example", "/")

    assert ["mine", None, "lab", "hub"] == before
    assert ["mine", "other", None, None] == after
    assert alone is not None
