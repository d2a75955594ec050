"""The cost of an idle program: 100 scopes in which 8 threads have made calls, and no calls any more.

Counted are the processor time of the whole process, and how often one of its threads went to sleep: each time, something had
woken it.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Final

from benchmarks.measure import check_count

#: The metrics, for each second of doing nothing.
CPU_MS: Final = "cpu_ms"
SLEEPS: Final = "sleeps"

_SCOPES: Final = 100
_THREADS: Final = 8
#: Asks of each thread in each scope: enough that permits are granted ahead.
_ASKS: Final = 20
#: Seconds until everything is idle.
_SETTLING: Final = 1.0


def governor(size: int) -> Mapping[str, float]:
    """`size` milliseconds with a governor on its background thread."""
    # Here, because the control must not be charged for it.
    from benchmarks.contention.subjects.ours import GOVERNOR
    from benchmarks.contention.throughput import WIDE

    with GOVERNOR.open(WIDE) as doors:
        return _at_rest(size, [doors.ask(f"scope{number}") for number in range(_SCOPES)])


def nothing(size: int) -> Mapping[str, float]:
    """The same threads without one."""
    return _at_rest(size, [lambda: True] * _SCOPES)


def _at_rest(size: int, asks: Sequence[Callable[[], bool]]) -> Mapping[str, float]:
    asked = Barrier(_THREADS + 1)
    end = Event()

    def live() -> int:
        granted = sum(ask() for ask in asks for _ in range(_ASKS))
        asked.wait()
        end.wait()
        return granted

    with ThreadPoolExecutor(_THREADS) as pool:
        threads = [pool.submit(live) for _ in range(_THREADS)]
        asked.wait()
        time.sleep(_SETTLING)
        cpu, sleeps = time.process_time(), _sleeps()
        time.sleep(size / 1_000)
        cpu, sleeps = time.process_time() - cpu, _sleeps() - sleeps
        end.set()
        check_count(sum(thread.result() for thread in threads), _THREADS * len(asks) * _ASKS)
    return {CPU_MS: cpu * 1_000_000 / size, SLEEPS: sleeps * 1_000 / size}


def _sleeps() -> int:
    """Voluntary context switches so far; not counted on Windows."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
