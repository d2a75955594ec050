"""Denials as the HTTP libraries know errors and answers.

Code that calls an HTTP library handles the errors of that library, and SDKs handle answers. So a denied permit is raised as an
exception that belongs to both families, or answered with a status that an SDK understands.
"""

import math
from http import HTTPStatus
from typing import Final, Literal, NamedTuple

import msgspec

from governor import ConfigError, PermitDenied, Reason

#: What happens to a request without a permit: an exception, or a synthetic answer.
OnRefusal = Literal["raise", "response"]

#: The headers of an answer that keep the SDKs which read them from sending the request again.
DO_NOT_REPEAT: Final = {"x-should-retry": "false", "stripe-should-retry": "false"}

#: The provider, or the governor, is unavailable as a whole; all other denials are a matter of rate.
_UNAVAILABLE: Final = frozenset(
    {Reason.BAN_BUDGET, Reason.CIRCUIT_OPEN, Reason.DEGRADED, Reason.OVERLOADED, Reason.SHUTTING_DOWN}
)

#: The classes that belong to both families: one for each reason and HTTP library in use.
_DUAL: Final[dict[tuple[type[PermitDenied], type[Exception]], type[PermitDenied]]] = {}


class DeniedResponse(NamedTuple):
    """A synthetic answer to a request without a permit: 503 while the provider is unavailable as a whole, else 429.

    `retry-after` is in whole seconds, rounded up. `DO_NOT_REPEAT` is among the headers.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def phrase(self) -> str:
        """The reason phrase of the status."""
        return HTTPStatus(self.status).phrase


def denied_response(denial: PermitDenied) -> DeniedResponse:
    """The synthetic answer for this denial."""
    headers = {"content-type": "application/json", **DO_NOT_REPEAT}
    if denial.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(denial.retry_after)))
    body = msgspec.json.encode(
        {
            "error": {
                "message": f"Not sent by traffic-governor: {denial}",
                "type": "permit_denied",
                "code": denial.reason.value,
                "scope": denial.scope,
                "retry_after": denial.retry_after,
            }
        }
    )
    headers["content-length"] = str(len(body))
    return DeniedResponse(503 if denial.reason in _UNAVAILABLE else 429, headers, body)


def check_on_refusal(value: object) -> OnRefusal:
    """Raises `ConfigError` unless this is an `OnRefusal`; returns it."""
    if value == "raise" or value == "response":
        return value
    raise ConfigError("on_refusal", value, "'raise' or 'response'")


def as_error_of(family: type[Exception], denial: PermitDenied, **attributes: object) -> PermitDenied:
    """The same denial as an exception that is also a `family`, such as `httpx2.TransportError`.

    `attributes` are what the constructor of the family would set; each is None after unpickling.
    """
    error = _dual(type(denial), family, tuple(attributes))(denial.scope, denial.reason, denial.retry_after)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def _dual(ours: type[PermitDenied], family: type[Exception], attributes: tuple[str, ...]) -> type[PermitDenied]:
    known = _DUAL.get((ours, family))
    return _DUAL.setdefault((ours, family), _new_dual(ours, family, attributes)) if known is None else known


def _new_dual(ours: type[PermitDenied], family: type[Exception], attributes: tuple[str, ...]) -> type[PermitDenied]:
    def reduce(self: PermitDenied) -> tuple[object, ...]:
        return _rebuild, (ours, family, attributes, self.scope, self.reason, self.retry_after)

    namespace: dict[str, object] = {"__module__": __name__, "__reduce__": reduce, **dict.fromkeys(attributes)}
    return type(ours.__name__, (ours, family), namespace)


def _rebuild(
    ours: type[PermitDenied],
    family: type[Exception],
    attributes: tuple[str, ...],
    scope: str,
    reason: Reason,
    retry_after: float | None,
) -> PermitDenied:
    return _dual(ours, family, attributes)(scope, reason, retry_after)
