"""`HTTPStatusError` of the client: it names provider and host, and survives pickling."""

from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    import httpx2

    from governor_client._httpx_library import HttpxLibrary

#: The class for each library in use.
_CLASSES: Final[dict[type[Exception], type[Exception]]] = {}


def status_error(library: "HttpxLibrary", provider: str, response: "httpx2.Response") -> Exception:
    """The error for an answer of 400 or more. That of the library has the whole URL, and path and query may be private."""
    request, status = response.request, response.status_code
    where = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    words = f"{provider}: {request.method} to {where} was answered {status} {library.reason_phrase(status)}"
    return _rebuild(library.status_error, words.rstrip(), request, response)


def _picklable(library_error: type[Exception]) -> type[Exception]:
    known = _CLASSES.get(library_error)
    return _CLASSES.setdefault(library_error, _new_class(library_error)) if known is None else known


def _new_class(library_error: type[Exception]) -> type[Exception]:
    def reduce(self: "httpx2.HTTPStatusError") -> tuple[object, ...]:
        return _rebuild, (library_error, str(self), self.request, self.response)

    return type("HTTPStatusError", (library_error,), {"__module__": __name__, "__reduce__": reduce})


def _rebuild(library_error: type[Exception], message: str, request: "httpx2.Request", response: "httpx2.Response") -> Exception:
    return cast("type[httpx2.HTTPStatusError]", _picklable(library_error))(message, request=request, response=response)
