"""How a call ended, by its error."""

from socket import gaierror
from typing import Final

from governor.errors import ConfigError
from governor.policies.arrivals import Ending
from governor.policies.contract import Result

#: Errors that say that no connection was made.
_UNSENT: Final = (ConnectionRefusedError, gaierror)


def ending_of(result: Result, status: int | None, error: BaseException) -> Ending:
    """How a call ended. A cancelled call, a timeout and a broken connection leave the provider at work, if it has the request.

    Another error without a status says nothing: the request may be on its way, or never have left. Raises `ConfigError` for
    what is no exception.
    """
    if not isinstance(error, BaseException):
        raise ConfigError("error", error, "an exception, or None")
    if not isinstance(error, Exception):
        return Ending.GIVEN_UP
    if status is None or (result is Result.FAILURE and status < 500):
        return Ending.GIVEN_UP if result is Result.FAILURE and not isinstance(error, _UNSENT) else Ending.UNKNOWN
    return Ending.REJECTED if status >= 400 else Ending.ANSWERED
