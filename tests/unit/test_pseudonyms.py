"""Keys and pseudonyms of clients: the same everywhere in a governor, and without the name that they stand for."""

from typing import Final

import pytest

from governor.pseudonyms import Pseudonyms, pseudonym

ONE: Final = Pseudonyms(bytes(32))
OTHER: Final = Pseudonyms(bytes(31) + b"\1")


@pytest.mark.promise("R33")
@pytest.mark.parametrize("kind", ["actor", "session", "address"])
def test_a_client_has_one_key_in_a_governor_and_another_in_the_next(kind: str) -> None:
    key = getattr(ONE, kind)(b"ann")

    assert key == getattr(ONE, kind)(b"ann")
    assert key != getattr(OTHER, kind)(b"ann")


@pytest.mark.promise("R21")
def test_an_actor_a_session_and_an_address_of_the_same_name_are_three_clients() -> None:
    keys = {make(b"192.0.2.1") for make in (ONE.actor, ONE.session, ONE.address)}

    assert 3 == len(keys)
    assert 3 == len({key[1:] for key in keys})


@pytest.mark.promise("R33")
@pytest.mark.parametrize("kind", ["actor", "session", "address"])
def test_a_pseudonym_says_the_kind_and_ten_digits_and_no_name(kind: str) -> None:
    key = getattr(ONE, kind)(b"ann@example.com")

    assert f"{kind}-{key.hex()[2:12]}" == pseudonym(key)
    assert b"ann" not in key


@pytest.mark.promise("R33")
@pytest.mark.parametrize("key", [b"", b"\0", b"zoe@example.com"])
def test_what_is_no_key_may_be_a_name_and_is_not_shown(key: bytes) -> None:
    assert "unknown" == pseudonym(key)


@pytest.mark.promise("R24")
@pytest.mark.parametrize("name", [b"", b"x", bytes(range(256)), b"x" * 100_000])
def test_names_of_any_length_make_keys_of_one_length(name: bytes) -> None:
    assert 16 == len(ONE.actor(name))


@pytest.mark.promise("R24")
def test_the_last_bytes_of_keys_are_spread_evenly() -> None:
    last = [ONE.actor(b"%d" % number)[-1] for number in range(256 * 40)]
    counts = [last.count(byte) for byte in range(256)]

    assert 10 < min(counts)
    assert max(counts) < 80
