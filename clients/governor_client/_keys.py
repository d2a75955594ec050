"""Keys of requests: the model, the resource or the account to which a request belongs, where limits are per key."""

from collections.abc import Callable
from typing import Final

import msgspec

from governor_client._request import Request

#: A function from a request to its key, or None for a request without a key.
Key = Callable[[Request], str | None]


class _Model(msgspec.Struct):
    """What is read of the body of a request to a language model."""

    model: str | None = None


_decode: Final = msgspec.json.Decoder(_Model).decode


def model_of(request: Request) -> str | None:
    """The `model` that the JSON body of a request names, as APIs of language models have it. None if there is none.

    A body that is read while it is sent has none.
    """
    body = request.body
    if body is None:
        return None
    try:
        return _decode(body).model or None
    except msgspec.DecodeError:
        return None
