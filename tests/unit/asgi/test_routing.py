"""The group of a request is found by its path and by the root path that its server states."""

import pytest

from governor import Config
from governor.asgi.routing import Router
from governor.asgi.types import Scope


def request(path: str, root: str = "") -> Scope:
    return {"type": "http", "method": "GET", "path": path, "root_path": root, "headers": []}


def test_a_path_that_is_known_without_a_root_path_is_looked_up_anew_with_one() -> None:
    inbound = {"default": {"limits": ["9/s"]}, "chat": {"paths": ["/chat"], "limits": ["1/s"]}}
    router = Router(Config.from_mapping({"inbound": inbound}), frozenset())
    groups = []
    for root in ("", "/api", "", "/api"):
        match = router.match(request("/api/chat", root))
        groups.append(None if match is None else match.group)

    assert ["default", "chat", "default", "chat"] == groups


@pytest.mark.parametrize("own", ["", "/api"])
def test_the_root_path_of_an_application_that_is_mounted_counts(own: str) -> None:
    inbound = {"default": {"limits": ["9/s"]}, "chat": {"paths": ["/chat"], "limits": ["1/s"]}}
    router = Router(Config.from_mapping({"inbound": inbound}), frozenset(), own)
    scope = {"type": "http", "method": "GET", "path": "/api/chat", "headers": []}
    plain = router.match(scope)
    mounted = router.match({**scope, "app_root_path": "/api"})

    assert plain is not None
    assert mounted is not None
    assert ("chat" if own else "default", "chat") == (plain.group, mounted.group)


def test_an_exempt_path_is_exempt_each_time() -> None:
    router = Router(Config.from_mapping({"inbound": {"exempt_paths": ["/ready"]}}), frozenset())

    assert [None, None] == [router.match(request("/ready")) for _ in range(2)]
