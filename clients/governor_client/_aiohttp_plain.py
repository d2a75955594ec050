"""Plain requests of aiohttp, which need no operation: those that a middleware hands on, and calls of a session.

See `Terms.take`. What is needed for an answer that says more than most, or for an error, is made when it comes.
"""

from collections.abc import Awaitable, Callable
from typing import final

import msgspec
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from governor import Permit, PermitDenied
from governor_client import _aiohttp_answers as answers
from governor_client._aiohttp_exchanges import REPEATED, Call, Calling, Sending, describe
from governor_client._attempt import Attempt
from governor_client._exchange import ago_on, arepeats, arun
from governor_client._terms import Terms, Within


@final
class PlainCall(msgspec.Struct, eq=False):
    """A call of a session whose first request is plain. Nearly all are no more than that request."""

    call: Call
    terms: Terms
    host: str
    permit: Permit
    #: Makes the exchange of the call, with its operation.
    make: Callable[[], Calling]
    #: The permit, until a request uses it.
    unused: Permit | None = None
    #: What follows the answer to the first request.
    _attempt: Attempt | None = None
    _exchange: Calling | None = None

    async def first(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sends the first request, with the permit."""
        permit, self.unused = self.permit, None
        try:
            response = await handler(request)
        except BaseException as error:
            exchange = self.exchange()
            exchange.broke(self._first(), error, request)
            raise
        status = response.status
        if not self.terms.lets_pass(permit, status, tuple(response.headers), request.url.path):
            self.exchange().began(self._first(), response)
        elif status != answers.SWITCHING_PROTOCOLS and response.content.is_eof():
            permit.record(status=status)
        else:
            self._attempt = attempt = Attempt(permit, status)
            answers.follow(response, attempt)
        return response

    def exchange(self) -> Calling:
        """The exchange of the call, from now on: it needs more than a plain request."""
        call, exchange = self.call, self._exchange
        if exchange is None:
            self._exchange = exchange = self.make()
            exchange.took(self._first(), unused=self.unused is not None)
            call.called, call.attempting = None, exchange
        return exchange

    def _first(self) -> Attempt:
        if self._attempt is None:
            self._attempt = Attempt(self.permit)
        return self._attempt

    async def run(self, forward: Callable[[], Awaitable[ClientResponse]]) -> ClientResponse:
        """Makes the call. `forward` makes it as the session would do it."""
        self.unused, self.call.called = self.permit, self
        try:
            try:
                if Terms.any_by_host:
                    with Within(self.terms, self.host):
                        response = await forward()
                else:
                    response = await forward()
            except PermitDenied as denial:
                raise self.exchange().error(denial) from None
        except BaseException as error:
            exchange = self.exchange()
            self.call.attempting = None
            assert exchange.operation is not None
            if await arepeats(exchange.operation, exchange, error):
                return await arun(exchange.operation, exchange)
            raise
        made = self._made()
        self.call.called = self.call.attempting = None
        if made is None:
            return response
        assert made.operation is not None
        return await ago_on(made.operation, made, self._first(), response)

    def _made(self) -> Calling | None:
        """The exchange of the call once that has been answered; None if it was no more than a plain request."""
        # No request has come by where a test answers in place of the session.
        return self._exchange if self.unused is None else self.exchange()


async def send_plain(
    terms: Terms, permit: Permit, call: Call, request: ClientRequest, handler: ClientHandlerType
) -> ClientResponse:
    """Sends a plain request: see `Terms.take`."""
    # If this middleware is called for the request once more, as by authentication after it, that uses the permit.
    call.plain = (terms, call, request, handler, permit)
    try:
        if Terms.any_by_host:
            with Within(terms, request.url.host or ""):
                response = await handler(request)
        else:
            response = await handler(request)
    except BaseException as error:
        taken, call.attempting, call.plain = call.attempting, None, None
        exchange = taken if isinstance(taken, Sending) else describe(terms, call, request, handler, permit)
        if isinstance(error, PermitDenied):
            exchange.operation.failed(error, exchange.fault(error))
            raise exchange.error(error) from None
        exchange.report(error)
        answer = await _again(exchange, error)
        if answer is None:
            raise
        return answer
    taken, call.attempting, call.plain = call.attempting, None, None
    status = response.status
    if taken is None and terms.lets_pass(permit, status, tuple(response.headers), request.url.path):
        if status != answers.SWITCHING_PROTOCOLS and response.content.is_eof():
            permit.record(status=status)
        else:
            answers.follow(response, Attempt(permit, status))
        return response
    exchange = taken if isinstance(taken, Sending) else describe(terms, call, request, handler, permit)
    try:
        return await ago_on(exchange.operation, exchange, exchange.operation.attempt, response)
    except REPEATED as error:
        call.ended_in(error, request)
        raise


async def _again(exchange: Sending, error: BaseException) -> ClientResponse | None:
    """The answer to a plain request that is sent again after an error; None if it is not, for the caller to raise it."""
    operation, call, request = exchange.operation, exchange.call, exchange.request
    try:
        if await arepeats(operation, exchange, error):
            return await arun(operation, exchange)
    except REPEATED as last:
        call.ended_in(last, request)
        raise
    if isinstance(error, REPEATED):
        call.ended_in(error, request)
    return None
