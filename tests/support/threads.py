"""Threads that meet, and that take turns more often than they do otherwise."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Thread
from typing import Final, TypeVar
from unittest.mock import patch

from governor._actors import asking
from tests.support.waits import PATIENCE

T = TypeVar("T")

THREADS: Final = 8


def all_at_once(work: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """Runs the work in so many threads that begin together, and collects what it returns."""
    barrier = Barrier(threads)

    def run(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def elsewhere(function: Callable[..., object], *arguments: object, **keywords: object) -> None:
    """Calls the function on another thread, while this one blocks."""
    thread = Thread(target=function, args=arguments, kwargs=keywords)
    thread.start()
    thread.join()


@contextmanager
def brisk(interval: float = 1e-5) -> Iterator[None]:
    """Threads take turns this often, in seconds, and are patient with a loop that seldom has its turn."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        with patch.object(asking, "_ANSWER_TIMEOUT", PATIENCE):
            yield
    finally:
        sys.setswitchinterval(before)
