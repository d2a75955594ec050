"""One generated history of inbound limits, told step by step: `python -m tests.support.inbound_history SEED STEPS [PLANT]`.

Two builds that mean the same print the same. A plant makes this one differ by the smallest amount there is.
"""

import asyncio
import sys
from collections.abc import Coroutine, Generator, Sequence
from random import Random
from typing import Any, Final

from governor import Config, Governor
from governor._actors.inbound import admitting
from governor._units import Instant
from governor.asgi import TrafficControlMiddleware, identity, observer
from governor.policies.clients.buckets import ClientBuckets, ClientVerdict, Rule, spend

#: A microsecond before this instant the numbers of the group `large` fit in 64 bits, and after it no more.
LARGE_AFTER: Final = 2**63 // 999_999_999_989
LIMITS: Final[dict[str, Any]] = {
    "limits": ["20/s burst 2"],
    "address_limits": ["30/s burst 3"],
    "total_limits": ["60/s burst 6"],
}
ROUTE: Final = {"paths": ["/routes/{number}"], "methods": ["POST"], "limits": ["1/s burst 1"]}
SETTINGS: Final[dict[str, Any]] = {
    "max_clients": 512,
    "trusted_proxies": ["10.0.0.1"],
    "default": LIMITS,
    "large": {**LIMITS, "paths": ["/large"], "limits": ["999_999_999_989/day burst 3"]},
    "dry": {**LIMITS, "paths": ["/dry"], "dry_run": True},
    "flight": {"paths": ["/flight"], "limits": ["1 in flight"], "address_limits": ["2 in flight"], "total_limits": []},
    "routes": {**LIMITS, "paths": ["/routes"], "routes": [ROUTE]},
}
PATHS: Final = ("/", "/", "/large", "/large", "/dry", "/flight", "/routes/1", "/routes/1", "/Routes/../large", "/health")
HOSTS: Final = (None, "", "198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2", "2001:db8::1", "10.0.0.1")
CLAIMS: Final = (b"", b" ", b"ann", b"ann", b"ann", b"bob ", b"\xff", b"a" * 200)
NAMES: Final = (b"x-actor", b"x-user-id", b"x-session-id", b"x-forwarded-for", b"accept")
SPANS: Final = (0, 0, 0, 1, 1_000, 20_000, -1)


class Pause:
    """The application waits."""

    def __await__(self) -> Generator[None]:
        yield


class History:
    """A governor on a clock of its own, and requests that are under way."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = LARGE_AFTER - 1_000_000
        self.begun: list[Coroutine[Any, Any, None]] = []
        self.sent: list[Any] = []
        self.governor = Governor(Config.from_mapping({"inbound": SETTINGS}), clock=lambda: Instant(self.now))
        self.app = TrafficControlMiddleware(self.serve, self.governor)
        self.path = "/"

    async def run(self, steps: int) -> None:
        async with self.governor:
            self.governor.inbound.rekey(bytes(32))
            for step in range(steps):
                self.sent = []
                self.now += self.random.choice(SPANS)
                if self.begun and self.random.random() < 0.3:
                    self.go_on(self.begun.pop(self.random.randrange(len(self.begun))))
                else:
                    self.ask()
                sys.stdout.write("\t".join(map(str, (step, self.now, self.path, self.sent, *self.state()))) + "\n")
            while self.begun:
                self.go_on(self.begun.pop())

    def ask(self) -> None:
        if self.random.random() < 0.2:  # Else the same path once more, so that its limits are met.
            self.path = self.random.choice(PATHS)
        host = self.random.choice(HOSTS)
        names = self.random.choices(NAMES, k=self.random.choice((0, 1, 1, 2, 3)))
        scope = {
            "type": "http",
            "method": self.random.choice(("GET", "POST", "POST", "OPTIONS")),
            "path": self.path,
            "client": None if host is None else (host, 1),
            "headers": [(name, self.random.choice(CLAIMS)) for name in names],
        }
        self.go_on(self.app(scope, self.receive, self.send))

    def go_on(self, request: Coroutine[Any, Any, None]) -> None:
        try:
            request.send(None)
        except StopIteration:
            return
        except ZeroDivisionError as error:
            self.sent.append(repr(error))
        else:
            self.begun.append(request)

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        fate = self.random.randrange(10)
        if fate < 4:
            await Pause()
        if fate == 9:
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": self.random.choice((200, 204, 301, 404, 429, 503)), "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})

    async def receive(self) -> Any:
        raise AssertionError

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def state(self) -> list[object]:
        told: list[object] = []
        for name, group in self.governor.inbound.groups.items():
            told += [name, group.counters.record(), group.denied_by, group.unenforced, group.most_denied.top(Instant(self.now))]
            for table in group._tables.values():
                if isinstance(table, ClientBuckets):
                    told.append([(place, entries) for place, entries in enumerate(table._tables) if entries])
                    told.append([floor for floor in table._floors if floor])
                else:
                    told.append(len(table))
        return told


def _one_tick_more() -> None:
    def spends(now: Instant, rules: Sequence[Rule], keys: Sequence[bytes], cost: int = 1) -> ClientVerdict | None:
        verdict = spend(now, rules, keys, cost)
        if verdict is None and now % 7 == 0:
            which, table = rules[0]
            table._tables[keys[which][-1]][keys[which]] += 1
        return verdict

    vars(admitting)["spend"] = spends


def _large_numbers_wrap() -> None:
    def spends(now: Instant, rules: Sequence[Rule], keys: Sequence[bytes], cost: int = 1) -> ClientVerdict | None:
        verdict = spend(now, rules, keys, cost)
        if verdict is None:
            which, table = rules[0]
            entries = table._tables[keys[which][-1]]
            entries[keys[which]] = (entries[keys[which]] + 2**63) % 2**64 - 2**63
        return verdict

    vars(admitting)["spend"] = spends


def _denied_request_spends() -> None:
    def spends(now: Instant, rules: Sequence[Rule], keys: Sequence[bytes], cost: int = 1) -> ClientVerdict | None:
        verdict = spend(now, rules, keys, cost)
        if verdict is not None and verdict[1] is not None:
            spend(now, rules[1:], keys, cost)
        return verdict

    vars(admitting)["spend"] = spends


def _claim_is_not_stripped() -> None:
    request = identity.ClientKeys.request

    def requests(self: identity.ClientKeys, scope: Any) -> Any:
        return request(self, {**scope, "headers": [(name, value.replace(b" ", b"_")) for name, value in scope["headers"]]})

    vars(identity)["ClientKeys"].request = requests


def _status_is_not_seen() -> None:
    send = observer.ResponseObserver.send

    def sends(self: observer.ResponseObserver, message: Any) -> Any:
        return send(self, {**message, "status": 200} if message.get("status") == 204 else message)

    vars(observer)["ResponseObserver"].send = sends


PLANTS: Final = {
    "client tick": _one_tick_more,
    "client overflow": _large_numbers_wrap,
    "client denied": _denied_request_spends,
    "claim": _claim_is_not_stripped,
    "status": _status_is_not_seen,
}


if __name__ == "__main__":
    for planted in sys.argv[3:]:
        PLANTS[planted]()
    asyncio.run(History(int(sys.argv[1])).run(int(sys.argv[2])))
