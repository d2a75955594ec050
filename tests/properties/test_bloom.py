"""A Bloom filter against a set."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.policies.clients._bloom import BloomFilter


@given(st.lists(st.binary(min_size=1, max_size=16)), st.integers(1, 8))
def test_it_never_forgets_a_member_however_many_there_are(keys: list[bytes], capacity: int) -> None:
    some = BloomFilter(capacity)
    for key in keys:
        some.add(key)

    assert [] == [key for key in keys if key not in some]
    assert some.count <= len(set(keys))


@pytest.mark.parametrize("capacity", [1024, 4000, 15_628])
def test_of_strangers_it_takes_one_in_400_for_a_member_when_it_is_full(capacity: int) -> None:
    random, some = Random(1), BloomFilter(capacity)

    def key() -> bytes:
        """As digests are: with a letter in front, and of one table."""
        return b"a" + random.randbytes(14) + b"\7"

    while some.count < capacity:
        some.add(key())
    mistakes = sum(key() in some for _ in range(40_000))

    assert 40_000 / 600 < mistakes < 40_000 / 300
