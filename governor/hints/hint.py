"""The hint: what an answer says about one limit of the server."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal, NamedTuple, Protocol, get_args

from governor._units import HOUR, MINUTE, SECOND, Duration
from governor.errors import ConfigError

#: The longest span that is believed by default: what a server says beyond it counts as this long.
MAX_HINT: Final = HOUR
#: The wait after an answer that denies the call as rate limited and does not say for how long.
MIN_WAIT: Final = SECOND
#: The wait after an answer that says that the client is banned, and not until when. It grows while the ban lasts.
BAN_WAIT: Final = Duration(5 * MINUTE)
#: Units that remain, from which on a hint can wait.
_MANY: Final = 256


class Headers(Protocol):
    """The headers of a request or an answer: those of every HTTP library."""

    def get(self, name: str, /) -> str | None:
        """The value of a header, whose name is in lower case, or None; several values are joined with commas."""
        ...


class Severity(StrEnum):
    """How urgent a hint is, from the mildest to the most urgent."""

    #: The state of a limit of which units remain.
    NOTICE = "notice"
    #: A limit of which nothing remains until it is reset.
    EXHAUSTED = "exhausted"
    #: The server asks for a pause, with an answer that does not say "rate limited".
    PAUSE = "pause"
    #: The server denied this request as rate limited.
    THROTTLED = "throttled"


#: What a limit holds for: the scope of the call, or all scopes of the provider.
Scope = Literal["scope", "provider"]
_SCOPES: Final = get_args(Scope)


class Hint(NamedTuple):
    """What an answer says about one limit of the server. Spans are in microseconds from the time at which it was read.

    `reset` and `retry_after` are not longer than the `max_hint` with which the answer was read; a `window` may be.
    """

    #: What the limit counts: `requests`, `tokens`, or another unit of the dialect.
    dimension: str
    #: Units of a window, at least 1.
    limit: int | None = None
    #: Units left until `reset`. More than these must not be granted before, calls in flight included.
    remaining: int | None = None
    #: The span after which the limit is available again.
    reset: Duration | None = None
    #: The span in which no call may be sent; None does not forbid calls.
    retry_after: Duration | None = None
    severity: Severity = Severity.NOTICE
    scope: Scope = "provider"
    #: The length of the window of `limit`, if the server or its dialect says it.
    window: Duration | None = None
    #: The server's own name of the limit: a policy, a bucket or a resource.
    name: str | None = None
    #: Whether the server does not say `retry_after`: it is then that of the dialect.
    assumed: bool = False
    #: Whether the server says that the client is banned, and not until when. The wait grows while that lasts.
    banned: bool = False


def agree(found: list[Hint], wait: int) -> None:
    """Let what an answer states stand for the windows that its limits without a reset are assumed to wait for.

    That is the `wait` that a denial asks for, or the reset of the same limit by another name. A window is longer than either.
    """
    for at, hint in enumerate(found):
        if hint.reset is None and hint.retry_after is not None and not hint.assumed:
            same = (one.reset for one in found if one.reset and one.remaining == 0 and one.limit == hint.limit is not None)
            until = wait if wait > 0 else max(same, default=0)
            if 0 < until < hint.retry_after:
                found[at] = hint._replace(retry_after=Duration(until), reset=Duration(until))


def check(hints: Iterable[object]) -> None:
    """Raises `ConfigError` unless these are hints with fields of their types: others would fail in the actor, for all calls."""
    for hint in hints:
        if not (
            isinstance(hint, Hint)
            and isinstance(hint.dimension, str)
            and isinstance(hint.severity, Severity)
            and hint.scope in _SCOPES
            and (hint.name is None or isinstance(hint.name, str))
        ):
            raise _no_hint(hint)
        for number in (hint.limit, hint.remaining, hint.reset, hint.retry_after, hint.window):
            if number is not None and not isinstance(number, int):
                raise _no_hint(hint)


def _no_hint(value: object) -> ConfigError:
    return ConfigError("hints", value, "a sequence of `Hint`, such as what `read_hints` returns, with fields of their types")


def matters_at_once(hint: Hint) -> bool:
    """Whether calls on other threads must know of it at once: not while many units remain."""
    return hint.retry_after is not None or (hint.remaining is not None and hint.remaining < _MANY)
