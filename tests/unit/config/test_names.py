"""Names of scopes, providers and groups."""

import pytest

from governor.config import Config, describe, provider_name, provider_of, scope_name, scope_of, with_key
from governor.errors import ConfigError
from governor.policies.retry import Retry


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    "name", ["github", "github:get", "api.github.com:post", "multi_runtime", "a-b:c-d", "4chan", "default"]
)
def test_a_scope_is_a_provider_or_a_provider_and_a_method(name: str) -> None:
    assert [name, name] == [scope_name(name), scope_name(name.upper())]


@pytest.mark.promise("R01")
@pytest.mark.parametrize("name", ["", ":get", "github:", "a:b:c", "git hub", "-a", "a" * 101, "é", "a\n", 5])
def test_anything_else_is_no_scope(name: object) -> None:
    with pytest.raises(ConfigError, match="a scope such as 'github' or 'github:post', of letters from a to z"):
        scope_name(name)


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Gemini:Flash", "the provider 'gemini' with the method 'flash', or the provider 'gemini-flash'"),
        ("Hugging Face", "did you mean 'hugging-face'?"),
        ("https://api.github.com/", "did you mean 'api.github.com'?"),
        ("a:b:c", "did you mean 'a-b-c'?"),
    ],
)
def test_a_name_that_is_no_provider_is_rejected_with_the_name_to_write_instead(name: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        provider_name(name)

    assert caught.value.value == name
    assert advice in str(caught.value)


def test_a_scope_is_checked_part_by_part() -> None:
    assert ["github", "github:get"] == [scope_of("GitHub"), scope_of("GitHub", "GET")]
    for provider, method, field in (
        ("git hub", "get", "provider"),
        ("github", "get:all", "method"),
        ("default", "get", "provider"),
    ):
        with pytest.raises(ConfigError) as caught:
            scope_of(provider, method)
        assert field == caught.value.field


def test_a_scope_with_other_characters_is_rejected_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'hugging-face:chat-completion'"):
        scope_name("Hugging Face:chat completion")


@pytest.mark.promise("R01")
def test_a_name_has_at_most_100_characters_on_each_side() -> None:
    most, beyond = "a" * 100, "a" * 101

    assert f"{most}:{most}" == scope_name(f"{most}:{most}")
    for name in (f"{beyond}:a", f"a:{beyond}"):
        with pytest.raises(ConfigError):
            scope_name(name)


def test_the_default_has_no_methods_of_its_own() -> None:
    with pytest.raises(ConfigError, match="'default' alone"):
        scope_name("default:post")


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


@pytest.mark.promise("R01", "R14")
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("GPT-5", "llm/gpt-5"),
        ("meta/llama-4", "llm/meta/llama-4"),
        ("llama3:8b", "llm/llama3-8b"),
        ("ft:gpt-4o::Org x", "llm/ft-gpt-4o-org-x"),
        ("../a", "llm/a"),
        ("x" * 200, f"llm/{'x' * 100}"),
    ],
)
def test_any_text_is_a_key(key: str, expected: str) -> None:
    assert expected == with_key("LLM", key)
    assert f"{expected}:post" == scope_of(with_key("llm", key), "POST") == scope_name(f"{expected}:POST")
    assert "llm" == provider_of(f"{expected}:post")


@pytest.mark.parametrize("key", ["", "::", 5, None])
def test_what_has_no_letter_and_no_digit_is_no_key(key: object) -> None:
    with pytest.raises(ConfigError, match="the name of a model"):
        with_key("llm", key)
