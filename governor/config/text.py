"""Limits as text: `60/minute burst 10`, `60 per minute strict`, `30 in flight`, and the text of registered kinds.

For every limit with a unit of at most 100 characters, `parse_limit(describe(limit)) == limit`.
"""

from governor._units import lowered
from governor.config.plugins import load_plugins
from governor.errors import ConfigError
from governor.policies.contract import Limit
from governor.policies.limits import kinds


def parse_limit(text: object, *, field: str = "limit") -> Limit:
    """The limit that the text means; a limit object is returned as it is.

    `AMOUNT [UNIT] / PERIOD [burst N]` is a token bucket; without `burst` its capacity is the amount of one period, rounded
    down, and at least 1. `AMOUNT [UNIT] per PERIOD strict` is a strict window, with a whole amount. `AMOUNT in flight` limits
    concurrency. A period is a unit of time or a duration: `minute`, `10s`. `per` means the same as `/`, and requires `strict`
    or `burst`. Upper case, spaces, and `_` between digits do not matter. Words such as `req` and `calls` mean requests, and
    `token` means `tokens`. Registered kinds of limits have texts of their own. Raises `ConfigError` for `field`.
    """
    if isinstance(text, Limit):
        return text
    words = lowered(text)
    try:
        limit = None if words is None else _parse(words) or (_parse(words) if load_plugins() else None)
    except ConfigError as error:
        raise ConfigError(field, text, f"a limit whose {error.field} is {error.allowed}") from None
    if limit is None:
        *others, last = [repr(example) for kind in kinds() for example in kind.limit.examples]
        raise ConfigError(field, text, f"a limit as text, for instance {', '.join(others)} or {last}")
    return limit


def describe(limit: Limit) -> str:
    """The text that `parse_limit` reads as exactly this limit: `8.33/s burst 500`."""
    return limit.describe()


def _parse(words: str) -> Limit | None:
    return next((limit for kind in kinds() if (limit := kind.limit.parse(words)) is not None), None)
