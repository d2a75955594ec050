from ipaddress import ip_address

import pytest

from governor.asgi.forwarded import (
    MAX_BYTES,
    MAX_HOPS,
    MAX_PEERS,
    TrustedProxies,
    address,
    elements,
    entries,
    network,
)
from governor.config import InboundSettings
from tests.support.forwarding import client_of

pytestmark = pytest.mark.promise("R24")

TRUSTED = ("10.0.0.0/8", "fd00::/8")


def told(*, peer: str = "10.0.0.1", forwarded_for: tuple[bytes, ...] = (), forwarded: tuple[bytes, ...] = ()) -> str:
    """Who is found to be the client."""
    return str(client_of(ip_address(peer), TRUSTED, forwarded_for, forwarded))


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::9"])
def test_what_an_untrusted_peer_says_changes_nothing(peer: str) -> None:
    assert peer == told(peer=peer, forwarded_for=(b"198.51.100.1",), forwarded=(b"for=198.51.100.1",))


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ((), "10.0.0.1"),
        ((b"",), "10.0.0.1"),
        ((b"198.51.100.1",), "198.51.100.1"),
        ((b" 198.51.100.1 ",), "198.51.100.1"),
        ((b"198.51.100.1:4711",), "198.51.100.1"),
        ((b"2001:db8::1",), "2001:db8::1"),
        ((b"[2001:db8::1]:4711",), "2001:db8::1"),
        ((b"::ffff:198.51.100.1",), "198.51.100.1"),
        ((b"1.1.1.1, 198.51.100.1",), "198.51.100.1"),
        ((b"1.1.1.1, 198.51.100.1, 10.0.0.2",), "198.51.100.1"),
        ((b"1.1.1.1, 198.51.100.1, fd00::2, 10.0.0.2,",), "198.51.100.1"),
        ((b"1.1.1.1", b"198.51.100.1", b"10.0.0.2"), "198.51.100.1"),
        ((b"10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ((b"1.1.1.1, unknown",), "10.0.0.1"),
        ((b"1.1.1.1, unknown, 10.0.0.2",), "10.0.0.2"),
        ((b"1.1.1.1, \xff\xfe",), "10.0.0.1"),
        ((b"1.1.1.1, 300.1.1.1",), "10.0.0.1"),
        ((b"1.1.1.1, " + b"9" * 70_000,), "10.0.0.1"),
    ],
)
def test_the_nearest_address_that_is_not_ours_is_the_client(lines: tuple[bytes, ...], client: str) -> None:
    assert client == told(forwarded_for=lines)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ((b"for=198.51.100.1",), "198.51.100.1"),
        ((b'FOR="198.51.100.1:80";proto=https;By=10.0.0.1',), "198.51.100.1"),
        ((b'for="[2001:db8::1]:_port"',), "2001:db8::1"),
        ((b"for=[2001:db8::1]:80",), "2001:db8::1"),
        ((b"for=1.1.1.1, for=198.51.100.1 ; proto=http , for=10.0.0.2",), "198.51.100.1"),
        ((b"for=1.1.1.1", b"for=198.51.100.1"), "198.51.100.1"),
        ((b"for=198.51.100.1;, ,",), "198.51.100.1"),
        ((b"for=198.51.100.1;,for=10.0.0.2",), "198.51.100.1"),
        ((b"for=1.1.1.1, for=_hidden",), "10.0.0.1"),
        ((b"for=1.1.1.1, for=unknown, for=10.0.0.2",), "10.0.0.2"),
        ((b"for=1.1.1.1, proto=http",), "10.0.0.1"),
        ((b"for=1.1.1.1;, proto=http",), "10.0.0.1"),
        ((b'for=1.1.1.1, host="a,for=2.2.2.2";for=198.51.100.1',), "198.51.100.1"),
        ((b'for=1.1.1.1, host="\\",for=2.2.2.2";for=198.51.100.1',), "198.51.100.1"),
        ((b'for=1.1.1.1, host=", for=198.51.100.1',), "198.51.100.1"),
        ((b'host=", for="198.51.100.1"',), "198.51.100.1"),
        ((b'for=1.1.1.1, host="x, for=198.51.100.1"',), "10.0.0.1"),
        ((b'for=198.51.100.1;host="a\\\\"',), "198.51.100.1"),
        ((b"x y;for=198.51.100.1",), "10.0.0.1"),
        ((b"for=1.1.1.1 for=2.2.2.2",), "10.0.0.1"),
        ((b"\xff",), "10.0.0.1"),
        ((b'host="', b"for=198.51.100.1"), "198.51.100.1"),
        ((b"x=" + b"y" * MAX_BYTES + b",for=198.51.100.1",), "198.51.100.1"),
        ((b"for=198.51.100.1;x=" + b"y" * MAX_BYTES,), "10.0.0.1"),
        ((b"for=198.51.100.1", b"for=10.0.0.2;x=" + b"y" * MAX_BYTES), "10.0.0.1"),
    ],
)
def test_the_same_is_read_from_the_standard_field(lines: tuple[bytes, ...], client: str) -> None:
    assert client == told(forwarded=lines)


def test_of_two_fields_the_one_that_nearly_all_proxies_write_counts() -> None:
    assert "198.51.100.1" == told(forwarded_for=(b"1.1.1.1, 198.51.100.1",), forwarded=(b"for=2.2.2.2",))
    assert "2.2.2.2" == told(forwarded_for=(b" , ", b""), forwarded=(b"for=2.2.2.2",))


def test_so_many_proxies_are_followed_and_no_more() -> None:
    proxies = [f"10.1.0.{number}".encode() for number in range(MAX_HOPS)]
    chain = [b"198.51.100.1", *proxies[1:]]

    assert "198.51.100.1" == told(forwarded_for=(b",".join(chain),))
    assert "10.1.0.0" == told(forwarded_for=(b",".join([b"198.51.100.1", *proxies]),))


def test_of_a_long_field_so_many_bytes_are_read_from_the_right_and_what_is_left_of_them_is_unreadable() -> None:
    entry = b"10.0.0.2, "
    far, near = b"198.51.100.1, " + entry * MAX_BYTES, entry * 3 + b" " * MAX_BYTES

    assert [b"10.0.0.2", b""] == list(entries([far]))[-2:]
    assert MAX_BYTES // len(entry) == len(list(entries([far]))) - 1
    assert [b""] == list(entries([near]))
    assert [b"1.1.1.1"] * (MAX_BYTES // 8) == list(entries([b"1.1.1.1"] * 5000))[:-1]
    assert [b""] == list(entries([b""] * 9000))
    assert [b""] == list(elements([b""] * 9000))


def proxies(header: str = "auto", trusted: tuple[str, ...] = TRUSTED) -> TrustedProxies:
    return TrustedProxies(InboundSettings(trusted_proxies=trusted, forwarded_header=header))  # type: ignore[arg-type]  # one of the names


def origin(proxies: TrustedProxies, *lines: tuple[bytes, bytes], peer: str = "10.0.0.1") -> str:
    """The address that counts, in brackets if it is that of a proxy that names no client."""
    field, values, only_the_other = proxies.lines(peer, list(lines))
    found, named = proxies.origin(address(peer), field, values)
    return str(found) if named and not only_the_other else f"({found})"


X, F = b"x-forwarded-for", b"forwarded"
ANN, BOB = (X, b"198.51.100.1"), (X, b"198.51.100.2")
FORGED = [
    (F, b"for=203.0.113.7"),
    (F, b"for=198.51.100.2"),
    (F, b"for=10.0.0.1"),
    (F, b"for=unknown"),
    (F, b"nonsense"),
    (F, b'"'),
    (F, b"\xff"),
    (F, b""),
    (F, b" , ; "),
]


@pytest.mark.parametrize("forged", FORGED, ids=lambda line: repr(line[1]))
@pytest.mark.parametrize("known", [[], [[]], [[BOB]], [[BOB, (F, b"for=1.1.1.1")]]])
def test_a_field_that_the_proxy_does_not_write_changes_nothing(
    known: list[list[tuple[bytes, bytes]]], forged: tuple[bytes, bytes]
) -> None:
    some = proxies()
    for lines in known:
        origin(some, *lines)

    assert "198.51.100.1" == origin(some, ANN, forged)
    assert "198.51.100.1" == origin(some, forged, forged, ANN)


@pytest.mark.parametrize("forged", [b"203.0.113.7", b"10.0.0.1", b"unknown", b"\xff", b"", b" ,"])
def test_nor_does_it_behind_a_proxy_that_writes_the_standard_field_once_that_is_known(forged: bytes) -> None:
    some = proxies()
    first = origin(some, (F, b"for=198.51.100.1"))

    assert ["198.51.100.1"] * 2 == [first, origin(some, (X, forged), (F, b"for=198.51.100.1"))]
    assert "198.51.100.3" == origin(some, (X, b"198.51.100.3"), (F, b"for=1.1.1.1"), peer="10.0.0.2")


def test_a_client_that_has_the_field_of_its_proxy_left_out_is_one_of_those_whom_that_names_not() -> None:
    some = proxies()
    origin(some, ANN)

    assert ["(10.0.0.1)"] * 3 == [origin(some, (F, said)) for said in (b"for=203.0.113.7", b"for=203.0.113.8", b"nonsense")]
    assert ["198.51.100.1", "10.0.0.1"] == [origin(some, ANN), origin(some)]


def test_a_stray_standard_field_is_outweighed_by_the_other_one() -> None:
    some = proxies()
    first = origin(some, (F, b"for=203.0.113.7"))

    assert ["203.0.113.7", "198.51.100.1", "198.51.100.1"] == [first, origin(some, ANN), origin(some, ANN, FORGED[0])]


def test_the_field_that_counts_can_be_set() -> None:
    both = (ANN, (F, b"for=203.0.113.7"))

    assert "198.51.100.1" == origin(proxies("x-forwarded-for"), *both)
    assert "203.0.113.7" == origin(proxies("forwarded"), *both)
    assert "(10.0.0.1)" == origin(proxies("x-forwarded-for"), both[1])
    assert "(10.0.0.1)" == origin(proxies("forwarded"), ANN)


def test_a_proxy_that_names_no_client_is_not_the_client() -> None:
    said = [b"unknown", b"_hidden", b"198.51.100.1, 300.1.1.1", b"10.0.0.2, " * (MAX_HOPS + 1)]

    assert ["(10.0.0.1)"] * 3 + ["(10.0.0.2)"] == [origin(proxies(), (X, one)) for one in said]
    assert "10.0.0.1" == origin(proxies())


def test_of_so_many_peers_it_is_remembered_what_they_write() -> None:
    some = proxies()
    for number in range(MAX_PEERS + 5):
        origin(some, (F, b"for=1.1.1.1"), peer=f"10.1.{number // 256}.{number % 256}")

    assert MAX_PEERS == len(some._writes)
    assert "203.0.113.7" == origin(some, (F, b"for=203.0.113.7"), peer="10.2.0.0")


def test_a_network_of_mapped_addresses_is_one_of_version_4() -> None:
    networks = ("::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "::/0", "2001:db8::/96")

    assert ["10.0.0.0/8", "10.0.0.1/32", "::/0", "2001:db8::/96"] == [str(network(text)) for text in networks]


@pytest.mark.parametrize(
    ("text", "found"), [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("testclient", "None"), ("", "None")]
)
def test_an_address_has_one_spelling(text: str, found: str) -> None:
    assert found == str(address(text))
