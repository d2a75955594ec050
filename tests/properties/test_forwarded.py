"""What a client writes in front of what our proxy writes: it never makes anybody else of the client."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor_client._proxies import Address, client_address

pytestmark = pytest.mark.promise("R24")

TRUSTED: Final = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PEER: Final = ip_address("10.0.0.1")
CLIENTS: Final = [ip_address("198.51.100.1"), ip_address("2001:db8::1")]
PROXIES: Final = [ip_address("10.0.0.2"), ip_address("10.9.9.9"), ip_address("fd00::7")]

clients = st.sampled_from(CLIENTS)
#: The proxies between the client and our peer, the nearest to the client first.
chains = st.lists(st.sampled_from(PROXIES), max_size=3)
ports = st.sampled_from(["", ":80", ":_hidden"])
junk = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"for=",
                b"1.1.1.1",
                b'"',
                b",",
                b";",
                b"\\",
                b"=",
                b" ",
                b"[",
                b"]",
                b":",
                b"for=2.2.2.2",
                b"10.0.0.2",
                b"x",
                b"\xff",
                b"\t",
            ]
        ),
        st.binary(max_size=3),
    ),
    max_size=12,
).map(lambda pieces: b"".join(pieces).replace(b"\n", b"").replace(b"\r", b""))


def in_forwarded_for(address: Address, port: str) -> str:
    return f"{address}{port}" if isinstance(address, IPv4Address) else f"[{address}]{port}" if port else f"{address}"


def in_forwarded(address: Address, port: str, *, quoted: bool) -> str:
    node = f"[{address}]{port}" if isinstance(address, IPv6Address) else f"{address}{port}"
    return f'for="{node}";proto=https' if quoted or ":" in node else f"for={node}"


@given(clients, chains, ports, junk)
def test_nothing_in_front_of_what_the_proxies_append_counts(
    client: Address, chain: list[Address], port: str, junk: bytes
) -> None:
    written = ", ".join(in_forwarded_for(address, port) for address in [client, *chain]).encode()

    assert client == client_address(PEER, TRUSTED, [junk, written], [])
    assert client == client_address(PEER, TRUSTED, [junk + b", " + written], [])


@given(client=clients, chain=chains, port=ports, quoted=st.booleans())
def test_the_standard_field_says_the_same(client: Address, chain: list[Address], port: str, *, quoted: bool) -> None:
    written = ", ".join(in_forwarded(address, port, quoted=quoted) for address in [client, *chain]).encode()

    assert client == client_address(PEER, TRUSTED, [], [written])


@given(client=clients, chain=chains, port=ports, quoted=st.booleans(), junk=junk)
def test_what_breaks_the_standard_field_makes_nobody_else_of_the_client(
    client: Address, chain: list[Address], port: str, junk: bytes, *, quoted: bool
) -> None:
    written = ", ".join(in_forwarded(address, port, quoted=quoted) for address in [client, *chain]).encode()

    assert client_address(PEER, TRUSTED, [], [junk + b", " + written]) in {client, PEER}
    assert client == client_address(PEER, TRUSTED, [], [junk, written])


@given(client=clients, junk=junk, standard=st.booleans())
def test_a_second_field_makes_nobody_else_of_the_client(client: Address, junk: bytes, *, standard: bool) -> None:
    written = [in_forwarded(client, "", quoted=True).encode() if standard else str(client).encode()]
    both = ([junk], written) if standard else (written, [junk])

    assert client_address(PEER, TRUSTED, *both) in {client, PEER}


@given(clients, st.lists(junk), st.lists(junk))
def test_a_peer_that_is_not_trusted_is_the_client(peer: Address, forwarded_for: list[bytes], forwarded: list[bytes]) -> None:
    assert peer == client_address(peer, TRUSTED, forwarded_for, forwarded)
