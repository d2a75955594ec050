"""What a client writes in front of what our proxy writes: it never makes anybody else of the client."""

import gc
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from governor.asgi.forwarded import MAX_BYTES, Address, elements, entries
from tests.support.forwarding import client_of

pytestmark = pytest.mark.promise("R24")

TRUSTED: Final = ("10.0.0.0/8", "fd00::/8")
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

    assert client == client_of(PEER, TRUSTED, [junk, written])
    assert client == client_of(PEER, TRUSTED, [junk + b", " + written])


@given(client=clients, chain=chains, port=ports, quoted=st.booleans())
def test_the_standard_field_says_the_same(client: Address, chain: list[Address], port: str, *, quoted: bool) -> None:
    written = ", ".join(in_forwarded(address, port, quoted=quoted) for address in [client, *chain]).encode()

    assert client == client_of(PEER, TRUSTED, forwarded=[written])


@given(client=clients, chain=chains, port=ports, quoted=st.booleans(), junk=junk)
def test_nothing_in_front_of_it_counts_either(
    client: Address, chain: list[Address], port: str, junk: bytes, *, quoted: bool
) -> None:
    written = ", ".join(in_forwarded(address, port, quoted=quoted) for address in [client, *chain]).encode()

    assert client == client_of(PEER, TRUSTED, forwarded=[junk + b", " + written])
    assert client == client_of(PEER, TRUSTED, forwarded=[junk, written])


@given(st.lists(junk), st.lists(junk))
def test_a_peer_that_is_not_trusted_is_the_client(forwarded_for: list[bytes], forwarded: list[bytes]) -> None:
    assert CLIENTS[0] == client_of(CLIENTS[0], TRUSTED, forwarded_for, forwarded)


# Against naive readings, which take as long as they like.


def naive_entries(lines: list[bytes]) -> list[bytes]:
    return [entry.strip() for line in reversed(lines) for entry in reversed(line.split(b",")) if entry.strip()]


#: RFC 7239, section 4, read from the left, with characters in values that should have been quoted.
_PAIR: Final = re.compile(rb"""[ \t]*(?:([a-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))[ \t]*)?([;,]|\Z)""")


def naive_elements(lines: list[bytes]) -> list[bytes] | None:
    """None if a line breaks the grammar, or an element names two clients."""
    said: list[bytes] = []
    for line in reversed(lines):
        elements: list[list[tuple[bytes, bytes]]] = [[]]
        place, end = 0, b","
        while end:
            pair = _PAIR.match(line, place)
            if pair is None:
                return None
            name, quoted, plain, end = pair.groups()
            place = pair.end()
            if name is not None:
                elements[-1].append((name, plain if quoted is None else quoted))
            if end == b",":
                elements.append([])
        named = [[value for name, value in element if name == b"for"] for element in elements if element]
        if any(len(names) > 1 for names in named):
            return None
        said += [names[0] if names else b"" for names in reversed(named)]
    return said


@given(st.lists(junk, max_size=4))
def test_the_entries_are_those_of_a_naive_reading(lines: list[bytes]) -> None:
    assert naive_entries(lines) == list(entries(lines))


texts = st.text('ab1.:= \t,;\\"', max_size=6)
pairs = st.one_of(
    st.just(""),
    st.builds("{}={}".format, st.sampled_from(["for", "by", "x"]), st.text("ab1.:=[]_", max_size=6)),
    st.builds('{}="{}"'.format, st.sampled_from(["for", "host"]), texts.map(lambda text: re.sub(r'([\\"])', r"\\\1", text))),
)
well_formed = st.lists(
    st.lists(
        st.builds("{}{}{}".format, st.sampled_from(["", " "]), pairs, st.sampled_from(["", "\t"])), min_size=1, max_size=3
    ).map(";".join),
    max_size=4,
).map(lambda elements: ",".join(elements).encode())


@given(st.lists(well_formed, max_size=3))
def test_the_elements_are_those_of_a_reading_from_the_left(lines: list[bytes]) -> None:
    naive = naive_elements(lines)
    assume(naive is not None)

    assert naive == list(elements(lines))


# What it costs.


def operations(work: Callable[[], object]) -> int:
    """How many functions are called, those of the interpreter included; not those that the garbage collector calls."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()  # Hypothesis leaves a callback there.
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


HUGE: Final = 1_000_000
FLOODS: Final = {
    "commas": [b"," * HUGE],
    "commas and spaces": [b", " * HUGE],
    "spaces": [b" " * HUGE],
    "digits": [b"9" * HUGE],
    "entries": [b"10.0.0.2," * HUGE],
    "elements": [b"for=10.0.0.2," * HUGE],
    "pairs": [b"a=b;" * HUGE],
    "quotes": [b'"' * HUGE],
    "an open quote": [b'for="' + b"\\" * HUGE],
    "equal signs": [b"=" * HUGE],
    "blank lines": [b""] * HUGE,
    "lines": [b"10.0.0.2"] * HUGE,
    "lines of the standard field": [b"for=10.0.0.2"] * HUGE,
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("read", [entries, elements])
def test_however_much_is_sent_the_same_few_bytes_are_looked_at(
    read: Callable[[list[bytes]], Iterator[bytes]], flood: str
) -> None:
    lines = FLOODS[flood]
    part = [line[-10 * MAX_BYTES :] for line in lines[-10 * MAX_BYTES :]]
    work = operations(lambda: deque(read(lines), 0))

    assert operations(lambda: deque(read(part), 0)) == work
    assert 10 * MAX_BYTES > work
    assert MAX_BYTES >= sum(len(node) + 1 for node in read(lines))
