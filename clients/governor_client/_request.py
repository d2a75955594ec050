"""A request as the decisions see it, whichever library sends it."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, final

import msgspec

from governor import Priority
from governor_client._server_wait import Headers


class Reading(NamedTuple):
    """How an adapter reads what most calls do not need from its own description of a request."""

    query: Callable[[Any], str] = lambda original: ""
    body: Callable[[Any], bytes | None] = lambda original: None
    port: Callable[[Any], int | None] = lambda original: None


_NOTHING_MORE: Final = Reading()


@final
class Request(msgspec.Struct, frozen=True, eq=False):
    """A request, as an adapter describes it.

    `host` and `path` are those of the URL, without port and query. `headers` are looked up by their name in lower case.
    """

    method: str
    host: str
    path: str
    headers: Headers
    #: Whether the request may be sent again: its body is in memory, and retries are not switched off.
    repeatable: bool = True
    #: Whether any answer may be retried, or only one that says that the request was not processed: 429, or 503 with a wait.
    retry_answers: bool = True
    #: Whether an attempt includes the whole body of the answer, so that an answer that breaks off is retried.
    buffered: bool = False
    #: The label of the caller; None for that of the block of code.
    caller: str | None = None
    #: Whether it waits as an interactive or as a batch call; None for that of the adapter.
    priority: Priority | None = None
    #: The adapter's own description of the request, and how the rest is read from it.
    original: object = None
    reading: Reading = _NOTHING_MORE
    #: Whether it may have one of the headers `MARKS`.
    marked: bool = True

    @property
    def query(self) -> str:
        """The query of the URL, as it is sent; empty if there is none. Read each time it is asked for."""
        return self.reading.query(self.original)

    @property
    def port(self) -> int | None:
        """The port of the URL; None if it is that of the scheme. Read each time."""
        return self.reading.port(self.original)

    @property
    def body(self) -> bytes | None:
        """The body, if it is in memory; None if there is none, or if it is read while it is sent. Read each time."""
        return self.reading.body(self.original) or None
