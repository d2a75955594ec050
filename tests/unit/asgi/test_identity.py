import pytest

from governor import Config
from governor.asgi.identity import MAX_CACHED, ClientKeys
from governor.config import InboundSettings
from governor.messages import InboundRequest
from governor.pseudonyms import Pseudonyms

pytestmark = pytest.mark.promise("R21")

SECRET = bytes(32)
NAMES = Pseudonyms(SECRET)
HERE = "198.51.100.1"


def client_keys(**settings: object) -> ClientKeys:
    return ClientKeys(Config.from_mapping({"inbound": settings}).inbound_settings, NAMES)


def request(*headers: tuple[bytes, bytes], client: tuple[str, int] | None = (HERE, 1), **settings: object) -> InboundRequest:
    return client_keys(**settings).request({"headers": headers, "client": client})


def client_key(*headers: tuple[bytes, bytes], **settings: object) -> bytes:
    """By default, claims stand alone."""
    return client_keys(**{"identity": "trusted", **settings}).request({"headers": headers, "client": (HERE, 1)}).client


def place(host: str, **settings: object) -> bytes:
    return request(client=(host, 1), **settings).address


ACTOR, USER, SESSION = (b"x-actor", b"ann"), (b"x-user-id", b"uma"), (b"x-session-id", b"s1")


def test_the_actor_comes_before_the_session_and_that_before_the_address() -> None:
    assert NAMES.actor(b"ann") == client_key(SESSION, USER, ACTOR)
    assert NAMES.actor(b"uma") == client_key(SESSION, USER)
    assert NAMES.session(b"s1") == client_key(SESSION)
    assert request().address == client_key()


def test_an_actor_and_a_session_of_the_same_name_are_two_clients() -> None:
    assert client_key((b"x-actor", b"42")) != client_key((b"x-session-id", b"42"))


def test_two_actor_headers_with_the_same_name_are_one_client() -> None:
    assert client_key((b"x-actor", b"42")) == client_key((b"x-user-id", b"42"))


@pytest.mark.parametrize("empty", [b"", b" ", b"\t \t"])
def test_an_empty_header_is_none(empty: bytes) -> None:
    assert NAMES.session(b"s1") == client_key((b"x-actor", empty), (b"x-user-id", empty), SESSION)
    assert NAMES.actor(b"ann") == client_key((b"x-actor", empty), ACTOR)


@pytest.mark.promise("R24")
@pytest.mark.parametrize("name", [b"\xff\xfe\x80", b"a" * 65_536, b"a,b;c=d", b'"', b"\0", "Zoë".encode(), b"a b"])
def test_a_name_may_be_any_bytes(name: bytes) -> None:
    assert NAMES.actor(name) == client_key((b"x-actor", name))


def test_space_around_a_name_is_no_part_of_it_and_of_two_the_first_counts() -> None:
    assert NAMES.actor(b"ann") == client_key((b"x-actor", b" ann\t"), (b"x-actor", b"bob"))


def test_which_headers_count_can_be_set() -> None:
    headers = [(b"x-actor", b"ann"), (b"x-team", b"red")]

    assert NAMES.actor(b"red") == client_key(*headers, actor_headers=["X-Team"])
    assert NAMES.session(b"red") == client_key(*headers, actor_headers=[], session_headers=["x-team"])


@pytest.mark.promise("R24")
@pytest.mark.parametrize("claim", [ACTOR, USER, SESSION])
def test_a_claim_counts_together_with_the_address_that_makes_it(claim: tuple[bytes, bytes]) -> None:
    here, there = (request(claim, client=(host, 1)).client for host in (HERE, "203.0.113.66"))

    assert here == request(claim, client=(HERE, 2)).client
    assert 4 == len({here, there, client_key(claim), request().client})


@pytest.mark.promise("R24", "R26")
def test_the_settings_say_whose_claims_count_without_an_address() -> None:
    alone, at_client = NAMES.actor(b"ann"), NAMES.actor(b"ann", place("192.0.2.1"))
    direct, proxied = ("192.0.2.1", 1), ("10.0.0.1", 1)
    headers = ACTOR, (b"x-forwarded-for", b"192.0.2.1")

    def keys(**settings: object) -> list[bytes]:
        return [request(*headers, client=one, trusted_proxies=["10.0.0.1"], **settings).client for one in (direct, proxied)]

    assert [at_client, alone] == keys() == keys(identity="claimed")
    assert [alone, alone] == keys(identity="trusted")
    assert [at_client, at_client] == keys(identity="address")


@pytest.mark.promise("R24")
@pytest.mark.parametrize("client", [None, ("", 0), ("/run/app.sock", 0), ("unix:/run/app.sock", 0), (None, None)])
def test_behind_a_unix_socket_a_proxy_is_heard_if_its_peers_are_trusted(client: tuple[str, int] | None) -> None:
    said = [(b"x-forwarded-for", b"203.0.113.1"), ACTOR]
    heard = request(*said, client=client, trusted_proxies=["unix:"])
    heard_as_all_are = request(*said, client=client, trusted_proxies=["0.0.0.0/0", "::/0"])
    not_heard = request(*said, client=client, trusted_proxies=["0.0.0.0/0", "127.0.0.0/8"])

    assert heard == heard_as_all_are
    assert InboundRequest(NAMES.actor(b"ann"), place("203.0.113.1")) == heard
    assert request(client=client).address == not_heard.address == request(client=client, trusted_proxies=["unix:"]).address
    assert NAMES.actor(b"ann", not_heard.address) == not_heard.client
    assert place("203.0.113.9") == request(*said, client=("203.0.113.9", 1), trusted_proxies=["unix:"]).address


@pytest.mark.promise("R24")
@pytest.mark.parametrize("client", [None, ("10.0.0.1", 1)])
def test_whom_a_proxy_does_not_name_is_not_the_proxy_itself(client: tuple[str, int] | None) -> None:
    def address(*headers: tuple[bytes, bytes]) -> bytes:
        return request(*headers, client=client, trusted_proxies=["10.0.0.1", "unix:"]).address

    unnamed = address((b"x-forwarded-for", b"unknown"))

    assert unnamed == address((b"forwarded", b"for=_hidden")) == address((b"forwarded", b"nonsense"))
    assert 3 == len({unnamed, address(), address((b"x-forwarded-for", b"203.0.113.1"))})
    assert address() == address((b"x-forwarded-for", b" , "))


def test_an_address_of_version_6_counts_by_its_network() -> None:
    assert place("2001:db8:1:2::1") == place("2001:db8:1:2:ffff::9")
    assert place("2001:db8:1:2::1") != place("2001:db8:1:3::1")
    assert place("2001:db8:1:2::1", ipv6_prefix=48) == place("2001:db8:1:3::1", ipv6_prefix=48)
    assert place("2001:db8::1", ipv6_prefix=128) != place("2001:db8::2", ipv6_prefix=128)


def test_an_address_of_version_4_is_the_same_when_it_is_mapped_into_version_6() -> None:
    assert place("198.51.100.1") == place("::ffff:198.51.100.1")
    assert place("198.51.100.1") != place("198.51.100.2")


def test_those_without_an_address_are_one_and_other_names_are_what_they_say() -> None:
    assert request(client=None).address == place("")
    assert place("testclient") != place("")


@pytest.mark.promise("R24")
def test_a_proxy_is_heard_if_it_is_trusted_however_often_it_asks() -> None:
    keys = client_keys(trusted_proxies=["10.0.0.0/8"])
    asks = [
        {"headers": [(b"x-forwarded-for", client)], "client": (proxy, 1)}
        for client in (b"192.0.2.1", b"192.0.2.2")
        for proxy in ("10.0.0.1", "203.0.113.1")
    ]
    expected = [place("192.0.2.1"), place("203.0.113.1"), place("192.0.2.2"), place("203.0.113.1")]

    assert 2 * expected == [keys.request(scope).address for scope in asks + asks]


@pytest.mark.promise("R24")
def test_what_is_remembered_has_a_bound() -> None:
    keys = ClientKeys(InboundSettings(trusted_proxies=("10.0.0.1",)), NAMES)
    for number in range(MAX_CACHED + 1):
        name = str(number).encode()
        keys.request({"headers": [(b"x-actor", name)], "client": (f"host{number}", 1)})
        keys.request({"headers": [(b"x-session-id", name), (b"x-forwarded-for", name)], "client": ("10.0.0.1", 1)})
    keys.request({"headers": [(b"x-actor", b"a" * 65_536)], "client": ("host0", 1)})
    keys.request({"headers": [(b"x-forwarded-for", b"")] * 129, "client": ("10.0.0.1", 1)})

    assert [3, 2, 1] == [len(known) for known in (keys._known, keys._direct, keys._proxied)]
