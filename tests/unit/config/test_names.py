"""Names of scopes, providers and groups."""

import pytest

from governor.config import Config, check_scope, describe, provider_of
from governor.errors import ConfigError
from governor.policies.retry import Retry


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


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *[(typed, "post") for typed in ("psot", "posst", "pst")],
        *[
            ("gte", "get"),
            ("geet", "get"),
            ("upt", "put"),
            ("haed", "head"),
            ("pathc", "patch"),
            ("ptch", "patch"),
            ("trcae", "trace"),
        ],
        *[(typed, "delete") for typed in ("delte", "detele", "delate", "dellete")],
        *[("optoins", "options"), ("oprions", "options"), ("conect", "connect")],
    ],
)
def test_a_method_of_http_with_a_typing_mistake_has_no_section(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping({"outbound": {f"github:{typed}": {"limits": ["5/s"]}}})

    assert f'outbound."github:{typed}"' == caught.value.field
    assert f"unknown method {typed!r} in scope 'github:{typed}'; did you mean 'github:{meant}'?" == str(caught.value)


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    "method",
    [
        *("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch", "query", "purge"),
        *("embeddings", "posts", "deleted", "host", "read", "batch", "match", "path", "stop", "set", "push", "upload", "input"),
    ],
)
def test_other_words_are_methods_as_well(method: str) -> None:
    config = Config.from_mapping({"outbound": {f"github:{method}": {"limits": ["5/s"]}}})

    assert "5/s burst 5" == describe(config.for_scope(f"github:{method}").limits[0])


@pytest.mark.parametrize(("typed", "meant"), [("PSOT", "POST"), ("DELTE", "DELETE")])
def test_a_retry_names_no_method_with_a_typing_mistake(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"^methods is .* and '{typed}' is none \(did you mean '{meant}'\?\)"):
        Retry(methods=frozenset({"GET", typed}))
