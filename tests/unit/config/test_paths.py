import sys

import pytest

from governor import Config, ConfigError
from governor.config.paths import MAX_CACHED, Paths, normal_form
from governor.config.sections import MAX_PATH

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
    "path",
    [
        "/health",
        "/docs",
        "/docs/",
        "/docs/oauth2-redirect",
        "/docs/Guide/",
        "/openapi.json",
        "/api/v1/status",
        "/api/v1/traffic-control",
        "/api/v1/traffic-control/status",
        "/api/v1/traffic-control/metrics/inbound:chat",
    ],
)
def test_health_checks_docs_and_our_own_pages_are_exempt(path: str) -> None:
    assert paths().group(path) is None


@pytest.mark.promise("R23")
@pytest.mark.parametrize("path", ["/health/patients", "/health/", "/openapi.json/x", "/api/v1/status/x", "/docsx", "/apidocs"])
def test_what_lies_beneath_a_path_is_exempt_only_if_that_ends_in_a_slash(path: str) -> None:
    assert "default" == paths().group(path)


@pytest.mark.promise("R23")
@pytest.mark.parametrize(
    ("setting", "exempt", "limited"),
    [
        ("/healthCheck", ["/healthCheck", "/healthcheck"], ["/HEALTHCHECK", "/healthCheck/", "/healthCheck/x"]),
        ("/healthz/", ["/healthz", "/healthz/", "/healthz/live", "/healthz/Live/"], ["/healthzz", "/Healthz", "/healthz/../x"]),
        ("/Static/", ["/Static/Logo.PNG", "/static/Logo.PNG", "/Static"], ["/STATIC/x", "/Static//x", "/Static/%2e%2e/x"]),
        ("//up", ["//up", "/up"], ["///up"]),
        ("/", ["/"], ["/x", "", "//"]),
        ("/état/", ["/état", "/état/x"], ["/ÉTAT/x", "/e%CC%81tat/x"]),
    ],
)
def test_an_exempt_path_is_met_as_it_is_written_and_in_its_normal_form(
    setting: str, exempt: list[str], limited: list[str]
) -> None:
    known = paths(Config.from_mapping({"inbound": {"exempt_paths": [setting]}}))

    assert ([], []) == (
        [path for path in exempt if known.group(path) is not None],
        [path for path in limited if known.group(path) is None],
    )


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


@pytest.mark.promise("R20", "R24")
def test_a_path_that_is_too_long_to_be_read_belongs_to_the_strictest_group() -> None:
    longest = f"/api/v1/chat/{'x' * MAX_PATH}"[:MAX_PATH]

    assert ["chat", "models_introspection"] == [paths().group(path) for path in (longest, f"{longest}x")]


@pytest.mark.promise("R20")
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
    for number in range(MAX_CACHED + 10):
        known.group(f"/api/v1/chat/{number}")
    known.group(f"/api/v1/chat/{'x' * 1000}")

    assert 10 == len(known.known)


@pytest.mark.parametrize("path", ["/", "/a/b", "/a/../..", "%", "/%zz", "/a%2", "\ud800", "/ß/İ", "/\0"])
def test_a_normal_form_begins_with_a_slash_and_stays_as_it_is(path: str) -> None:
    normal = normal_form(path)

    assert (True, normal) == (normal.startswith("/"), normal_form(normal))


# Root paths. Each case: the root path of the server, the path of the request, and its group.

ROOTED = Config.from_mapping(
    {
        "inbound": {
            "exempt_paths": ["/health", "/docs/", "/svc/ready"],
            "default": {"limits": ["5/s burst 5"]},
            "login": {"paths": ["/api/login"], "limits": ["1/s burst 1"]},
            "feed": {"paths": ["/api/feed"], "limits": ["9/s burst 9"]},
            "outside": {"paths": ["/svc/pay", "/svc/api/login/hard"], "limits": ["2/s burst 2"]},
            "whole": {"paths": ["/lax", "/tight/er"], "limits": ["8/s burst 8"]},
            "tight": {"paths": ["/tight"], "limits": ["3/s burst 3"]},
        }
    }
)


@pytest.mark.promise("R20", "R23")
@pytest.mark.parametrize(
    ("root", "path", "group"),
    [
        # The server puts the root path in front, or leaves it away.
        ("/svc", "/svc/api/login", "login"),
        ("/svc", "/api/login", "login"),
        ("/svc/", "/svc/api/login", "login"),
        ("/svc", "/svc/api/login/hard", "login"),
        # A group that is laxer than the default is still its own.
        ("/svc", "/svc/api/feed/1", "feed"),
        ("/svc", "/api/feed", "feed"),
        ("/svc", "/svc", "default"),
        ("/svc", "/svcapi/login", "default"),
        ("", "/svc/api/login", "default"),
        # Settings that name the paths as clients see them.
        ("/svc", "/svc/pay", "outside"),
        ("/svc", "/pay", "outside"),
        ("/svc", "/svc/svc/pay", "outside"),
        # Exempt as the application sees it, and as clients do.
        ("/svc", "/svc/health", None),
        ("/svc", "/health", None),
        ("/svc", "/svc/docs/x", None),
        ("/svc", "/svc/ready", None),
        ("/svc", "/ready", None),
        ("/svc", "/svc/svc/health", "default"),
        ("/svc", "/svc/health/x", "default"),
        ("/svc", "/svc//health", "default"),
        ("/svc", "/svc/../health", "default"),
        # The application is mounted at a path that has a meaning of its own.
        ("/health", "/health/x", "default"),
        ("/docs", "/docs/api/login", "login"),
        ("/docs", "/docs/x", "default"),
        ("/docs", "/docs", "default"),
        ("/lax", "/lax/x", "default"),
        ("/lax", "/lax/api/login", "login"),
        ("/tight", "/tight/x", "tight"),
        ("/tight", "/tight/api/feed", "tight"),
        ("/tight", "/tight/er", "tight"),
        # Tricks.
        ("/svc", "/SVC/api/login", "login"),
        ("/svc", "/svc/%61pi/login", "login"),
        ("/svc", "//svc/api/login", "login"),
        ("/svc", "/x/../svc/api/login", "login"),
        ("/svc", "/svc/x/../api/login", "login"),
        ("/svc", "/svc/../svc/api/feed/../login", "login"),
        ("/Svc", "/Svc/api/login", "login"),
        ("/a/b", "/a/b/api/login", "login"),
        ("/a/b", "/a/api/login", "default"),
    ],
)
def test_a_path_is_read_with_and_without_the_root_path(root: str, path: str, group: str | None) -> None:
    assert group == paths(ROOTED).group(path, root)


@pytest.mark.promise("R23", "R24")
def test_a_path_that_is_exempt_in_one_reading_and_has_a_group_in_the_other_is_limited() -> None:
    config = Config.from_mapping({"inbound": {"exempt_paths": ["/ready"], "ready": {"paths": ["/svc/ready"]}}})

    assert ["ready", "ready", None] == [paths(config).group("/ready", root) for root in ("/svc", "/svc/", "/other")]


def test_a_path_and_its_root_path_are_remembered_together() -> None:
    known = paths(ROOTED)

    assert ["default", "login"] * 2 == [known.group("/svc/api/login", root) for root in ("", "/svc") * 2]


def test_every_white_space_at_the_end_of_a_segment_is_removed() -> None:
    spaces = [character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace()]

    assert [] == [space for space in spaces if normal_form(f"/things{space}") != normal_form("/things")]
