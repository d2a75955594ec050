"""Beginnings of answers, kept until the outcome of the call follows: in one process the two share an object.

Bound: `MAX_ANSWERED` for each session. Beyond, the oldest is forgotten, and its outcome is read as if it had been told alone.
"""

from collections import OrderedDict, deque
from typing import Final, final

from governor.messages import Answered

#: Beginnings of answers whose outcome has not been told, at most.
MAX_ANSWERED: Final = 16_384

#: Scope and number of the ask; or for leased permits, which are alike, 0 and when they were granted.
Call = tuple[str, int, int]


@final
class Answers:
    """The answers of one session that have begun."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: OrderedDict[Call, deque[Answered]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._begun)

    def began(self, call: Call, answered: Answered) -> None:
        """An answer has begun, and will be read by the actor, which notes in it what it has done."""
        answered.at, answered.freed = None, False
        self._begun.setdefault(call, deque(maxlen=MAX_ANSWERED)).append(answered)
        if len(self._begun) > MAX_ANSWERED:
            self._begun.popitem(last=False)

    def of(self, call: Call, told: Answered | None, *, ended: bool) -> Answered | None:
        """The beginning that an outcome names: as the actor has read it, if it has. Forgets it if the call has `ended`."""
        if told is None:
            return None
        for answered in self._begun.get(call, ()):
            if (answered.status, answered.rejection) == (told.status, told.rejection):
                if ended:
                    self._forget(call, answered)
                return answered
        told.at, told.freed = None, False
        return told

    def _forget(self, call: Call, answered: Answered) -> None:
        begun = self._begun[call]
        begun.remove(answered)
        if not begun:
            del self._begun[call]
