"""What every policy promises whoever asks it: one suite for `Policy`, one for `Spending` and one for `Quota`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor._units import AFTER_OUTCOME, DAY, MINUTE, NEVER, SECOND, Duration, Instant
from governor.errors import Reason
from governor.policies._sliding_log import SLOTS
from governor.policies.breaker import Breaker, BreakerPolicy
from governor.policies.contract import PLAIN, Grant, Policy, Quota, Request, Result, Spending
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.window import StrictWindow, StrictWindowPolicy

START: Final = Instant(10 * DAY)


class Kept(Protocol):
    """What every policy has besides: where it stands can be taken and given back."""

    def state(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


class KeptPolicy(Policy, Kept, Protocol):
    """A policy whose state can be taken."""


class KeptSpending(Spending, Kept, Protocol):
    """A policy that spends, and whose state can be taken."""


class KeptQuota(Quota, Kept, Protocol):
    """A quota whose state can be taken."""


P = TypeVar("P", covariant=True)


@dataclass(frozen=True)
class Kind[P]:
    """One implementation, as the suite meets it."""

    make: Callable[[], P]
    unit: str | None = None

    def request(self, units: int) -> Request:
        return Request(units) if self.unit is None else Request(1, {self.unit: units})
