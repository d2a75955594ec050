"""Records: what is stored of a scope, of what the scopes of a provider share, and of what all scopes share.

A record holds the state of policies and the settings by which they were built, so that other settings may be in force when it
is read. Limits are stored as text. It is written as MessagePack.
"""

from functools import cache
from typing import Any, Final, cast

import msgspec

from governor._units import decode_duration, encode_duration
from governor.config import describe, parse_limit
from governor.errors import ConfigError
from governor.policies._sliding_log import SlidingLogState
from governor.policies.arrivals import Arrivals
from governor.policies.breakers.parameters import Breaker
from governor.policies.budget import BudgetState
from governor.policies.contract import Limit
from governor.policies.degraded import DegradedState
from governor.policies.limits import state_type
from governor.policies.pipeline import PipelineSettings
from governor.policies.pipeline_state import PipelineState
from governor.policies.provider import ProviderParameters, ProviderState

#: The key of what all scopes share; those of providers and scopes have a prefix.
GLOBAL: Final = "global"


class Damaged(ValueError):
    """A record that cannot be read."""


class StoredScope(msgspec.Struct, frozen=True):
    """A scope."""

    state: PipelineState
    settings: PipelineSettings

    def encode(self) -> bytes:
        """The record as bytes."""
        breaker, limits, *others = self.settings
        bare = msgspec.structs.replace(self.state, limits=())
        return _encoded((bare, self.state.limits, breaker, _texts(limits), *others))

    @classmethod
    def decode(cls, body: bytes) -> "StoredScope":
        """The record that `encode` wrote. Raises `Damaged`."""
        bare, states, breaker, limits, *others = _decoded(_scope, body)
        state = msgspec.structs.replace(bare, limits=_states(states))
        return cls(state, (breaker, _limits(limits), *others))


class StoredProvider(msgspec.Struct, frozen=True):
    """What the scopes of a provider, or of a key of it, share."""

    state: ProviderState
    parameters: ProviderParameters

    def encode(self) -> bytes:
        """The record as bytes."""
        bare = msgspec.structs.replace(self.state, limits=())
        parameters = msgspec.structs.replace(self.parameters, limits=())
        return _encoded((bare, self.state.limits, parameters, _texts(self.parameters.limits)))

    @classmethod
    def decode(cls, body: bytes) -> "StoredProvider":
        """The record that `encode` wrote. Raises `Damaged`."""
        bare, states, parameters, limits = _decoded(_provider, body)
        return cls(
            msgspec.structs.replace(bare, limits=_states(states)),
            msgspec.structs.replace(parameters, limits=_limits(limits)),
        )


class StoredGlobal(msgspec.Struct, frozen=True):
    """What all scopes share: the global cap, degraded mode and the budgets by name."""

    cap: SlidingLogState
    degraded: DegradedState
    budgets: dict[str, BudgetState]

    def encode(self) -> bytes:
        """The record as bytes."""
        return _encoded(self)

    @classmethod
    def decode(cls, body: bytes) -> "StoredGlobal":
        """The record that `encode` wrote. Raises `Damaged`."""
        return cast("StoredGlobal", _decoded(_global, body))


def scope_key(scope: str) -> str:
    """The key of the record of a scope."""
    return f"scope {scope}"


def scope_of_key(key: str) -> str | None:
    """The scope whose record has this key; None if it is that of a provider, or of all scopes."""
    kind, _, scope = key.partition(" ")
    return scope if kind == "scope" and scope else None


def provider_key(provider: str) -> str:
    """The key of the record of a provider, or of a key of one."""
    return f"provider {provider}"


def _encoded(record: object) -> bytes:
    """The record as bytes: none if a number has more than 64 bits, so that the next life finds it damaged, and all used up.

    The bucket of an amount with large prime factors has such a number after long: `10000019 tokens/minute` after a year.
    """
    try:
        return _encoder.encode(record)
    except OverflowError:
        return b""


def _texts(limits: tuple[Limit, ...]) -> tuple[str, ...]:
    return tuple(map(describe, limits))


def _limits(texts: tuple[str, ...]) -> tuple[Limit, ...]:
    try:
        return tuple(map(parse_limit, texts))
    except ConfigError as error:
        raise Damaged(str(error)) from error


@cache
def _decoder_of(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind, dec_hook=decode_duration)


def _states(written: tuple[msgspec.Raw, ...]) -> tuple[msgspec.Struct, ...]:
    decoder = _decoder_of(state_type())
    return tuple(cast("msgspec.Struct", _decoded(decoder, one)) for one in written)


def _decoded(decoder: msgspec.msgpack.Decoder[Any], body: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        raise Damaged(str(error)) from error


_Raws = tuple[msgspec.Raw, ...]
_Texts = tuple[str, ...]
_encoder: Final = msgspec.msgpack.Encoder(enc_hook=encode_duration)
_scope: Final = msgspec.msgpack.Decoder(
    tuple[PipelineState, _Raws, Breaker, _Texts, bool, float, Arrivals], dec_hook=decode_duration
)
_provider: Final = msgspec.msgpack.Decoder(tuple[ProviderState, _Raws, ProviderParameters, _Texts], dec_hook=decode_duration)
_global: Final = msgspec.msgpack.Decoder(StoredGlobal, dec_hook=decode_duration)
