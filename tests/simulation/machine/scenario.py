"""What is drawn for a run of a machine: its settings, how busy it is, and what befalls it and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

MS: Final = 1_000_000
SOCKET: Final = "/run/governor.sock"
MEMBERS: Final = 4
#: Of each member.
CALLERS: Final = 5

RATE: Final = 40
WINDOW: Final = 12
SHARED: Final = 40
PLACES: Final = 8
SCOPES: Final = ("bucket:get", "window:get", "flight:get", "shared:get", "shared:post")
SHARE: Final = 0.25
POLICY: Final[dict[str, dict[str, object]]] = {
    "global": {"requests_per_minute": "off", "degraded_after_failures": "off", "idle_after": "3s"},
    "provider": {"shared": {"limits": [f"{SHARED} per 4s strict"]}},
    "outbound": {
        "default": {"breaker": {"failures": 8, "open_for": "500ms"}, "linger": "200ms", "retry_budget": {}},
        "window": {"limits": [f"{WINDOW} per second strict"]},
        "flight": {"limits": [f"{PLACES} in flight"]},
        "shared": {"limits": ["1000/s burst 1000"]},
    },
}


@dataclass(frozen=True)
class Fault:
    """Something that befalls a process, or the machine, at an instant and for a while, in milliseconds."""

    at: int
    kind: str
    who: int
    lasts: int
    #: How often the process reads its clock, or uses a socket, before it is stopped in the middle of something.
    inside: int = 0

    @property
    def ends(self) -> int:
        """When it is over for certain, in nanoseconds."""
        return (self.at + self.lasts + 6000) * MS if "owner" in self.kind else (self.at + self.lasts + 500) * MS


KINDS: Final = (
    "kill member",
    "kill owner",
    "restart owner",
    "stop member",
    "stop member inside",
    "stop owner",
    "stop owner inside",
    "cut",
    "deaf",
    "mute",
    "cut off",
    "rush",
    "rush",
    "rush",
    "outage",
    "wall clock",
)


@dataclass(frozen=True)
class Scenario:
    """All that is drawn. The rest follows from the seed."""

    seed: int
    state: bool
    away: str
    #: Whether the clocks of members are wrong by up to an eighth of a lease in a second.
    drifts: bool
    faults: tuple[Fault, ...]
    #: How much its callers think between two calls, at most, in milliseconds.
    thinks: int = 60
    lasts: int = 8_000
    #: What the bucket holds.
    burst: int = 120

    @property
    def policy(self) -> dict[str, object]:
        """The settings of all processes."""
        bucket = {"limits": [f"{RATE}/s burst {self.burst}"]}
        return {**POLICY, "outbound": {**POLICY["outbound"], "bucket": bucket}}

    @classmethod
    def drawn(cls, seed: int, *, kinds: Sequence[str] = KINDS, **given: object) -> "Scenario":
        """Everything from one seed, but for what is given; with faults of these kinds."""
        random = Random(seed)
        faults = tuple(
            Fault(
                random.randrange(500, 6_500),
                random.choice(kinds),
                random.randrange(MEMBERS),
                random.choice([50, 300, 1000, 1050, 1200, 1500, 2500]),
                random.randrange(40),
            )
            for _ in range(random.randrange(2, 8))
        )
        drawn: dict[str, object] = {
            "state": random.random() < 0.7,
            "away": random.choice(["share", "deny"]),
            "drifts": random.random() < 0.3,
            "faults": tuple(sorted(faults, key=lambda fault: fault.at)),
            "thinks": random.choice([5, 60, 400]),
        }
        return cls(seed, **{**drawn, **given})  # type: ignore[arg-type] # as the fields are
