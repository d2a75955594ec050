"""Signatures of requests of requests, which can be made again for an attempt that had to wait."""

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Final, cast, final
from weakref import WeakKeyDictionary

import requests
from requests import PreparedRequest
from requests.auth import HTTPBasicAuth
from requests.hooks import default_hooks

from governor_client._urllib3_family import in_memory

if TYPE_CHECKING:
    # A private type alias of requests, used by type checkers only.
    from requests._types import AuthType

#: The requests that `govern` has seen being signed.
signatures: Final[WeakKeyDictionary[PreparedRequest, "Signature"]] = WeakKeyDictionary()


@final
class Signature:
    """Authentication that can be applied to a request again."""

    def __init__(self, auth: "AuthType") -> None:
        self._auth = auth
        self._unsigned: PreparedRequest | None = None
        self._signed: tuple[object, ...] = ()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        self._unsigned = request.copy()
        return cast("Callable[[PreparedRequest], PreparedRequest]", self._auth)(request)

    def made(self, request: PreparedRequest) -> None:
        """The request has been prepared, and is signed."""
        self._signed = (request.method, request.url, request.body, request.headers.copy())
        signatures[request] = self

    def renewed(self, request: PreparedRequest) -> PreparedRequest:
        """The request with a new signature; the same one if it was changed since, or its body cannot be read again."""
        if self._unsigned is None or (request.method, request.url, request.body, request.headers) != self._signed:
            return request
        if not in_memory(request.body):
            return request
        renewed = self._unsigned.copy()
        # Authentication that registers hooks has done so already.
        renewed.hooks = default_hooks()
        renewed.prepare_auth(self._auth)
        renewed.hooks = request.hooks
        return renewed


def prepare(
    prepare: Callable[[requests.Request], PreparedRequest], session: requests.Session, request: requests.Request
) -> PreparedRequest:
    """`prepare_request` of a session, which remembers how the request was signed."""
    auth = session.auth if request.auth is None else request.auth
    if not callable(auth) or isinstance(auth, (HTTPBasicAuth, Signature)):
        return prepare(request)
    signature = Signature(auth)
    request = copy(request)
    request.auth = signature
    prepared = prepare(request)
    signature.made(prepared)
    return prepared
