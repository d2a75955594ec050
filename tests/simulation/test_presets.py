"""Presets against the limits that the providers document: fixed windows at an unknown offset, overload, jitter and long calls.

The limits are written down here once more, from the pages of the providers, and not read from the data of the presets.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio
import pytest

from governor import Config, Governor, PermitDenied
from governor.testing import loop_clock

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R13")]

#: The longest way of a request to the provider, in seconds.
JITTER: Final = 0.2


@dataclass(frozen=True)
class Call:
    """One kind of call: its method, what the provider counts of it, what its permit asks for beside one request, its key."""

    method: str
    counts: Mapping[str, int] = field(default_factory=lambda: {"requests": 1})
    asks: Mapping[str, int] = field(default_factory=dict)
    key: str | None = None


@dataclass
class Provider:
    """A naive limiter: counters that are cleared when the window ends, and places for calls in progress."""

    windows: Mapping[str, tuple[tuple[int, float], ...]]
    concurrent: int
    chance: random.Random
    used: Counter[tuple[str, float, int]] = field(default_factory=Counter)
    offsets: dict[tuple[str, float], float] = field(default_factory=dict)
    calls: int = 0
    answered: int = 0
    denied: list[str] = field(default_factory=list)

    def arrive(self, call: Call) -> None:
        self.calls += 1
        self.answered += 1
        if self.calls > self.concurrent:
            self.denied.append("concurrent")
        for name, counted in call.counts.items():
            for amount, length in self.windows[name]:
                offset = self.offsets.setdefault((name, length), self.chance.uniform(0, length))
                window = (name, length, int((anyio.current_time() + offset) // length))
                self.used[window] += counted
                if self.used[window] > amount:
                    self.denied.append(f"{name} per {length:g} s")


@dataclass(frozen=True)
class Scenario:
    """A preset, the limits that the provider documents, the calls, how long they come, and how many at least succeed."""

    preset: str
    windows: Mapping[str, tuple[tuple[int, float], ...]]
    calls: Sequence[Call]
    seconds: float
    per_second: float
    answered: int
    concurrent: int = 1_000_000
    longest: float = 1.0


READ: Final = {"requests": 1, "points": 1}
WRITE: Final = {"requests": 1, "points": 5, "content": 1}
DELETE: Final = {"requests": 1, "points": 5}

SCENARIOS: Final = (
    Scenario(
        "github/unauthenticated",
        {"requests": ((60, 3600),), "points": ((900, 60),)},
        [Call("GET", READ), Call("HEAD", READ)],
        seconds=3 * 3600,
        per_second=3 * 60 / 3600,
        answered=170,
        concurrent=100,
        longest=60,
    ),
    Scenario(
        "github/token",
        {"requests": ((5000, 3600),), "points": ((900, 60),), "content": ((80, 60), (500, 3600))},
        [*[Call("GET", READ)] * 6, Call("POST", WRITE), Call("PUT", WRITE), Call("DELETE", DELETE)],
        seconds=130,
        per_second=20,
        answered=500,
        concurrent=100,
        longest=20,
    ),
    Scenario(
        "discord",
        {"requests": ((50, 1),)},
        [Call("GET"), Call("POST"), Call("PATCH"), Call("DELETE")],
        seconds=15,
        per_second=150,
        answered=500,
        longest=0.1,
    ),
    Scenario(
        "openai/tier-1",
        {
            "requests": ((500, 60),),
            "tokens": ((30_000, 60),),
            "requests of gpt-5": ((500, 60),),
            "tokens of gpt-5": ((500_000, 60),),
        },
        [
            Call("GET"),
            *(Call("POST", {"requests": 1, "tokens": n}, {"tokens": n}) for n in (20, 100, 900, 9_000)),
            *(
                Call(method, {"requests of gpt-5": 1, "tokens of gpt-5": n}, {"tokens": n}, "GPT-5")
                for method, n in (("POST", 500), ("PUT", 3_000), ("DELETE", 0))
            ),
        ],
        seconds=75,
        per_second=40,
        answered=350,
        longest=20,
    ),
    Scenario(
        "reddit/oauth",
        {"requests": ((100, 60), (1000, 600))},
        [Call("GET"), Call("POST"), Call("PUT")],
        seconds=620,
        per_second=5,
        answered=900,
        longest=10,
    ),
)


async def load(governor: Governor, scenario: Scenario, provider: Provider, chance: random.Random) -> None:
    """Calls at three times the rate that the provider allows. One in five waits for its permit."""

    async def make(call: Call, wait: float, way: float, takes: float) -> None:
        try:
            permit = await governor.acquire("acme", call.method, key=call.key, cost={"requests": 1, **call.asks}, timeout=wait)
        except PermitDenied:
            return
        with permit:
            await anyio.sleep(way)
            provider.arrive(call)
            await anyio.sleep(takes)
            provider.calls -= 1
            permit.record(status=200)

    async with anyio.create_task_group() as calls:
        for at in arrivals(scenario, chance):
            await anyio.sleep_until(at)
            wait = chance.choice((0.0, 0.0, 0.0, 0.0, 3.0))
            calls.start_soon(
                make, chance.choice(scenario.calls), wait, chance.uniform(0, JITTER), chance.uniform(0, scenario.longest)
            )


def arrivals(scenario: Scenario, chance: random.Random) -> Iterator[float]:
    at = 0.0
    while at < scenario.seconds:
        yield at
        # Bursts of ten, and pauses.
        at += 0.0 if chance.random() < 0.9 else chance.expovariate(scenario.per_second / 10)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.preset for scenario in SCENARIOS])
async def test_with_a_preset_the_provider_denies_no_call_and_little_is_lost(scenario: Scenario) -> None:
    config = Config.from_mapping(
        {
            "global": {"requests_per_minute": "off"},
            "provider": {"acme": {"preset": scenario.preset, "hosts": []}},
        }
    )
    chance = random.Random(1)
    provider = Provider(scenario.windows, scenario.concurrent, chance)
    async with Governor(config, clock=loop_clock()) as governor:
        await load(governor, scenario, provider, chance)

    assert Counter() == Counter(provider.denied)
    assert scenario.answered <= provider.answered
