"""The registry of the kinds of limits: for each its parameters, its policy and its table for inbound clients."""

from collections.abc import Callable, Sequence
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Union, cast

import msgspec

from governor._exports import Later
from governor.errors import ConfigError
from governor.policies.arrivals import Arrivals
from governor.policies.contract import ClientTable, Limit, LimitPolicy
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy

if TYPE_CHECKING:
    from governor.policies.clients import buckets, flights, windows
else:
    # Few programs have an API of their own.
    buckets = Later("governor.policies.clients.buckets")
    flights = Later("governor.policies.clients.flights")
    windows = Later("governor.policies.clients.windows")


class LimitKind(msgspec.Struct, frozen=True):
    """One kind of limit. `policy` is called with a limit and a maximum debt, `clients` with a limit and a number of clients.

    Without `clients`, the kind cannot be used for inbound groups.
    """

    limit: type[Limit]
    policy: type[LimitPolicy]
    clients: Callable[[Any, int], ClientTable] | None = None


_KINDS: Final[dict[type[Limit], LimitKind]] = {
    kind.limit: kind
    for kind in (
        LimitKind(TokenBucket, TokenBucketPolicy, lambda limit, most: buckets.ClientBuckets(limit, most)),
        LimitKind(StrictWindow, StrictWindowPolicy, lambda limit, most: windows.ClientWindows(limit, most)),
        LimitKind(InFlight, InFlightPolicy, lambda limit, most: flights.ClientFlights(limit, most)),
    )
}


def kinds() -> tuple[LimitKind, ...]:
    """All kinds of limits that are registered, in the order in which their texts are tried."""
    return tuple(_KINDS.values())


def register_limit(
    limit: type[Limit],
    policy: type[LimitPolicy],
    *,
    clients: Callable[[Any, int], ClientTable] | None = None,
) -> None:
    """Registers a kind of limit for this process, before the settings are read that use it.

    `limit` is the frozen subclass of `Limit` with the parameters, `policy` the `LimitPolicy` for it. `clients` makes a
    `ClientTable` for inbound groups; without it, the kind is for outbound scopes only. From then on policy files, `Config` and
    `governor check` accept the text of the kind. To register a kind for every program in an environment, and for the command
    line, name a function that calls `register_limit` as an entry point of the group `governor.limits`.

    Registering the same class again replaces its policy. Raises `ConfigError` if `limit` has no `examples`, if an example is
    not read by `parse` and written by `describe` such that it makes the same limit, or if there is no `scaled`.
    """
    if not limit.examples:
        raise ConfigError("limit", limit, "a subclass of Limit with at least one of its `examples`")
    for example in limit.examples:
        made = limit.parse(example)
        if made is None or limit.parse(made.describe()) != made:
            raise ConfigError("limit", limit, f"a subclass of Limit that reads its example {example!r} and writes it again")
        try:
            made.scaled(0.5)
        except NotImplementedError:  # As `Limit` has it, which the subclass has not overridden.
            raise ConfigError("limit", limit, "a subclass of Limit with `scaled`") from None
    _KINDS[limit] = LimitKind(limit, policy, clients)


def kind_of(limit: Limit) -> LimitKind:
    """The registered kind of a limit. Raises `ConfigError` if there is none."""
    try:
        return _KINDS[type(limit)]
    except KeyError:
        raise ConfigError("limit", limit, "a limit of a registered kind; see governor.register_limit") from None


#: What a limit says of itself, read without a Python call: every new scope asks for it.
NEEDS_OUTCOME: Final = attrgetter("needs_outcome")
AWAITS_ANSWERS: Final = attrgetter("awaits_answers")


def state_type() -> Any:
    """The union of the types of states of all registered kinds."""
    return Union[tuple(kind.policy.state_type for kind in kinds())]  # noqa: UP007 (made at run time)


def decode_state(written: bytes | msgspec.Raw) -> msgspec.Struct:
    """The state of a limit of any registered kind, from JSON. Raises `msgspec.ValidationError`."""
    return cast("msgspec.Struct", msgspec.json.decode(written, type=state_type()))


def build(limit: Limit, max_debt: float = inf, arrivals: Arrivals | None = None) -> LimitPolicy:
    """A policy for the limit, with nothing spent; `max_debt` is in bursts, or in amounts of one window."""
    kind = _KINDS.get(type(limit)) or kind_of(limit)
    policy = kind.policy(limit, max_debt)
    if arrivals is not None:
        policy.assume(arrivals)
    return policy


def predecessors(policies: Sequence[LimitPolicy], others: Sequence[LimitPolicy]) -> list[LimitPolicy | None]:
    """For each policy the one of the others whose state it carries over; None for a new limit.

    That is the one with the same parameters, if any. Otherwise, for limits with a memory of uses, the one of this kind and unit
    with the longest memory, because all of them have seen the same uses. For other limits it is the first of this kind and unit
    that has changed or gone as well.
    """
    kept = {policy.parameters for policy in policies}
    changed = [other for other in others if other.parameters not in kept]
    return [_predecessor(policy, others, changed) for policy in policies]


def _predecessor(policy: LimitPolicy, others: Sequence[LimitPolicy], changed: list[LimitPolicy]) -> LimitPolicy | None:
    alike = [other for other in others if type(other) is type(policy) and other.unit == policy.unit]
    for other in alike:
        if other.parameters == policy.parameters:
            return other
    if policy.memory is not None:
        return max(alike, key=lambda other: other.memory or 0, default=None)
    for other in changed:
        if other in alike:
            changed.remove(other)
            return other
    return None
