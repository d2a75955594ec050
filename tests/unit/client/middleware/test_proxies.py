from ipaddress import ip_address, ip_network

import pytest

from governor_client._proxies import LONGEST, MOST_HOPS, address, client_address

pytestmark = pytest.mark.promise("R24")

TRUSTED = ("10.0.0.0/8", "fd00::/8")


def told(*, peer: str = "10.0.0.1", forwarded_for: tuple[bytes, ...] = (), forwarded: tuple[bytes, ...] = ()) -> str:
    """Who is found to be the client."""
    networks = [ip_network(network) for network in TRUSTED]
    return str(client_address(ip_address(peer), networks, forwarded_for, forwarded))


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
        ((b'for=1.1.1.1, host=", for=198.51.100.1',), "10.0.0.1"),
        ((b'host=", for="198.51.100.1"',), "10.0.0.1"),
        ((b"for=1.1.1.1 for=2.2.2.2",), "10.0.0.1"),
        ((b"\xff",), "10.0.0.1"),
        ((b'host="', b"for=198.51.100.1"), "198.51.100.1"),
        ((b"x=" + b"y" * LONGEST + b",for=198.51.100.1",), "10.0.0.1"),
    ],
)
def test_the_same_is_read_from_the_standard_field(lines: tuple[bytes, ...], client: str) -> None:
    assert client == told(forwarded=lines)


def test_fields_that_say_the_same_are_believed() -> None:
    assert "198.51.100.1" == told(forwarded_for=(b"1.1.1.1, 198.51.100.1",), forwarded=(b"for=198.51.100.1",))


@pytest.mark.parametrize(
    ("forwarded_for", "forwarded"),
    [(b"198.51.100.1", b"for=1.1.1.1"), (b"1.1.1.1", b"for=198.51.100.1"), (b"198.51.100.1", b"nonsense")],
)
def test_a_client_that_sends_the_field_which_its_proxy_does_not_write_is_not_believed(
    forwarded_for: bytes, forwarded: bytes
) -> None:
    assert "10.0.0.1" == told(forwarded_for=(forwarded_for,), forwarded=(forwarded,))


def test_so_many_proxies_are_followed_and_no_more() -> None:
    proxies = [f"10.1.0.{number}".encode() for number in range(MOST_HOPS)]
    chain = [b"198.51.100.1", *proxies[1:]]

    assert "198.51.100.1" == told(forwarded_for=(b",".join(chain),))
    assert "10.1.0.0" == told(forwarded_for=(b",".join([b"198.51.100.1", *proxies]),))


@pytest.mark.parametrize(
    ("text", "found"), [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("testclient", "None"), ("", "None")]
)
def test_an_address_has_one_spelling(text: str, found: str) -> None:
    assert found == str(address(text))
