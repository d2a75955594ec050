"""Units without effect: those that calls name and no limit counts, and those that a limit counts and no call names.

Neither can be seen when the configuration is made. Each is warned of once for a scope, and stays a condition in its statistics
for as long as it holds. At the bound: of the units that no limit counts, the first `MAX_UNKNOWN_UNITS` are remembered.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Final, final

import msgspec

from governor.policies import unit_names
from governor.policies.contract import REQUESTS, LimitPolicy

_log: Final = logging.getLogger("governor")

#: Permits after which a unit that none of them has named counts as one that no call names.
PERMITS_WATCHED: Final = 100
MAX_UNKNOWN_UNITS: Final = 16
#: One for all scopes: each call of `frozenset` makes another one, of 216 bytes.
_NONE: Final[frozenset[str]] = frozenset()
_MAX_NAME: Final = 64


@final
class UnitWatch(msgspec.Struct, eq=False, gc=False):
    """The units of one scope. Written by its actor only."""

    _scope: str
    _limited: bool = False
    #: What limits count beside requests, and what of it calls have named so far.
    _counted: frozenset[str] = _NONE
    _named: frozenset[str] = _NONE
    _unknown: tuple[str, ...] = ()
    _warned: frozenset[str] = _NONE
    _since: int = 0
    #: Whether permits are still to be looked at one by one.
    watching: bool = False

    def follow(self, limits: Sequence[LimitPolicy], requests: int) -> None:
        """These limits are in force from now on, when so many permits have been granted."""
        self._limited = bool(limits)
        counted = [limit.unit for limit in limits if limit.unit != REQUESTS]
        self._counted = frozenset(counted) if counted else _NONE
        self._named = self._named & self._counted or _NONE
        if self._unknown:
            self._unknown = tuple(unit for unit in self._unknown if unit not in self._counted and self._limited)
        self._since = requests
        self.watching = not self._counted <= self._named

    def named(self, units: Iterable[str]) -> None:
        """A call has named these units, in its cost or in what it has used."""
        for unit in units:
            if unit in self._counted:
                if unit not in self._named:
                    self._named |= {unit}
                self.watching = self.watching and not self._counted <= self._named
            elif self._limited and unit != REQUESTS:
                self._name_unknown(str(unit)[:_MAX_NAME])

    def granted(self, requests: int) -> None:
        """So many permits have been granted by now."""
        if self.watching and requests - self._since >= PERMITS_WATCHED:
            self.watching = False
            for unit in self.uncharged():
                if unit not in self._warned:
                    self._warned |= {unit}
                    _log.warning(
                        "%s: none of %d permits has named %s, which a limit counts, so that limit has no effect; name the "
                        "amount in `cost` or `used`. HTTP adapters name requests, tokens, input_tokens and output_tokens.",
                        self._scope,
                        PERMITS_WATCHED,
                        unit,
                    )

    def unknown(self) -> tuple[str, ...]:
        """Units that calls have named and no limit counts, in the order in which they came."""
        return self._unknown

    def uncharged(self) -> tuple[str, ...]:
        """Units that a limit counts, and that no call has named when there was time enough to."""
        return () if self.watching or not self._counted else tuple(sorted(self._counted - self._named))

    def _name_unknown(self, unit: str) -> None:
        if unit in self._unknown or len(self._unknown) >= MAX_UNKNOWN_UNITS:
            return
        self._unknown += (unit,)
        near = _near(unit, self._counted)
        _log.warning(
            "%s: a call has named %r, which no limit of the scope counts, so that the amount has no effect%s",
            self._scope,
            unit,
            "." if near is None else f"; did you mean {near!r}?",
        )


#: Of scopes whose limits count nothing but requests, as long as no call names anything else. Never changed.
ONLY_REQUESTS: Final = UnitWatch("", _limited=True)


def _near(unit: str, counted: frozenset[str]) -> str | None:
    """The unit of a limit that was probably meant."""
    meant = unit_names.near(unit)
    if meant is not None and (meant in counted or meant == REQUESTS):
        return meant
    related = [known for known in sorted(counted) if known in unit or unit in known]
    if related:
        return related[0]
    import difflib  # loaded only for a unit that no limit counts

    return next(iter(difflib.get_close_matches(unit, sorted(counted), n=1)), None)
