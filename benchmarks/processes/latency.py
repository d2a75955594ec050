"""Latency of permits that take a message to the daemon: the first of a scope, which is made for it, and of a known one.

One thread asks, with pauses, and times each permit alone. The known scope has a strict window, of which nothing is granted
ahead.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns, sleep
from typing import Final

from benchmarks.measure import BURST, CAP, RATE, check_count, percentile
from demo.daemon import daemon
from governor import Config, Governor, Permit
from governor_client import GovernorClient

#: The metrics: microseconds from the call to its permit.
COLD_P50, COLD_P99 = "cold_p50_us", "cold_p99_us"
KNOWN_P50, KNOWN_P99 = "known_p50_us", "known_p99_us"

#: Seconds between two asks.
_PAUSE: Final = 0.0003
_WARM_UP: Final = 100
#: Scopes of the daemon and of this process: more than are asked in.
_SCOPES: Final = {"max_scopes": 100_000, "requests_per_minute": CAP}


def one_at_a_time(size: int) -> Mapping[str, float]:
    """`size` permits of scopes of their own, and as many of one scope."""
    outbound = {"default": {"limits": [f"{RATE}/s burst {BURST}"]}, "known": {"limits": [f"{BURST} per minute strict"]}}
    with TemporaryDirectory() as folder, daemon(Path(folder), {"global": _SCOPES, "outbound": outbound}) as socket:
        config = {"machine": {"socket": str(socket)}, "global": _SCOPES}
        with Governor(Config.from_mapping(config)) as governor:
            client = GovernorClient(governor)
            known = list(_asked(client, ["known"] * (_WARM_UP + size)))[_WARM_UP:]
            cold = list(_asked(client, [f"cold{number}" for number in range(_WARM_UP + size)]))[_WARM_UP:]
    check_count(len(known) + len(cold), 2 * size)
    return {
        COLD_P50: percentile(cold, 0.5),
        COLD_P99: percentile(cold, 0.99),
        KNOWN_P50: percentile(known, 0.5),
        KNOWN_P99: percentile(known, 0.99),
    }


def _asked(client: GovernorClient, scopes: list[str]) -> Iterator[float]:
    for scope in scopes:
        start = perf_counter_ns()
        permit = client.try_permit(scope, "GET")
        taken = perf_counter_ns() - start
        if isinstance(permit, Permit):
            permit.record(status=200)
            yield taken / 1_000
        sleep(_PAUSE)
