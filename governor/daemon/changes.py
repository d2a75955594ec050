"""The difference of two status documents, for listeners that know the first one."""

from collections.abc import Iterator
from typing import TypeVar

from msgspec import UNSET, UnsetType

from governor.cooperative import batched
from governor.daemon.documents import Changes, Status
from governor.statistics import GroupStatistics, ScopeStatistics

T = TypeVar("T")


def changes(before: Status, after: Status) -> Iterator[Changes | None]:
    """What makes `after` of `before`, in steps (`steps`).

    Law: `before` with the changes merged into it equals `after`.
    """
    scopes: dict[str, ScopeStatistics | GroupStatistics] = {}
    labels: dict[str, str] = {}
    for part in batched(after.scopes.items()):
        for key, scope in part:
            if before.scopes.get(key) != scope:
                scopes[key] = scope
            if before.labels.get(key) != after.labels[key]:
                labels[key] = after.labels[key]
        yield None
    gone: list[str] = []
    for keys in batched(before.scopes):
        gone += [key for key in keys if key not in after.scopes]
        yield None
    yield Changes(
        about=_unless_equal(before.about, after.about),
        headline=_unless_equal(before.headline, after.headline),
        conditions=_unless_equal(before.conditions, after.conditions),
        global_=after.global_,
        outbound_scopes=_unless_equal(before.outbound_scopes, after.outbound_scopes),
        inbound_scopes=_unless_equal(before.inbound_scopes, after.inbound_scopes),
        recent_denials=_unless_equal(before.recent_denials, after.recent_denials),
        actions=_unless_equal(before.actions, after.actions),
        labels=labels,
        gone=gone,
        scopes=scopes,
    )


def _unless_equal(before: T, after: T) -> T | UnsetType:
    return UNSET if before == after else after
