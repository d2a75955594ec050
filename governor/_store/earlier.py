"""Earlier lives: what is known of them when a governor begins, and which deaths each record has to count with.

Bound: the records in the file, less those that say nothing any more, which are dropped when a life begins.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Final, TypeVar, final

from governor._store.contract import Head, Loss, OpenStore, Record, Store, Takeover, Unusable
from governor._store.file import StateFile
from governor._store.journal import digest
from governor._store.records import Damaged, StoredGlobal, StoredProvider, StoredScope, provider_key, scope_key, scope_of_key
from governor._units import Instant
from governor.clock import Clock, moment
from governor.config import is_within
from governor.policies.pipeline_state import PipelineState
from governor.policies.survival import Death

_log: Final = logging.getLogger("governor")

S = TypeVar("S", StoredScope, StoredProvider, StoredGlobal)


@final
class EarlierLives:
    """The records of earlier lives, each of which is taken once. `store` is None if the folder cannot be used.

    Opening it blocks. Raises `UsageError` if another process owns the folder.
    """

    def __init__(self, folder: Path, clock: Clock, open_store: OpenStore = StateFile) -> None:
        self.store: Store | None = None
        self._records: dict[str, Record | None] = {}
        self._losses: Mapping[int, Mapping[int, Loss]] = {}
        try:
            self.store = open_store(folder, clock)
            self._records, self._losses = dict(self.store.records), self.store.losses
        except Unusable as error:
            _log.error(
                "The state of the governor cannot be kept: %s. It grants nothing before one window of each limit has passed, "
                "and forgets everything when it ends.",
                error,
            )
            here = moment(clock)
            self._head = Head(1, False, (Takeover(0, here.instant, everything=True),), here)
            self.ahead = 0
            return
        self.ahead, self._head, self.learning = self.store.ahead, self.store.head, self.store.learning
        if self.store.damage is not None:
            _log.error(
                "The state file in %s is set aside as damaged: %s. The governor grants nothing before one window of each limit "
                "has passed.",
                folder,
                self.store.damage,
            )
        self.outdated = self._drop_outdated()

    #: The keys of records that say nothing any more, to be removed.
    outdated: tuple[str, ...] = ()
    #: Whether there was a life before this one, as far as is known.
    learning: bool = True

    @property
    def began_at(self) -> Instant:
        """When this life began."""
        return self._head.moment.instant

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def knows(self, name: str) -> bool:
        """Whether there is a record of a scope or a provider of this name that has not been taken yet."""
        return scope_key(name) in self._records or provider_key(name) in self._records

    def scopes(self, name: str) -> Iterator[tuple[str, PipelineState]]:
        """The scopes of that name, or of that provider, whose records have not been taken yet, and how they stand."""
        for key, record in list(self._records.items()):
            scope = scope_of_key(key)
            if scope is not None and record is not None and is_within(scope, name):
                with suppress(Damaged):
                    yield scope, StoredScope.decode(record.body).state

    def take(self, key: str, kind: type[S]) -> tuple[S | None, list[Death]]:
        """What is recorded under a key, if anything, and the deaths since. If it is damaged, everything counts as granted."""
        if key not in self._records:
            return None, self._deaths(key, None)
        record = self._records.pop(key)
        if record is not None:
            try:
                return kind.decode(record.body), self._deaths(key, record)
            except Damaged as error:
                _log.error("The record of %s cannot be read, so that everything counts as used: %s", key, error)
        else:
            _log.error("The record of %s is damaged, so that everything counts as used.", key)
        return None, [Death(self.began_at, None)]

    def _deaths(self, key: str, record: Record | None) -> list[Death]:
        life, ahead = (0, 0) if record is None else (record.life, record.ahead)
        found: list[tuple[int, Death]] = []
        for takeover in self._head.takeovers:
            if takeover.life < life or (record is not None and takeover.everything and takeover.life == 0):
                continue
            points = None if takeover.everything else takeover.first
            if points is not None and record is not None and life >= (takeover.since or takeover.life):
                # In the life of the record itself the record covers everything.
                points = ahead if takeover.life == life else points + ahead
            found.append((takeover.life, Death(takeover.at, points)))
        for of, loss in self._losses.get(digest(key), {}).items():
            found.append((of, Death(loss.at, None, loss.tally)))
        # Nothing more was granted, but the calls of a life that ended in order have ended with it.
        return [death for _, death in sorted(found, key=itemgetter(0))] or [Death(self.began_at, 0)]

    def _drop_outdated(self) -> tuple[str, ...]:
        now, died = self.began_at, {takeover.life: takeover.at for takeover in self._head.takeovers}
        outdated = []
        for key, record in self._records.items():
            if record is not None and digest(key) not in self._losses:
                at = died.get(record.life)
                rests_at = record.rests_at if at is None else max(record.rests_at, at) + record.recovers
                if rests_at <= now:
                    outdated.append(key)
        for key in outdated:
            del self._records[key]
        return tuple(outdated)
