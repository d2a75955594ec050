"""Keeps the history of a governor with or without listeners.

It runs in a thread with an event loop of its own: the lifespan of an app may begin in one task and end in another, which no
task group survives. The governor is read in the same small steps as for listeners.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import anyio
from anyio.from_thread import start_blocking_portal

from governor.daemon.history import INTERVAL
from governor.daemon.reading import Observer, Unreadable
from governor.daemon.sampling import Sampler
from governor.instrumentation import AnyEvent


@contextmanager
def recording(observer: Observer) -> Iterator[None]:
    """Records rates and the timeline while the context is open."""
    unhook = observer.governor.add_hook(partial(_hear, observer, Sampler()))
    observer.recorded = True
    try:
        with start_blocking_portal() as portal:
            task = portal.start_task_soon(_record, observer)
            try:
                yield
            finally:
                task.cancel()
    finally:
        observer.recorded = False
        unhook()


async def _record(observer: Observer) -> None:
    while True:
        with suppress(Unreadable):
            await observer.status()
        await anyio.sleep(INTERVAL)


def _hear(observer: Observer, sampler: Sampler, event: AnyEvent, /) -> None:
    if sampler.admits(event):
        observer.history.tell(event.entry())
