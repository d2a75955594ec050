"""The calls of the workload, the same for both contenders.

Only when calls arrive is taken from a trace; whether a call reads or writes is drawn from the seed.
"""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Final

import msgspec

from demo.rules import READ, WRITE
from governor.errors import ConfigError

#: Each call is a task of its own, so their number has a bound.
MAX_CALLS: Final = 5_000
#: One call in so many writes.
_WRITES: Final = 5
#: Calls per second in quiet and in busy times, and how many seconds such times last on average.
_TIMES: Final = ((2.0, 6.0), (12.0, 3.0))


class Call(msgspec.Struct, frozen=True):
    """One call, `at` seconds after the start of the run."""

    at: float
    method: str
    path: str


def calls(arrivals: Iterable[float], *, speed: float, span: float, seed: int) -> list[Call]:
    """The calls of the first `span` seconds, when arrivals follow each other `speed` times as fast.

    `arrivals` are seconds, in order. Raises `ConfigError` if there are more than 5,000.
    """
    random = Random(seed)
    made: list[Call] = []
    for arrival in arrivals:
        at = arrival / speed
        if at >= span:
            break
        if len(made) == MAX_CALLS:
            raise ConfigError("--speed", speed, f"a lower speed, so that at most {MAX_CALLS} calls arrive in {span:g} s")
        method = READ if random.randrange(_WRITES) else WRITE
        made.append(Call(at, method, f"/items/{len(made)}"))
    return made


def bursts(seed: int) -> Iterator[float]:
    """Seconds at which calls arrive, without end: quiet and busy times take turns, both of random length.

    About 5 a second on average, like the public traces of services for language models.
    """
    random = Random(seed)
    now = 0.0
    while True:
        for rate, length in _TIMES:
            end = now + random.expovariate(1 / length)
            while (now := now + random.expovariate(rate)) < end:
                yield now
            # The gap that leads across the border is drawn anew at the other rate: exponential gaps have no memory.
            now = end
