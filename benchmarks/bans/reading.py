"""The cost of reading what an answer says about limits."""

from time import process_time
from typing import Final

from benchmarks.bans import hints
from benchmarks.bans.hints import Situation, State
from benchmarks.bans.limits import SlidingWindow
from governor.hints import read_hints

_ROUNDS: Final = 7
_READS: Final = 3_000
#: Headers of an answer that say nothing about limits.
_PLAIN: Final = {
    "content-type": "application/json",
    "date": "Thu, 01 Jan 2026 00:00:00 GMT",
    "server": "acme",
    "x-request-id": "7",
}


def reading_us() -> dict[str, float]:
    """Microseconds of processor time for one answer, the best of several rounds: with long headers, and without any."""
    limit = SlidingWindow(60, 60_000_000)
    situation = Situation(now=0, states=[State("requests", limit), State("tokens", limit)], denied=True, wait=1_000_000)
    said = {
        "openai": _PLAIN | hints.openai(situation),
        "github": _PLAIN | hints.github(situation),
        "acme": _PLAIN | hints.ietf(situation),
    }
    return {
        "hints": max(_best(name, 429, headers) for name, headers in said.items()),
        "none": max(_best(name, 200, _PLAIN) for name in said),
    }


def _best(provider: str, status: int, headers: dict[str, str]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        begin = process_time()
        for _ in range(_READS):
            read_hints(provider, status, headers, now=0.0)
        best = min(best, process_time() - begin)
    return best / _READS * 1e6
