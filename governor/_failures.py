"""Classification of exceptions: what an exception says about the provider whose call it ended.

An exception is a failure of the provider only if it carries a status of 500 or more, or is a timeout or a network error. A
lower status is an answer, and counts as one. A status of a proxy on the way is no answer of the provider. Everything else is
neutral, because most exceptions inside a block are mistakes of the program's own code.

Reading an exception runs foreign code: attributes may be missing, raise, or hold anything.
"""

import errno
import logging
import operator
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from inspect import iscoroutinefunction
from types import MethodType
from typing import Final, Literal, NamedTuple, final

from governor._known_exceptions import Kind, kind_of
from governor.errors import ConfigError, GovernorError
from governor.policies.contract import Result

_log: Final = logging.getLogger("governor")

#: What a `classify` function returns: the result of the call, or the HTTP status that the exception stands for, or None for the
#: rules of this module.
Verdict = Result | Literal["success", "failure", "neutral"] | int | None
Classify = Callable[[Exception], Verdict]

#: The most exceptions that are examined for one outcome: causes of causes, and members of groups.
MAX_EXAMINED: Final = 1_000


class Classified(NamedTuple):
    """The result that an exception stands for, and the HTTP status that decided it, if any."""

    result: Result
    status: int | None = None


_NEUTRAL: Final = Classified(Result.NEUTRAL)
_FAILURE: Final = Classified(Result.FAILURE)


def of_status(status: int) -> Classified:
    """The result of an answer: a failure for 5xx, otherwise a success, because a provider that answers 4xx works."""
    return Classified(Result.FAILURE if status >= 500 else Result.SUCCESS, status)


@final
class Classifier:
    """Classifies exceptions by `classify`, a function of the program; where it returns None or fails, by the rules above.

    `fallback` comes between the two. A function that fails is logged once, by the last fallback. Raises `ConfigError` for a
    `classify` that is not a function, or that is `async`.
    """

    __slots__ = ("_classify", "_fallback", "_failed")

    def __init__(self, classify: Classify | None = None, *, fallback: "Classifier | None" = None) -> None:
        if classify is not None and (not callable(classify) or iscoroutinefunction(classify)):
            raise ConfigError("classify", classify, "a function that takes an exception, not `async`, or None")
        self._classify = classify
        self._fallback = fallback
        self._failed = False

    def __call__(self, error: BaseException, status: int | None = None) -> Classified:
        """The result of a call that ended with `error`, after an answer with this HTTP status if there was one.

        Never raises, whatever the exception looks like.
        """
        try:
            found = self._examine(error)
        except Exception as cause:
            self._complain("An exception could not be examined and counts as neutral.", cause)
            found = _NEUTRAL
        if status is None:
            return found or _NEUTRAL
        # An answer that broke off is a failure whatever its status. Exceptions of the program itself do not change an answer.
        return of_status(status) if found is None or found.status is not None else Classified(found.result, status)

    def _examine(self, error: BaseException) -> Classified | None:
        """The first failure among the members of a group, else the first answer; None if no exception is about the provider."""
        found: Classified | None = None
        seen: set[int] = set()
        #: A stack. The flag says whether `classify` is asked: about raised exceptions, and not about their causes.
        pending = [(error, True)]
        while pending and len(seen) < MAX_EXAMINED:
            one, ask = pending.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            if isinstance(one, BaseExceptionGroup):
                pending.extend((cause, False) for cause in _causes(one))
                pending.extend((member, ask) for member in reversed(one.exceptions))
                continue
            said = self._of_one(one, ask=ask)
            if said is None:
                pending.extend((cause, False) for cause in _causes(one))
            elif said.result is Result.FAILURE:
                return said
            elif found is None or found.result is Result.NEUTRAL:
                found = said
        return found

    def _of_one(self, error: BaseException, *, ask: bool) -> Classified | None:
        if not isinstance(error, Exception) or isinstance(error, GovernorError):
            # Cancellation, the end of the interpreter, or an error of ours, which may also be an error of an HTTP library: this
            # is looked at first.
            return _NEUTRAL
        said = self._ask(error) if ask else None
        return by_rule(error) if said is None else said

    def _ask(self, error: Exception) -> Classified | None:
        if self._classify is not None:
            try:
                said = _verdict(self._classify(error))
            except Exception as cause:
                self._complain("`classify` failed; the exception is classified without it.", cause)
                said = None
            if said is not None:
                return said
        return None if self._fallback is None else self._fallback._ask(error)

    def _complain(self, message: str, cause: Exception) -> None:
        if self._fallback is not None:
            self._fallback._complain(message, cause)
        elif not self._failed:
            self._failed = True
            try:
                _log.error("%s This is logged once.", message, exc_info=cause)
            except Exception:
                pass  # Filters of logging are foreign code as well.


#: Classifies by the rules of this module only.
DEFAULT: Final = Classifier()


def by_rule(error: Exception) -> Classified | None:
    """The result that one exception stands for, without its causes; None if it is not about the provider."""
    kind = kind_of(type(error))
    if kind is Kind.OURS:
        return _NEUTRAL
    if kind is Kind.SERVER:
        return None
    if kind is Kind.PROXY:
        return _FAILURE
    status = _carried_status(error)
    if status is not None:
        return _answered(status)
    if kind is Kind.FAILURE or _is_network_error(error):
        return _NEUTRAL if _stems_from_us(error) else _FAILURE
    if kind is Kind.WRAPPER:
        return _FAILURE if next(_causes(error), None) is None else None
    for name in _CODE_NAMES:
        status = _status(_called(error, name), least=400)
        if status is not None:
            return _answered(status)
    return None


def _stems_from_us(error: Exception) -> bool:
    """Whether a library made this exception of one of ours: requests, for one, raises its own for what an adapter raises."""
    pending, seen = [error], set[int]()
    while pending and len(seen) < MAX_EXAMINED:
        for cause in (*_causes(one := pending.pop()), *one.args):
            if isinstance(cause, GovernorError):
                return True
            if isinstance(cause, Exception) and id(cause) not in seen:
                seen.add(id(cause))
                pending.append(cause)
    return False


def _answered(status: int) -> Classified:
    return _NEUTRAL if status == _CANCELLED else of_status(status)


_WORDS: Final = tuple(result.value for result in Result)


def _verdict(answer: object) -> Classified | None:
    """The return value of a `classify` function. Raises TypeError or ValueError if it is not a `Verdict`."""
    if answer is None:
        return None
    if isinstance(answer, Result) or answer in _WORDS:
        return Classified(Result(answer))
    status = None if isinstance(answer, bool) else _status(answer, least=100)
    if status is None:
        raise ValueError(
            f"`classify` returned {answer!r}; expected 'failure', 'success', 'neutral', an HTTP status from 100 to 599, or None"
        )
    return of_status(status)


# Statuses.

#: Attributes that hold the status of an answer, or the answer.
_STATUS_NAMES: Final = ("status_code", "status", "http_status", "response_code")
_ANSWER_NAMES: Final = ("response", "resp", "meta")
#: Attributes that hold a status only in some libraries: 4xx and 5xx count, and only as a last resort.
_CODE_NAMES: Final = ("code", "grpc_status_code")
#: Stands for the status of a call that this side cancelled.
_CANCELLED: Final = 0
#: The statuses of gRPC by name: their numbers, and the HTTP statuses that `google.rpc.Code` gives for them.
_GRPC: Final[Mapping[str, tuple[int, int]]] = {
    "OK": (0, 200),
    "CANCELLED": (1, _CANCELLED),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}


def _carried_status(error: Exception) -> int | None:
    for name in _STATUS_NAMES:
        status = _status(_called(error, name), least=100)
        if status is not None:
            return status
    for holder in _ANSWER_NAMES:
        answer = _read(error, holder)
        if answer is None:
            continue
        for name in _STATUS_NAMES:
            status = _status(_read(answer, name), least=100)
            if status is not None:
                return status
        if isinstance(answer, dict):  # botocore
            metadata = answer.get("ResponseMetadata")
            status = _status(metadata.get("HTTPStatusCode"), least=100) if isinstance(metadata, dict) else None
            if status is not None:
                return status
    return None


def status_of_answer(answer: object) -> int | None:
    """The status of an answer of an HTTP library: of an object with `headers` and a status. None for any other object."""
    if _read(answer, "headers") is None:
        return None
    found = (_status(_read(answer, name), least=100) for name in ("status_code", "status"))
    return next((status for status in found if status is not None), None)


def _status(value: object, *, least: int) -> int | None:
    """The value as an HTTP status from `least` to 599; None for everything else, close codes and numbers of errors among it."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    if isinstance(value, Enum) and value.name in _GRPC:
        number, status = _GRPC[value.name]
        if value.value == number or (isinstance(value.value, tuple) and value.value[:1] == (number,)):
            return status
    try:
        number = operator.index(value)  # type: ignore[arg-type] # raises for what is no whole number
    except Exception:
        return None
    return number if least <= number <= 599 else None


def _read(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def _called(error: Exception, name: str) -> object:
    """The same, and what it returns if it is a method of the exception, as `code` of gRPC's is."""
    value = _read(error, name)
    if not isinstance(value, MethodType) or iscoroutinefunction(value):
        return value
    try:
        return value()
    except Exception:
        return None


# Timeouts and network errors.

#: Errors of sockets. Errors of files, and a lack of descriptors or memory, are not about a provider.
_NETWORK_NAMES: Final = (
    *("EADDRNOTAVAIL", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETRESET"),
    *("ENETUNREACH", "ENONET", "ENOTCONN", "EPIPE", "EPROTO", "ESHUTDOWN", "ETIMEDOUT"),
)
_NETWORK: Final = frozenset(
    number
    for name in _NETWORK_NAMES
    for prefixed in (name, f"WSA{name}")  # Windows has numbers of its own for sockets.
    if (number := getattr(errno, prefixed, None)) is not None
)


def _is_network_error(error: Exception) -> bool:
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if not isinstance(error, OSError):
        return False
    number = _read(error, "errno")
    if number is None:
        # Errors of files have a number. Event loops raise an OSError without one after several failed attempts to connect.
        return type(error) is OSError
    return isinstance(number, int) and number in _NETWORK and _read(error, "filename") is None


#: Attributes that hold the cause of an exception.
_CAUSE_NAMES: Final = ("__cause__", "reason", "original_exception", "inner_exception", "cause")


def _causes(error: BaseException) -> Iterator[BaseException]:
    for name in _CAUSE_NAMES:
        cause = _read(error, name)
        if isinstance(cause, BaseException):
            yield cause
    arguments = _read(error, "args")
    if isinstance(arguments, tuple) and arguments and isinstance(cause := arguments[0], BaseException):  # requests
        yield cause
    options = _read(error, "kwargs")
    if isinstance(options, dict) and isinstance(cause := options.get("error"), BaseException):  # botocore
        yield cause
