"""Redirects of a connection pool of urllib3 that is used without a manager, each sent as a request of its own."""

from collections.abc import Callable
from typing import Any

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPHeaderDict, Retry
from urllib3.exceptions import MaxRetryError
from urllib3.util.request import set_file_position


def follow(
    send: Callable[..., BaseHTTPResponse], pool: HTTPConnectionPool, method: str, url: str, options: dict[str, Any]
) -> BaseHTTPResponse:
    """The answer to the last request. As `HTTPConnectionPool.urlopen`, which would send redirects within the first attempt."""
    retries = options.get("retries")
    if not isinstance(retries, Retry):
        retries = Retry.from_int(retries, default=pool.retries)
    options = {**options, "redirect": False, "body_pos": set_file_position(options.get("body"), options.get("body_pos"))}
    if options.get("headers") is None:
        options["headers"] = pool.headers
    while True:
        response = send(method, url, **{**options, "retries": retries})
        target = response.get_redirect_location()
        if not target:
            return response
        if response.status == 303:
            method = "GET"
            headers = HTTPHeaderDict(options["headers"])._prepare_for_method_change()
            options |= {"body": None, "body_pos": None, "chunked": False, "headers": headers}
        if not pool.is_same_host(target):
            unsafe = retries.remove_headers_on_redirect
            options["headers"] = {name: value for name, value in options["headers"].items() if name.lower() not in unsafe}
        try:
            retries = retries.increment(method, url, response=response, _pool=pool)
        except MaxRetryError:
            if retries.raise_on_redirect:
                response.drain_conn()
                raise
            return response
        response.drain_conn()
        retries.sleep_for_retry(response)
        url = target
