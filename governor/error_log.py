"""Logging of errors that must not fail a request: at most one line a minute for each subject, without the data of clients.

Where the governor fails, inbound requests pass, and every one of them may fail in the same way.
"""

import logging
from traceback import format_tb
from typing import Final, final

from governor._units import MINUTE
from governor.clock import system_clock
from governor.errors import GovernorError

_log: Final = logging.getLogger("governor")


@final
class ErrorLog:
    """Logs to the logger `governor`, at most once a minute for each subject. Subjects are a few constant sentences.

    Any thread may call it. It takes no lock: at worst a line is logged twice.
    """

    __slots__ = ("_logged_at",)

    def __init__(self) -> None:
        self._logged_at: dict[str, int] = {}

    def __call__(self, subject: str, error: Exception | None = None) -> None:
        """Logs the subject, with the error and where it was raised.

        The message of an error of other code is left out: it may hold what a client has sent.
        """
        if not self._is_due(subject):
            return
        if error is None:
            _log.error("%s", subject)
            return
        message = str(error) if isinstance(error, GovernorError) else type(error).__name__
        _log.error("%s: %s\n%s", subject, message, "".join(format_tb(error.__traceback__)))

    def warn(self, subject: str, error: Exception | None = None) -> None:
        """Logs the subject as a warning, with the message of an error that holds nothing of clients."""
        if self._is_due(subject):
            _log.warning("%s", subject if error is None else f"{subject}: {error}")

    def _is_due(self, subject: str) -> bool:
        now = system_clock()
        if now - self._logged_at.get(subject, -MINUTE) < MINUTE:
            return False
        self._logged_at[subject] = now
        return True
