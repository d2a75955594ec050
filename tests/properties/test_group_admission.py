"""The decision of a group in one call, beside the same group that asks each of its tables."""

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor import Config, InboundRequest
from governor._actors.inbound.group import GroupActor
from governor._units import SECOND, Instant
from governor.instrumentation import Announcer
from governor.policies.clients.buckets import ClientBuckets

#: Buckets of several speeds, so that one is the last to grant, and another is.
LIMITS: Final = st.lists(
    st.sampled_from(["1/s burst 2", "7/s burst 3", "3 per 2s burst 5", "1/h burst 4", "1000/s burst 1"]), max_size=2
)
#: Keys in two parts of the tables, and in the first of them more than it may have room for.
KEYS: Final = st.sampled_from([b"a\0", b"b\0", b"c\0", b"d\0", b"e\1"])
REQUESTS: Final = st.builds(InboundRequest, KEYS, KEYS, cost=st.sampled_from([1, 1, 1, 2, 9]))
GAPS: Final = st.sampled_from([0, 0, 0, 0, 1, SECOND // 7, SECOND - 1, SECOND, 90 * SECOND, -SECOND])


@pytest.mark.promise("R21")
@settings(max_examples=100)
@given(
    st.tuples(LIMITS, LIMITS, LIMITS),
    st.lists(st.tuples(GAPS, REQUESTS, st.booleans()), min_size=10, max_size=40),
    st.sampled_from([512, 768, 1, 10_000]),
    st.booleans(),
)
def test_one_call_decides_as_each_table_does_and_leaves_the_same_behind(
    limits: tuple[list[str], list[str], list[str]],
    asks: Sequence[tuple[int, InboundRequest, bool]],
    max_clients: int,
    dry_run: bool,
) -> None:
    now = Instant(100_000 * SECOND)
    said = dict(zip(("limits", "address_limits", "total_limits"), limits, strict=True))
    policy = Config.from_mapping({"inbound": {"default": {**said, "dry_run": dry_run}}}).inbound["default"]
    actor, plain = (
        GroupActor(
            "chat",
            policy,
            max_clients=max_clients,
            now=lambda: now,
            announcer=Announcer(lambda: 0.0),
            start=lambda _: None,
        )
        for _ in range(2)
    )
    plain._buckets = None
    for gap, request, swept in asks:
        now = Instant(now + gap)

        assert plain.admit(request) == actor.admit(request)
        assert plain.least(request) == actor.least(request)
        if swept:
            assert plain._sweep() == actor._sweep()

    assert _state(plain) == _state(actor)
    assert plain.counters.record() == actor.counters.record()


def _state(actor: GroupActor) -> list[object]:
    tables = [table for table in actor._tables.values() if isinstance(table, ClientBuckets)]
    return [(table._tables, table._floors) for table in tables]
