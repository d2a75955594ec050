"""Floods of invented names against strict windows for each client."""

from collections.abc import Iterator
from random import Random

import pytest

from governor._units import DAY, HOUR, Duration, Instant
from governor.policies.clients.windows import ClientWindows
from governor.policies.windows.parameters import StrictWindow

pytestmark = pytest.mark.promise("R24")

TABLES = ClientWindows.TABLES
NOW = Instant(10 * DAY)


def keys(seed: int, count: int, table: int = 7) -> Iterator[bytes]:
    """Distinct keys of one table, as digests are."""
    random = Random(seed)
    for _ in range(count):
        yield b"a" + random.randbytes(14) + bytes((table,))


def spend(policy: ClientWindows, key: bytes, times: int = 1) -> None:
    for _ in range(times):
        if policy.earliest(NOW, key) <= NOW:
            policy.commit(NOW, key)


@pytest.mark.parametrize(("amount", "finds"), [(1, 1), (2, 2), (3, 2), (10, 6), (99, 50)])
def test_no_flood_of_names_costs_a_new_client_half_of_its_window(amount: int, finds: int) -> None:
    policy, least = ClientWindows(StrictWindow(amount, Duration(DAY)), 4 * TABLES), []
    for number, key in enumerate(keys(1, 3000)):
        spend(policy, key)
        if number % 300 == 0:
            found = sorted(policy.available(NOW, one) for one in keys(2, 500))
            least.append(found[10])  # One in fifty is taken for a dropped one at most.
    if amount == 1:
        least = least[:3]  # Each name is at its limit at once, and the filter has room for 1,024.

    assert finds <= min(least)
    assert len(policy) <= 4 * TABLES


def test_a_client_at_its_limit_is_not_forgiven_by_any_flood_and_is_granted_as_its_window_says() -> None:
    policy = ClientWindows(StrictWindow(4, Duration(HOUR)), 4 * TABLES)
    blocked = list(keys(3, 30))
    for key in blocked:
        spend(policy, key, 9)
    for key in keys(1, 4000):
        spend(policy, key)

    assert 0 == sum(policy.available(NOW, key) for key in blocked)
    assert {Instant(NOW + HOUR)} == {policy.earliest(NOW, key) for key in blocked}
    assert 30 * 4 == sum(policy.available(Instant(NOW + HOUR), key) for key in blocked)


def test_while_the_filter_has_room_a_dropped_client_gains_nothing_by_coming_back() -> None:
    policy, granted = ClientWindows(StrictWindow(4, Duration(DAY)), TABLES), 0
    ann, *names = keys(1, 900)
    for name in names:
        granted += policy.earliest(NOW, ann) <= NOW
        spend(policy, ann)
        spend(policy, name)

    assert 4 >= granted
