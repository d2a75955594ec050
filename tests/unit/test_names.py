"""Names of providers mean the same, and are rejected with the same reason, wherever a program says them."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from governor import Config, ConfigError, Governor, Permit, PermitDenied
from governor.testing import denying
from governor_client import AsyncGovernedTransport, GovernedTransport, GovernorClient, TrafficControlledHttpClient

pytestmark = pytest.mark.promise("R01")


@pytest.fixture
def governor() -> Iterator[Governor]:
    """A governor that grants one call to github, ever."""
    with Governor(Config.from_mapping({"outbound": {"GitHub": {"limits": ["1 per 300 days strict"]}}})) as governor:
        yield governor


ASKS: dict[str, Callable[[Governor, str], object]] = {
    "try_permit": lambda governor, name: governor.try_permit(name, "GET"),
    "permit": lambda governor, name: governor.permit(name, "GET", timeout=0).__enter__(),
    "async permit": lambda governor, name: anyio.run(governor.permit(name, "GET", timeout=0).__aenter__),
    "acquire_blocking": lambda governor, name: governor.acquire_blocking(name, "GET", timeout=0),
    "a client": lambda governor, name: GovernorClient(governor).try_permit(name, "GET"),
}
SAYS: dict[str, Callable[[Governor, str], object]] = {
    **ASKS,
    "denying": lambda governor, name: denying(governor, name, "GET").__enter__(),
    "plan_retry": lambda governor, name: governor.plan_retry(name, "GET", attempt=1),
    "a transport": lambda governor, name: GovernedTransport(name, governor=governor),
    "an async transport": lambda governor, name: AsyncGovernedTransport(name, governor=governor),
    "an HTTP client": lambda governor, name: TrafficControlledHttpClient(name, governor=governor),
    "degraded_exempt": lambda _, name: Config.from_mapping({"global": {"degraded_exempt": [name]}}),
}


@pytest.mark.parametrize("way", ASKS)
def test_a_provider_in_any_case_is_one_provider(governor: Governor, way: str) -> None:
    with suppress(PermitDenied):
        ASKS[way](governor, "GitHub")
    denials = [governor.try_permit(name, "get") for name in ("github", "GitHub", "GITHUB")]

    assert ["github:get"] == list(governor.statistics().scopes)
    assert ["github:get"] * 3 == [denial.scope for denial in denials if not isinstance(denial, Permit)]


@pytest.mark.parametrize("way", SAYS)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "gemini:flash",
            "a name without ':', which separates provider and method: the provider 'gemini' with the method 'flash'",
        ),
        ("Hugging Face", "(did you mean 'hugging-face'?)"),
    ],
)
def test_a_name_that_cannot_be_is_rejected_with_the_same_reason_everywhere(
    governor: Governor, way: str, name: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        SAYS[way](governor, name)

    assert reason in str(caught.value)


@pytest.mark.parametrize("way", ["a transport", "an HTTP client", "degraded_exempt"])
def test_a_provider_with_a_key_is_rejected_where_keys_are_given_otherwise(governor: Governor, way: str) -> None:
    with pytest.raises(ConfigError, match="a name without '/', which separates provider and key: the provider 'openai'"):
        SAYS[way](governor, "openai/gpt-5")


@pytest.mark.promise("R53")
def test_a_mistake_in_a_section_in_another_case_is_found_in_the_file_and_variables_change_it(tmp_path: Path) -> None:
    file = tmp_path / "governor.toml"
    file.write_text("[outbound.GitHub]\nlimits = []\nlimit = 5\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Config.load(file, environ={}, env_file=None)
    file.write_text('[outbound.GitHub]\nlimits = ["2/s"]\nbreaker.failures = 7\n', encoding="utf-8")
    config = Config.load(file, environ={"GOVERNOR__OUTBOUND__GITHUB__LIMITS": "['5/s']"}, env_file=None)

    assert (str(file), 3, 1) == caught.value.problems[0][4:]
    assert ("5/s burst 5", 7) == (config.for_scope("github").limits[0].describe(), config.for_scope("github").breaker.failures)
