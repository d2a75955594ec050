"""Names of scopes, providers and groups."""

import pytest

from governor.config import check_scope, provider_of
from governor.errors import ConfigError


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    "name", ["github", "github:get", "api.github.com:post", "multi_runtime", "a-b:c-d", "4chan", "default"]
)
def test_a_scope_is_a_provider_or_a_provider_and_a_method(name: str) -> None:
    check_scope(name)


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    "name", ["", "GitHub", "github:GET", ":get", "github:", "a:b:c", "git hub", "-a", "a" * 101, "é", "a\n", 5]
)
def test_anything_else_is_no_scope(name: object) -> None:
    with pytest.raises(ConfigError, match="a scope such as 'github' or 'github:post', of lower-case letters"):
        check_scope(name)


def test_a_name_has_at_most_100_characters_on_each_side() -> None:
    check_scope("a" * 100 + ":" + "b" * 100)


def test_the_default_has_no_methods_of_its_own() -> None:
    with pytest.raises(ConfigError, match="'default' alone"):
        check_scope("default:post")


@pytest.mark.parametrize("scope", ["github", "github:post"])
def test_the_provider_of_a_scope_is_what_stands_before_the_colon(scope: str) -> None:
    assert "github" == provider_of(scope)
