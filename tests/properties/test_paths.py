"""Path tricks: however a path is spelled, it is not treated more laxly than any way in which an application may read it."""

from functools import reduce
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governor import Config
from governor.config.paths import Paths, normal_form

CONFIG: Final = Config.from_mapping({})
PATHS: Final = Paths(CONFIG.inbound, CONFIG.inbound_settings.exempt_paths)
PREFIXES: Final = {path: name for name, group in CONFIG.inbound.items() for path in group.paths}
EXEMPT: Final = CONFIG.inbound_settings.exempt_paths

#: Requests per second of one caller; the built-in groups have each one limit.
RATES: Final = {"models_introspection": 3, "memory": 10, "chat": 30}
SEGMENTS: Final = st.sampled_from(["api", "v1", "chat", "chatter", "models", "introspection", "memory", "health", "docs", "x"])

nasty = st.text(alphabet="/\\.;%25ceEF chatCHAT\0ßİ\ud800", max_size=30)
plain_paths = st.one_of(
    st.builds(
        lambda head, tail: head + "".join(f"/{segment}" for segment in tail),
        st.sampled_from([*PREFIXES, *(path.rstrip("/") for path in EXEMPT)]),
        st.lists(SEGMENTS, max_size=2),
    ),
    st.lists(SEGMENTS, min_size=1, max_size=5).map(lambda segments: "".join(f"/{segment}" for segment in segments)),
)


def rate(group: str | None) -> float:
    """How lax a group is; who should be exempt belongs to the default when there is doubt."""
    return RATES.get(group or "default", 20)


def is_exempt(path: str) -> bool:
    """The rule of exempt paths, said once more, for paths that have no dot segments and the like."""
    return any(path == exempt or (exempt.endswith("/") and f"{path}/".startswith(exempt)) for exempt in EXEMPT)


def naive(path: str) -> str | None:
    """The rule, said once more."""
    if is_exempt(path):
        return None
    reaching = [prefix for prefix in PREFIXES if path == prefix or path.startswith(f"{prefix}/")]
    return PREFIXES[max(reaching, key=len)] if reaching else "default"


Trick = tuple[str, int, int]
tricks = st.lists(
    st.tuples(
        st.sampled_from(["quote", "upper", "double", "dot", "up", "tail", "parameter", "backslash", "end"]),
        st.integers(0, 40),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=5,
)


def tricked(path: str, trick: Trick) -> str:
    """The same path, spelled in another way at some place."""
    kind, at, times = trick
    slashes = [place for place, character in enumerate(path) if character == "/"] or [0]
    slash, place = slashes[at % len(slashes)], at % len(path)
    match kind:
        case "quote":
            quoted = f"%{ord(path[place]):02x}" if path[place].isascii() else path[place]
            return path[:place] + reduce(lambda text, _: text.replace("%", "%25"), range(times - 1), quoted) + path[place + 1 :]
        case "upper":
            return path[:place] + path[place:].upper()
        case "double":
            return path[:slash] + "/" * times + path[slash:]
        case "dot":
            return path[:slash] + "/." * times + path[slash:]
        case "up":
            return path[:slash] + "/x" * times + "/.." * times + path[slash:]
        case "tail":
            return path + "." * times
        case "parameter":
            return path + ";v=1" * times
        case "backslash":
            return path[:slash] + "\\" + path[slash + 1 :]
        case _:
            return path + "/" * times


@pytest.mark.promise("R20")
@given(plain_paths)
def test_a_plain_path_belongs_where_the_rule_says(path: str) -> None:
    assert naive(path) == PATHS.group(path)


@pytest.mark.promise("R20", "R24")
@given(plain_paths, tricks)
def test_a_trick_never_leads_to_a_laxer_group(path: str, tricks: list[Trick]) -> None:
    spelled = reduce(tricked, tricks, path)
    group = PATHS.group(spelled)

    assert group is not None or is_exempt(spelled)
    assert rate(group) <= rate(naive(path))


@pytest.mark.promise("R20", "R24")
@given(plain_paths, nasty)
@example("/api/v1/models/introspection", "/../../chat")
def test_what_an_application_serves_that_takes_paths_as_they_come_is_not_laxer(path: str, rest: str) -> None:
    spelled = f"{path}/{rest}"

    assert rate(PATHS.group(spelled)) <= rate(naive(path))


@given(st.one_of(nasty, st.text()))
def test_a_normal_form_is_its_own_normal_form(path: str) -> None:
    assert normal_form(path) == normal_form(normal_form(path))


@pytest.mark.promise("R23", "R24")
@given(st.one_of(nasty, st.text(), st.builds("{}{}".format, st.sampled_from(EXEMPT), nasty)))
@example("/docs//..")
@example("/docs/..")
@example("/docs/%2e%2E/x")
def test_only_a_path_that_leaves_no_doubt_is_exempt(path: str) -> None:
    assert PATHS.group(path) is not None or (is_exempt(path) and path.lower().removesuffix("/") == normal_form(path))


# Root paths: what a server tells, what applications make of it, and what somebody may write.

ROOTS: Final = st.sampled_from(["/svc", "/svc/", "/a/b", "/api", "/api/v1", "/api/v1/chat", "/docs", "/health", "/Svc"])


def seen(path: str, root: str) -> str:
    """The path by which Starlette, FastAPI and others look for a route."""
    root = root.rstrip("/")
    return (path[len(root) :] or "/") if path == root or path.startswith(f"{root}/") else path


@pytest.mark.promise("R20", "R24")
@given(plain_paths, ROOTS, st.booleans(), st.lists(st.sampled_from(["upper", "double", "up", "quote"]), max_size=2))
@example("/health", "/svc", True, [])
def test_with_a_root_path_in_front_or_not_a_request_is_limited_as_the_route_that_answers_it(
    route: str, root: str, in_front: bool, spelled: list[str]
) -> None:
    path = reduce(lambda text, kind: tricked(text, (kind, 3, 1)), spelled, root.rstrip("/") + route if in_front else route)
    answered = naive(seen(path, root))
    group = PATHS.group(path, root)

    assert (group is None) <= (answered is None or naive(path) is None)
    if answered not in (None, "default"):
        assert rate(group) <= rate(answered)


@pytest.mark.promise("R20", "R23")
@given(plain_paths, st.sampled_from(["/svc", "/a/b", "/srv/svc"]), st.booleans())
def test_a_root_path_that_no_setting_knows_changes_nothing(route: str, root: str, in_front: bool) -> None:
    assert naive(route) == PATHS.group(root + route if in_front else route, root)


@pytest.mark.promise("R20", "R23", "R24")
@given(st.one_of(nasty, st.text()), st.one_of(ROOTS, nasty, st.text()))
def test_any_path_and_any_root_path_have_an_answer_and_it_stays_the_same(path: str, root: str) -> None:
    assert PATHS.group(path, root) == Paths(CONFIG.inbound, EXEMPT).group(path, root)
