"""The operator of a governor: closes, opens and resets scopes and providers by hand, while everything goes on."""

from collections.abc import Callable
from functools import partial
from typing import final

from governor._access import Access
from governor._actors.operating import Operations
from governor._units import DurationLike


@final
class Operator:
    """What an operator may do by hand: `governor.operator.close("github", "10m")`.

    A name is that of a scope, such as `github:get`, or of a provider, `github`, which stands for all of its scopes, including
    those that begin later. Every method may be called on any thread, which is blocked until it is done. Each raises
    `ConfigError` for a scope or a provider that has not been used, and `UsageError` if the governor is not running.
    """

    __slots__ = ("_access",)

    def __init__(self, access: Access) -> None:
        self._access = access

    def set_breaker(self, scope: str, open_for: DurationLike | None) -> None:
        """Opens the circuit breaker of a scope for `open_for`, which pauses the scope, or closes it (None).

        `open_for` is text such as `10m` or a `timedelta`, up to 366 days; then the breaker probes. A breaker that is closed
        ramps up, as its settings say. Outcomes of calls from before change nothing.
        """
        self._perform(lambda operations: operations.set_breaker(scope, open_for))

    def close(self, name: str, open_for: DurationLike) -> None:
        """Lets no call through for `open_for`: text such as `10m` or a `timedelta`, up to 366 days. Another call moves the end.

        Calls wait, or are denied as `circuit_breaker_open`. A scope then sends probes, as after every opening of its circuit
        breaker; a provider goes on.
        """
        self._perform(lambda operations: operations.close(name, open_for))

    def open(self, name: str) -> None:
        """Ends what `close` has begun, and closes the circuit breaker of the scope, or those of all scopes of the provider.

        Limits, pauses that the server has asked for and the ban budget hold as before.
        """
        self._perform(lambda operations: operations.open(name))

    def reset(self, name: str) -> None:
        """Opens it, and forgets what its server has said and rejected: pauses, limits that it revealed, and runs of rejections.

        Calls that were denied as loops are granted. Of a provider, the learned rate and the ban budget are forgotten as well,
        and so is how close the client is to a ban.
        """
        self._perform(lambda operations: operations.reset(name))

    def _perform(self, operation: Callable[[Operations], object]) -> None:
        operations = self._access.supervised().operations
        self._access.still_running().call(partial(operation, operations))
