"""The workload of the demo under a governor, with `TrafficControlledHttpClient`.

Once with what the provider documents as the policy, and once without any limit: that governor only reads what answers say.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import ceil
from typing import Final

import httpx2

from demo.contender import DONE, AsyncCaller, Caller, Figures, GovernorFigures, waits
from demo.rules import Rules
from demo.traffic import Call
from governor import Config, Governor, PermitDenied, StrictWindow
from governor._units import MINUTE
from governor.config import describe
from governor_client import TrafficControlledHttpClient

PROVIDER: Final = "demo"
#: Cooling and pauses that are as short as the demo is.
_SHORT: Final = {
    "breaker": {"failures": 5, "open_for": "500ms", "probes": 2, "probe_deadline": "2s"},
    "retry": {"attempts": 3, "first_delay": "200ms"},
}


def policy(rules: Rules) -> dict[str, dict[str, object]]:
    """What the provider documents, in the shape of a policy file."""
    return _settings(
        {PROVIDER: {"limits": [describe(rules.reads)], **_SHORT}, f"{PROVIDER}:post": {"limits": [describe(rules.writes)]}},
        requests_per_minute=_per_minute(rules.reads) + _per_minute(rules.writes),
    )


def hints_only() -> dict[str, dict[str, object]]:
    """The same without limits, for a provider whose documentation is not known."""
    return _settings({PROVIDER: {"limits": [], **_SHORT}}, requests_per_minute="off")


class Governed:
    """A contender with a governor."""

    def __init__(self, base_url: str, title: str, settings: dict[str, dict[str, object]]) -> None:
        self.title = title
        self._base_url = base_url
        self._governor = Governor(Config.from_mapping(settings))

    @asynccontextmanager
    async def tasks(self) -> AsyncIterator[AsyncCaller]:
        """The governor on this event loop, and one client for all tasks."""
        async with self._governor, self._client() as client:

            async def make(call: Call, wait: float) -> str:
                try:
                    await client.arequest(call.method, call.path, timeout=waits(wait))
                except (PermitDenied, httpx2.HTTPError) as error:
                    return _ending(error)
                return DONE

            yield make

    @contextmanager
    def thread(self) -> Iterator[Caller]:
        """A client for this thread, under the same governor."""
        with self._client() as client:

            def make(call: Call, wait: float) -> str:
                try:
                    client.request(call.method, call.path, timeout=waits(wait))
                except (PermitDenied, httpx2.HTTPError) as error:
                    return _ending(error)
                return DONE

            yield make

    def figures(self) -> Figures:
        """What the governor has counted."""
        statistics = self._governor.statistics()
        counters = statistics.counters
        return Figures(
            sent=counters.requests,
            answered_2xx=counters.answered_2xx,
            answered_4xx=counters.answered_4xx,
            answered_5xx=counters.answered_5xx,
            errors=counters.failures,
            retries=counters.retries,
            governor=GovernorFigures(
                openings=counters.openings,
                degraded_spells=statistics.degraded_spells,
                denied={reason.value: count for reason, count in counters.denied.items()},
            ),
        )

    def _client(self) -> TrafficControlledHttpClient:
        # Loopback is no external traffic, unless one asks.
        return TrafficControlledHttpClient(PROVIDER, self._base_url, governor=self._governor, govern_loopback=True)


def _ending(error: PermitDenied | httpx2.HTTPError) -> str:
    match error:
        case PermitDenied():
            return error.reason.value
        case httpx2.HTTPStatusError():
            return str(error.response.status_code)
        case _:
            return type(error).__name__


def _settings(outbound: dict[str, object], *, requests_per_minute: int | str) -> dict[str, dict[str, object]]:
    counts = {"requests_per_minute": requests_per_minute, "degraded_after_failures": 10, "degraded_cooldown": "1s"}
    return {"global": dict(counts), "outbound": outbound}


def _per_minute(limit: StrictWindow) -> int:
    """The most that such a limit lets through in a minute."""
    return limit.amount * ceil(MINUTE / limit.per)
