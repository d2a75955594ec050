import pytest

from governor import Config, ConfigError
from governor.config.paths import LONGEST, MOST_REMEMBERED, Paths, normal_form

CONFIG = Config.from_mapping({})


def paths(config: Config = CONFIG) -> Paths:
    return Paths(config.inbound, config.inbound_settings.exempt_paths)


@pytest.mark.promise("R20")
@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/api/v1/models/introspection", "models_introspection"),
        ("/api/v1/models/introspection/deep", "models_introspection"),
        ("/api/v1/models/introspections", "models"),
        ("/api/v1/models", "models"),
        ("/api/v1/models/", "models"),
        ("/api/v1/chat", "chat"),
        ("/api/v1/chat/42", "chat"),
        ("/api/v1/chatter", "default"),
        ("/api/v1", "default"),
        ("/", "default"),
        ("", "default"),
        ("*", "default"),
        ("http://example.com/api/v1/chat", "default"),
    ],
)
def test_a_path_belongs_to_the_longest_prefix_that_ends_at_a_segment(path: str, group: str) -> None:
    assert group == paths().group(path)


@pytest.mark.promise("R23")
@pytest.mark.parametrize(
    "path", ["/health", "/docs", "/docs/oauth2-redirect", "/openapi.json", "/api/v1/traffic-control/status"]
)
def test_health_checks_docs_and_our_own_pages_are_exempt(path: str) -> None:
    assert paths().group(path) is None


@pytest.mark.promise("R23", "R24")
@pytest.mark.parametrize(
    "path",
    [
        "/healthy",
        "/health/",
        "/Health",
        "//health",
        "/health/../x",
        "/x/../health",
        "/health;v=1",
        "/%68ealth",
        "/health.",
        "\\health",
    ],
)
def test_a_path_that_can_be_read_in_another_way_is_not_exempt(path: str) -> None:
    assert "default" == paths().group(path)


TRICKS = [
    "/api/v1/models/introspection/",
    "//api//v1/models///introspection",
    "/api/v1/models/./introspection",
    "/api/v1/models/x/../introspection",
    "/api/v1/models/introspection/../introspection",
    "/api/v1/chat/../models/introspection",
    "/../../api/v1/models/introspection",
    "/API/V1/Models/Introspection",
    "/api/v1/models/introspection.",
    "/api/v1/models./introspection. .",
    "/api/v1/models;a=1/introspection;b=2",
    "/api/v1/models/..;/models/introspection",
    "\\api\\v1\\models\\introspection",
    "/api/v1/models/%69ntrospection",
    "/api/v1/models/%2569ntrospection",
    "/api/v1/models/%%36%39ntrospection",
    "/api/v1/models%2fintrospection",
    "/api/v1/models%255cintrospection",
    "/api/v1/x/%2e%2E/models/introspection",
    "/api/v1/models/introspection%20",
]


@pytest.mark.promise("R20", "R24")
@pytest.mark.parametrize("path", TRICKS)
def test_no_spelling_of_a_path_leads_to_a_laxer_group(path: str) -> None:
    assert "models_introspection" == paths().group(path)


@pytest.mark.promise("R20", "R24")
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/models/introspection/../../chat",
        "/api/v1/models/introspection/%2e%2e/%2e%2e/chat",
        "/api/v1/models/introspection/x/../../../chat",
        "/API/V1/models/introspection/../../chat",
    ],
)
def test_an_application_that_does_not_resolve_dots_is_protected_as_well(path: str) -> None:
    assert "models_introspection" == paths().group(path)


def test_a_group_within_a_stricter_one_is_not_reached_by_what_the_outer_one_serves() -> None:
    config = Config.from_mapping(
        {
            "inbound": {
                "outer": {"paths": ["/api"], "limits": ["1/s burst 1"]},
                "inner": {"paths": ["/api/v1"], "limits": ["9/s burst 9"]},
            }
        }
    )

    assert ["inner", "outer"] == [paths(config).group(path) for path in ("/api/v1", "/api//v1")]


@pytest.mark.promise("R24")
def test_a_path_that_is_too_long_to_be_read_belongs_to_the_strictest_group() -> None:
    longest = f"/api/v1/chat/{'x' * LONGEST}"[:LONGEST]

    assert ["chat", "models_introspection"] == [paths().group(path) for path in (longest, f"{longest}x")]


def test_a_dry_run_is_laxer_than_any_limit() -> None:
    config = Config.from_mapping(
        {"inbound": {"dry": {"paths": ["/dry"], "limits": ["1/s burst 1"], "dry_run": True}, "wet": {"paths": ["/wet"]}}}
    )

    assert "wet" == paths(config).group("/dry/../wet")


def test_settings_are_compared_in_the_same_form() -> None:
    config = Config.from_mapping({"inbound": {"exempt_paths": ["/Probe/"], "up": {"paths": ["/Up//Load/"]}}})

    assert [None, "up"] == [paths(config).group(path) for path in ("/probe", "/up/load/1")]


def test_a_path_and_another_spelling_of_it_cannot_belong_to_two_groups() -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_mapping({"inbound": {"one": {"paths": ["/up"]}, "two": {"paths": ["/Up/"]}}})

    assert ("inbound.two.paths", "/Up/") == (raised.value.field, raised.value.value)


def test_everything_can_be_one_group() -> None:
    config = Config.from_mapping({"inbound": {"all": {"paths": ["/"]}}})

    assert ["all", "all", None] == [paths(config).group(path) for path in ("/", "/x", "/health")]


@pytest.mark.promise("R24")
def test_no_more_paths_are_remembered_than_there_is_room_for() -> None:
    known = paths()
    for number in range(MOST_REMEMBERED + 10):
        known.group(f"/api/v1/chat/{number}")
    known.group(f"/api/v1/chat/{'x' * 1000}")

    assert 10 == len(known._remembered)


@pytest.mark.parametrize("path", ["/", "/a/b", "/a/../..", "%", "/%zz", "/a%2", "\ud800", "/ß/İ", "/\0"])
def test_a_normal_form_begins_with_a_slash_and_stays_as_it_is(path: str) -> None:
    normal = normal_form(path)

    assert (True, normal) == (normal.startswith("/"), normal_form(normal))
