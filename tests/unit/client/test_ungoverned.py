import httpx2
import pytest

from governor import ConfigError
from governor_client._ungoverned import Ungoverned


def covers(url: str, *declared: str, govern_loopback: bool = True) -> bool:
    parsed = httpx2.URL(url)
    return Ungoverned(declared, govern_loopback=govern_loopback).covers(parsed.host, parsed.path)


LOOPBACK = [
    "http://localhost/",
    "http://LocalHost:8000/",
    "http://localhost./",
    "http://api.localhost/",
    "http://127.0.0.1/",
    "http://127.255.255.254:80/",
    "http://[::1]:8080/",
    "http://[::ffff:127.0.0.1]/",
]


@pytest.mark.promise("R52")
@pytest.mark.parametrize("url", LOOPBACK)
def test_the_machine_itself_is_no_provider_unless_the_caller_asks(url: str) -> None:
    assert (True, False) == (covers(url, govern_loopback=False), covers(url, govern_loopback=True))


@pytest.mark.promise("R52")
@pytest.mark.parametrize(
    "url",
    [
        "https://api.github.com/",
        "https://localhost.example.com/",
        "https://mylocalhost/",
        "http://128.0.0.1/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example.com/",
        "http://[::2]/",
        "http://[::ffff:10.0.0.1]/",
    ],
)
def test_every_other_host_is(url: str) -> None:
    assert not covers(url, govern_loopback=False)


@pytest.mark.promise("R52")
@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://api.example.com/health", True),
        ("https://api.example.com/health/", True),
        ("https://api.example.com/health/live?deep=1", True),
        ("https://api.example.com/healthy", False),
        ("https://api.example.com/v1/health", False),
        ("https://api.example.com/", False),
        ("https://api.example.com/health/../pay", False),
        ("https://api.example.com/health/%2e%2e/pay", False),
        ("https://probe.example.com/anything", True),
        ("https://PROBE.example.com./anything", True),
        ("https://probe.example.com.evil.org/", False),
        ("https://other.probe.example.com/", False),
    ],
)
def test_declared_paths_end_at_a_slash_and_declared_hosts_are_whole(url: str, *, covered: bool) -> None:
    assert covered == covers(url, "/health/", "probe.example.com")


def test_an_address_of_version_6_can_be_declared_with_and_without_brackets() -> None:
    assert (True, True) == (covers("http://[fd00::1]/", "[fd00::1]"), covers("http://[fd00::1]/", "fd00::1"))


@pytest.mark.parametrize("entry", ["", "/", "//", " ", "https://probe.example.com", "probe.example.com/health", " probe"])
def test_an_entry_that_cannot_be_meant_is_rejected(entry: str) -> None:
    with pytest.raises(ConfigError) as raised:
        covers("https://example.com", entry)

    assert ("ungoverned", entry) == (raised.value.field, raised.value.value)


def test_a_text_in_place_of_a_list_is_rejected() -> None:
    with pytest.raises(ConfigError, match="ungoverned is '/health'"):
        Ungoverned("/health", govern_loopback=False)
