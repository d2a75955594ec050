"""Store: what keeps the records of a governor from one life to the next, and knows how lives began and ended.

`tests/contracts/test_store_contract.py` is a suite for every store.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from governor._store.journal import Journal
from governor._units import Instant
from governor.clock import Clock, Moment
from governor.policies.account import FIRST
from governor.policies.survival import Tally


class Unusable(Exception):
    """The folder or its file cannot be used, for this reason."""


class Unwritable(Exception):
    """Nothing can be written now, for this reason. It may be tried again."""


class Takeover(msgspec.Struct, frozen=True):
    """A life that did not end in order and left no journal, and when the next one took over.

    In `everything` lives nothing was recorded. Each account may have granted `first` points without a record. It stands for all
    lives without a journal from `since` on, if that is not 0.
    """

    life: int
    at: Instant
    first: int = FIRST
    everything: bool = False
    since: int = 0


class Head(msgspec.Struct, frozen=True):
    """The number of the latest life, whether it has ended in order, the takeovers before it, and when it was last written."""

    life: int
    ended: bool
    takeovers: tuple[Takeover, ...]
    moment: Moment
    #: What the journal of the life begins with, and how many points each account may grant before it has a record.
    token: bytes = b""
    first: int = FIRST
    #: How often the file has been written, in all lives.
    writes: int = 0


class Record(NamedTuple):
    """A record as it is stored: in which life it was written, and how much may have been granted since in that life.

    It covers the first `covered` points of what had been granted in that life.

    From `rests_at` on it says the same as none, if nothing was granted since. What may have been granted since recovers within
    `recovers` microseconds.
    """

    life: int
    ahead: int
    covered: int
    rests_at: int
    recovers: int
    body: bytes


class ToWrite(NamedTuple):
    """A record as it is written, in the life that is."""

    key: str
    ahead: int
    covered: int
    rests_at: int
    recovers: int
    body: bytes


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """What a journal says of an account, and when the life after it took over."""

    at: Instant
    tally: Tally


class Store(Protocol):
    """An open store, in which one life has begun, durably. It is used by one thread at a time, and may block in every method.

    To open it raises `UsageError` if another process has it open, and `Unusable` if it cannot be used at all. What is damaged
    is set aside, and the life begins as after one of which nothing was recorded.
    """

    @property
    def head(self) -> Head:
        """The life that has begun, with the takeovers of earlier ones. Lives are numbered from 1, without gaps."""

    @property
    def ahead(self) -> int:
        """By how many microseconds the governor's clock is ahead of the given one: it goes on from earlier lives."""

    @property
    def records(self) -> Mapping[str, Record | None]:
        """All records by key when the life began; None for one that is damaged."""

    @property
    def losses(self) -> Mapping[int, Mapping[int, Loss]]:
        """What journals say of each account that has no record since, by digest and life; empty without journals."""

    @property
    def learning(self) -> bool:
        """Whether there was a life before this one: processes that shared its limits may have used some of them since."""

    @property
    def damage(self) -> str | None:
        """What was wrong with what was set aside; None if nothing was."""

    @property
    def journal(self) -> Journal | None:
        """The journal of this life; None without one: then a life that is killed counts with its marks ahead."""

    @property
    def lock(self) -> int | None:
        """A descriptor that a forked child must close; None if there is none."""

    def write(self, records: Iterable[ToWrite], removed: Iterable[str], *, ended: bool = False) -> None:
        """Writes records, and removes others by their keys: all of them, durably, or none.

        With `ended` the life ends in order. Raises `Unwritable`, after which it may be tried again.
        """

    def close(self) -> None:
        """Closes the store, so that another process can open it."""

    def give_up(self) -> None:
        """The store cannot be written any more: the next life begins as after one of which nothing was recorded."""


#: Opens the store of a folder, for a governor with this clock before anything is known of earlier lives.
OpenStore = Callable[[Path, Clock], Store]
