"""Inbound groups that other processes name: their settings, and the room for them."""

import pytest

from governor import Config, ConfigError, InboundRequest, Instant
from governor._actors.inbound import groups
from governor._actors.inbound.groups import Groups, digest_of
from governor._units import HOUR, SECOND
from governor.config import InboundGroup, parse_limit
from governor.instrumentation import Announcer
from governor.messages import InboundDenied

REQUEST = InboundRequest(b"a" * 16, b"i" * 16)
ENDPOINT = InboundGroup(limits=(parse_limit("1/s burst 1"),), address_limits=(), total_limits=())


def config(limit: str, **others: str) -> Config:
    none: dict[str, object] = {"address_limits": [], "total_limits": []}
    named = {name: {"paths": [f"/{name}"], "limits": [one], **none} for name, one in others.items()}
    return Config.from_mapping({"inbound": {"default": {"paths": ["/all"], "limits": [limit], **none}, **named}})


@pytest.fixture
def now() -> list[int]:
    return [1000 * HOUR]


@pytest.fixture
def made(now: list[int]) -> Groups:
    return Groups(
        config("1/s burst 2"), now=lambda: Instant(now[0]), announcer=Announcer(lambda: 0.0), start=lambda group: None
    )


def granted(made: Groups, name: str) -> int:
    group = made.named_elsewhere(name)
    assert group is not None
    return sum(group.admit(REQUEST) is None for _ in range(9))


@pytest.mark.promise("R60")
def test_a_group_that_the_settings_do_not_have_is_limited_as_the_default_is_and_follows_its_changes(
    made: Groups, now: list[int]
) -> None:
    before = granted(made, "chat"), granted(made, "default")
    now[0] += HOUR
    made.reconfigure(config("1/s burst 3"))
    changed = granted(made, "chat")
    made.reconfigure(config("1/s burst 3", chat="1/s burst 5"))
    now[0] += HOUR
    named = granted(made, "chat")

    assert (2, 2) == before
    assert (3, 5) == (changed, named)
    with pytest.raises(ConfigError):
        made.named_elsewhere("No Name")


@pytest.mark.promise("R64")
def test_where_there_is_no_room_groups_at_rest_make_some_and_none_else(
    made: Groups, now: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MAX_UNNAMED", 2)
    monkeypatch.setattr(groups, "MAX_ENDPOINTS", 2)
    assert granted(made, "one") == granted(made, "two") == 2
    of_code = [made.endpoint_elsewhere(number, "x", ENDPOINT) for number in range(2)]
    for group in of_code:
        assert group is not None
        group.admit(REQUEST)
    full = made.named_elsewhere("three"), made.endpoint_elsewhere(2, "x", ENDPOINT)
    now[0] += HOUR
    for group in made.by_name.values():
        for _ in range(256):
            group._sweep()
    made.by_name["two"].admit(REQUEST)
    room = made.named_elsewhere("three"), made.endpoint_elsewhere(2, "x", ENDPOINT)

    assert (None, None) == full
    assert None not in room
    assert {"default", "two", "three", "endpoint:x"} == set(made.by_name)
    assert 7 == made.forgotten.requests + sum(group.counters.requests for group in made.by_name.values())


def test_a_digest_differs_for_other_settings_and_not_for_another_order() -> None:
    one, same = config("1/s burst 2", a="1/s", b="2/s"), config("1/s burst 2", b="2/s", a="1/s")

    assert digest_of(one) == digest_of(same) != digest_of(config("1/s burst 2", a="1/s", b="3/s"))


@pytest.mark.promise("R63")
@pytest.mark.parametrize("limit", ["4 per 2s burst 4", "4 per 2s strict"])
def test_of_a_limit_that_is_used_up_no_more_comes_back_than_time_brings(now: list[int], limit: str) -> None:
    made = Groups(config(limit), now=lambda: Instant(now[0]), announcer=Announcer(lambda: 0.0), start=lambda group: None)
    group, since = made.by_name["default"], Instant(now[0])
    times = []
    for _ in range(60):
        group.use_up(REQUEST, since)
        if not isinstance(group.admit(REQUEST), InboundDenied):
            times.append(now[0] - since)
        now[0] += SECOND // 10

    expected = {"4 per 2s burst 4": 500_000, "4 per 2s strict": 2 * SECOND}[limit]
    assert expected == times[0]
    assert all(later - earlier >= 0 for earlier, later in zip(times, times[4:], strict=False))
    assert max(sum(start <= at < start + 2 * SECOND for at in times) for start in times) <= 4
