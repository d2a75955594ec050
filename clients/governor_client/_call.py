"""One call of the client: what its requests share, and where its redirects lead."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import msgspec

from governor_client._httpx_library import HttpxLibrary, same_origin, timeout_of
from governor_client._operation import Operation
from governor_client._terms import Terms
from governor_client._wait import WaitBudget

if TYPE_CHECKING:
    import httpx2


@final
class Call(msgspec.Struct, eq=False):
    """One call of the program: its redirects, authentication and retries share one wait.

    `build` makes the request, with the cookies of the moment.
    """

    library: HttpxLibrary
    terms: Terms
    build: "Callable[[], httpx2.Request]"
    #: The request that is sent next.
    request: "httpx2.Request"
    follow_redirects: bool
    auth: Any
    buffered: bool
    retry: bool = True
    retry_answers: bool = True
    wait: object = ...
    history: "list[httpx2.Response]" = []
    _made: WaitBudget | None = None

    def begin(self) -> "Operation[httpx2.Response] | None":
        """The operation for the next request of this call; None if it is not governed."""
        return self.operation() if self.terms.governs(self.request.url.host, self.request.url.path) else None

    def operation(self) -> "Operation[httpx2.Response]":
        """The operation for the next request of this call, which is governed."""
        request, url = self.request, self.request.url
        description = self.library.request_of(
            request, url.host, url.path, retry=self.retry, retry_answers=self.retry_answers, buffered=self.buffered
        )
        return Operation(self.terms, description, self._budget)

    def _budget(self) -> WaitBudget:
        if self._made is None:
            self._made = self.terms.budget(self.wait, timeout_of(self.request))
        return self._made

    def redirected(self, response: "httpx2.Response", max_redirects: int) -> bool:
        """Whether the call goes on with a redirect. Raises `TooManyRedirects` of the library."""
        response.history = [*self.history, *response.history]
        request = response.next_request if self.follow_redirects else None
        if request is None:
            return False
        if len(self.history) >= max_redirects:
            raise self.library.too_many_redirects("Exceeded maximum allowed redirects.", request=request)
        # As the library does it, credentials stay with the origin, and with its upgrade to https.
        if not same_origin(self.request.url, request.url):
            self.auth = None
        self.request = request
        self.build = lambda: request
        self.history.append(response)
        return True
