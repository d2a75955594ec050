"""Scopes without an actor: the records of those that made room for others and have something to remember.

A record holds what the scope has spent, its breaker and its counters; the scope goes on from there when it is asked again. At
its bound the table drops a record that is as good as new by now, or takes no more.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

import msgspec

from governor._actors.units import UnitWatch
from governor._units import NEVER, Instant
from governor.config import is_within
from governor.policies.pipeline import PipelineSettings
from governor.policies.pipeline_state import PipelineState
from governor.policies.provider import ProviderPolicies
from governor.statistics import CounterRecord


class ScopeRecord(msgspec.Struct, frozen=True, gc=False):
    """Where a scope stood, and under which settings. `changes` counts the changes of settings until then.

    From `rests_at` on it would be the same if it were new. `providers` keeps what its provider has spent, and its key.
    """

    state: PipelineState
    settings: PipelineSettings
    counters: CounterRecord
    units: UnitWatch
    providers: tuple[ProviderPolicies, ...]
    changes: int
    rests_at: Instant


class SetAside:
    """The table. `on_dropped` is called with a scope whose record is dropped.

    Everything but `names` takes constant time, or about that of a heap.
    """

    __slots__ = ("_by_rest", "_on_dropped", "records")

    def __init__(self, on_dropped: Callable[[str], object] = bool) -> None:
        self._on_dropped = on_dropped
        #: The records by scope, to read only.
        self.records: dict[str, ScopeRecord] = {}
        # Those that will be as good as new, the first first; and some that have been taken out since.
        self._by_rest: list[tuple[Instant, str]] = []

    def __len__(self) -> int:
        return len(self.records)

    def keep(self, scope: str, record: ScopeRecord, *, now: Instant, most: int) -> bool:
        """Takes a record, if need be in the place of one that is as good as new. False at the bound of `most` records."""
        while len(self.records) >= most:
            if not self._drop_one(now):
                return False
        self.records[scope] = record
        if record.rests_at < NEVER:
            heappush(self._by_rest, (record.rests_at, scope))
        if len(self._by_rest) > 2 * len(self.records) + 64:
            self._by_rest = [(one.rests_at, name) for name, one in self.records.items() if one.rests_at < NEVER]
            heapify(self._by_rest)
        return True

    def _drop_one(self, now: Instant) -> bool:
        while self._by_rest and self._by_rest[0][0] <= now:
            rests_at, scope = heappop(self._by_rest)
            record = self.records.get(scope)
            if record is not None and record.rests_at == rests_at:
                del self.records[scope]
                self._on_dropped(scope)
                return True
        return False

    def remove(self, scope: str) -> None:
        """The scope is back."""
        self.records.pop(scope, None)

    def names(self, scope: str) -> Iterator[str]:
        """The scope itself, if there is a record, and those of a provider."""
        names = list(self.records) if scope else ()
        return (name for name in names if is_within(name, scope))
