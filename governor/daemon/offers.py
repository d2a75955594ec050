"""Actions that apply now, scope by scope: what the dashboard has buttons for."""

from collections.abc import Mapping
from typing import Final

from governor import ScopeStatistics
from governor.daemon.documents import Offer
from governor.statistics import BreakerStatus, GroupStatistics

#: The paths of the actions, under the prefix of the API.
BREAKER: Final = "/actions/breaker"
RESUME: Final = "/actions/resume"
CLOSE: Final = "/actions/close"
OPEN: Final = "/actions/open"
RESET: Final = "/actions/reset"

#: The pauses to choose from, and their labels.
PAUSES: Final = {"5m": "5 min", "15m": "15 min", "1h": "1 h", "4h": "4 h", "24h": "24 h"}
_PAUSES: Final = "All its calls wait or are denied until the pause ends. Then the circuit breaker sends probes."


def offers(scopes: Mapping[str, ScopeStatistics | GroupStatistics], *, degraded: bool) -> tuple[Offer, ...]:
    """The actions that apply to these scopes, and to the whole governor if it is in degraded mode."""
    breakers = {key: scope.breaker for key, scope in scopes.items() if isinstance(scope, ScopeStatistics)}
    by_hand = {key for key, breaker in breakers.items() if breaker.forced and breaker.status is BreakerStatus.OPEN}
    paused = tuple(key for key in breakers if key in by_hand)
    others = tuple(key for key in breakers if key not in by_hand)
    tripped = tuple(key for key in others if breakers[key].status is not BreakerStatus.CLOSED)
    whole = ("",) if degraded else ()
    every = (
        Offer(name="end_degraded", label="End degraded mode", path=RESUME, keys=whole),
        Offer(name="resume", label="Resume", path=BREAKER, keys=paused),
        Offer(name="close_breaker", label="Close the circuit breaker", path=BREAKER, keys=tripped),
        Offer(name="pause", label="Pause", path=BREAKER, keys=others, question=_PAUSES, open_for=PAUSES),
        Offer(name="extend", label="Change the pause", path=BREAKER, keys=paused, question=_PAUSES, open_for=PAUSES),
    )
    return tuple(offer for offer in every if offer.keys)
