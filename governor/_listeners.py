"""Listeners of a governor: hooks and the log, over all its lives. Each life has an announcer of its own."""

from collections.abc import Callable
from typing import final

from governor.clock import wall_clock
from governor.config import LoggingSettings
from governor.instrumentation import Announcer, Hook


@final
class Listeners:
    """The hooks to tell of events in this life and in later ones, and the log, if there is one."""

    def __init__(self) -> None:
        self.announcer = Announcer(wall_clock)
        # Each with the function that ends it in this life.
        self._hooks: dict[object, tuple[Hook, Callable[[], None]]] = {}
        self._logging = LoggingSettings()
        self._end_log: Callable[[], None] | None = None

    def add(self, hook: Hook) -> Callable[[], None]:
        """Tells `hook` of every event from now on, on a thread of its own. Returns the function that ends this."""
        key = object()
        self._hooks[key] = hook, self.announcer.add(hook)

        def remove() -> None:
            """Tells the hook of no later event."""
            known = self._hooks.pop(key, None)
            if known is not None:
                known[1]()

        return remove

    def log(self, settings: LoggingSettings) -> None:
        """Writes events to a log from now on, or no longer, as the settings say."""
        if settings == self._logging:
            return
        end = None
        if settings.enabled:
            # A program without a log does not even load what could write one.
            from governor.instrumentation.log import Log

            size = settings.max_size_mb * 1_000_000
            lost = self.announcer.count_failures
            log = Log(settings.directory, max_size=size, wall_clock=wall_clock, lost=lost)
            end = self.announcer.add(log, pause=log.pause, last=log.close)
        if self._end_log is not None:
            self._end_log()
        self._logging, self._end_log = settings, end

    def renew(self) -> None:
        """Begins another life: other queues and threads for the same hooks."""
        self.announcer.close(timeout=0)
        self.announcer = Announcer(wall_clock)
        self._logging, self._end_log = LoggingSettings(), None
        for key, (hook, _) in list(self._hooks.items()):
            self._hooks[key] = hook, self.announcer.add(hook)
