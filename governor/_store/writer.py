"""Writer: a thread that writes what it is given, in batches, and says when it is durable.

Bound: the accounts of a governor, each of which has at most one record in the queue.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from threading import Condition, Event, Thread
from typing import Final, NamedTuple, final

from governor._store.contract import Store, ToWrite, Unwritable

_log: Final = logging.getLogger("governor")

#: Seconds between two commits, unless a call waits.
_PAUSE: Final = 0.01
#: Seconds before a write that has failed is tried again, each time twice as long, and how often.
_FIRST_RETRY: Final = 0.1
_MAX_RETRIES: Final = 6


class Entry(NamedTuple):
    """A record to be written: its `body` is encoded on the writer's thread. None removes the record.

    `written` is called once it is durable, on that thread, and returns whether a call waits for it.
    """

    key: str
    ahead: int
    covered: int
    rests_at: int
    recovers: int
    body: Callable[[], bytes] | None
    written: Callable[[], bool]


@final
class Writer:
    """Owns a store from now on. `told` is called after a batch that a call waits for, and `failed` when nothing can be written.

    Both are called on the writer's thread.
    """

    def __init__(self, store: Store, *, told: Callable[[], object], failed: Callable[[], object]) -> None:
        self._lock = store.lock
        self._queue: deque[Entry] = deque()
        self._last: list[Entry] | None = None
        self._wake = Event()
        self._hurry = Event()
        self._written = Condition()
        self._closing = False
        self._told = told
        self._failed = failed
        # The thread alone knows the store: in a forked child, which has no such thread, nothing may close it.
        box = [store]
        self._thread = Thread(target=self._run, args=(box,), name="governor state", daemon=True)
        self._thread.start()

    def put(self, entry: Entry, *, hurry: bool = False) -> None:
        """Has a record written soon; with `hurry` a call waits for it. On any thread."""
        self._queue.append(entry)
        if hurry:
            self._hurry.set()
        self._wake.set()

    def hurry(self) -> None:
        """A call waits."""
        self._hurry.set()

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Blocks until something is true that a write makes true, for so many seconds at most."""
        self._hurry.set()
        with self._written:
            return self._written.wait_for(done, timeout)

    def finish(self, entries: Iterable[Entry]) -> None:
        """Writes these records as the last ones of a life that ends in order. Returns when they are durable. Blocks."""
        self._last = list(entries)
        self.abandon()
        self._thread.join()

    def abandon(self) -> None:
        """Closes the store as it is, soon: the life counts as one that has not ended in order."""
        self._closing = True
        self._hurry.set()
        self._wake.set()

    def forked(self) -> int | None:
        """In a forked child: the descriptor that the child must close, if there is one."""
        return self._lock

    # The thread.

    def _run(self, box: list[Store]) -> None:
        store = box.pop()
        try:
            if self._serve(store):
                store.close()
                return
        except Exception:
            _log.exception("The state of the governor cannot be written.")
        _log.error("The governor goes on without writing its state. After its next start it grants nothing for one window.")
        store.give_up()
        self._failed()

    def _serve(self, store: Store) -> bool:
        """Writes until the end. False if that is not possible any more."""
        while True:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing
            last = self._last if closing else None
            batch = [self._queue.popleft() for _ in range(len(self._queue))]
            if closing and last is None:
                batch = []
            if (batch or last is not None) and not self._write(store, [*batch, *(last or ())], ended=last is not None):
                return False
            if closing:
                return True
            self._hurry.wait(_PAUSE)
            self._hurry.clear()

    def _write(self, store: Store, batch: list[Entry], *, ended: bool) -> bool:
        # The latest entry of a key counts.
        latest = {entry.key: entry for entry in batch}
        records = [
            ToWrite(entry.key, entry.ahead, entry.covered, entry.rests_at, entry.recovers, entry.body())
            for entry in latest.values()
            if entry.body is not None
        ]
        removed = [entry.key for entry in latest.values() if entry.body is None]
        wait = _FIRST_RETRY
        for attempt in range(_MAX_RETRIES + 1):
            try:
                store.write(records, removed, ended=ended)
                break
            except (Unwritable, OSError) as error:
                _log.warning("The state of the governor cannot be written: %s", error)
                if attempt == _MAX_RETRIES or self._closing:
                    return False
                self._hurry.wait(wait)
                wait *= 2
        # Before `told`: a call that looks then finds the limit raised.
        waits = [entry.written() for entry in latest.values()]
        with self._written:
            self._written.notify_all()
        if any(waits):
            self._told()
        return True
