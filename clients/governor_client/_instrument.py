"""Governs the HTTP libraries of a process as they are, without a line in the code that makes the calls."""

import sys
import warnings
from collections.abc import Collection, Mapping
from functools import cache, partial, wraps
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from types import ModuleType, TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self, final

from governor import ConfigError, Governor, Priority, UsageError
from governor.instrumentation import Hook
from governor_client._denials import OnRefusal
from governor_client._hosts import Default, HostTerms, Settings, settings
from governor_client._keys import Key
from governor_client._patches import ImportHook, Method, Patches
from governor_client._wait import Wait


class Replacement(Protocol):
    """What replaces a method."""

    def __call__(self, original: Method, patches: Patches, terms: HostTerms) -> Method:
        """The method to use instead. It does what the original does if the patches are not active."""
        ...


@cache
def _load(module: str, name: str) -> Any:
    """A part of an adapter, loaded with the first request.

    Not with the library: another thread may be loading the adapter, and both would wait for the other's import.
    """
    return getattr(import_module(module), name)


def _httpx(adapter: str, kind: str) -> Replacement:
    """Puts a governed transport above the one that a client has chosen for a URL, proxies and mounts included."""

    def replacement(original: Method, patches: Patches, terms: HostTerms) -> Method:
        @wraps(original)
        def _transport_for_url(client: Any, url: Any) -> Any:
            transport = original(client, url)
            if not patches.active:
                return transport
            above = _load("governor_client._httpx_transports", "above")
            return above(_load(adapter, kind), client, transport, terms, url)

        return _transport_for_url

    return replacement


def _requests_send(original: Method, patches: Patches, terms: HostTerms) -> Method:
    @wraps(original)
    def send(adapter: Any, request: Any, *args: Any, **options: Any) -> Any:
        if not patches.active:
            return original(adapter, request, *args, **options)
        return _load("governor_client.requests", "send_by_host")(terms, original, adapter, request, *args, **options)

    return send


def _requests_prepare(original: Method, patches: Patches, terms: HostTerms) -> Method:
    @wraps(original)
    def prepare_request(session: Any, request: Any) -> Any:
        if not patches.active:
            return original(session, request)
        return _load("governor_client.requests", "prepare")(partial(original, session), session, request)

    return prepare_request


def _urllib3_pool(original: Method, patches: Patches, terms: HostTerms) -> Method:
    @wraps(original)
    def urlopen(pool: Any, *args: Any, **options: Any) -> Any:
        if not patches.active:
            return original(pool, *args, **options)
        return _load("governor_client.urllib3", "send_through")(terms, partial(original, pool), pool, *args, **options)

    return urlopen


def _urllib3_manager(original: Method, patches: Patches, terms: HostTerms) -> Method:
    @wraps(original)
    def urlopen(manager: Any, *args: Any, **options: Any) -> Any:
        if not patches.active:
            return original(manager, *args, **options)
        return _load("governor_client.urllib3", "call")(partial(original, manager), manager, *args, **options)

    return urlopen


def _aiohttp(original: Method, patches: Patches, terms: HostTerms) -> Method:
    @wraps(original)
    async def _request(session: Any, *args: Any, **options: Any) -> Any:
        if not patches.active:
            return await original(session, *args, **options)
        return await _load("governor_client.aiohttp", "call_by_host")(terms, original, session, *args, **options)

    return _request


class _Library(NamedTuple):
    """What is replaced in a library."""

    methods: Mapping[str, Replacement]
    #: A module and a name in it, which all versions have that are supported.
    has: tuple[str, str]


_TABLE: Final[Mapping[str, _Library]] = {
    **{
        name: _Library(
            {
                "Client._transport_for_url": _httpx(f"governor_client.{name}", "GovernedTransport"),
                "AsyncClient._transport_for_url": _httpx(f"governor_client.{name}", "AsyncGovernedTransport"),
            },
            (name, "Client"),
        )
        for name in ("httpx2", "httpx")
    },
    "requests": _Library(
        {"adapters.HTTPAdapter.send": _requests_send, "sessions.Session.prepare_request": _requests_prepare},
        ("urllib3", "BaseHTTPResponse"),
    ),
    "urllib3": _Library(
        {"HTTPConnectionPool.urlopen": _urllib3_pool, "PoolManager.urlopen": _urllib3_manager}, ("urllib3", "BaseHTTPResponse")
    ),
    "aiohttp": _Library({"ClientSession._request": _aiohttp}, ("aiohttp", "ClientHandlerType")),
}
_LIBRARIES: Final = f"a list of installed libraries out of {', '.join(_TABLE)}, or None for all"


@final
class _Installation:
    """What `instrument` has changed in this process, and for which handles."""

    def __init__(self, settings: Settings, libraries: frozenset[str]) -> None:
        self.key: Final = (settings, libraries)
        self.handles: set[Instrumentation] = set()
        self._libraries: Final = libraries
        self._terms: Final = HostTerms(settings)
        self._patches: Final = Patches()
        self._hook: Final = ImportHook(libraries, self._patch)

    def begin(self) -> None:
        """Patches what will be loaded."""
        self._hook.install()

    def patch_loaded(self) -> None:
        """Patches what is loaded. Without the lock, because it waits for imports, in which the hook may wait for the lock."""
        for name in _TABLE:
            if name in self._libraries and sys.modules.get(name) is not None:
                # Waits for the end of an import in another thread.
                self._patch(import_module(name))

    def end(self) -> None:
        """Restores everything."""
        self._hook.remove()
        self._patches.undo()

    def _patch(self, library: ModuleType) -> None:
        methods, (module, name) = _TABLE[library.__name__]
        if not hasattr(sys.modules.get(module), name):
            _unsupported(library, f"{module}.{name}")
            return
        for path, replacement in methods.items():
            owner, _, method = path.rpartition(".")
            found = _find(library, owner)
            if found is None or method not in vars(found):
                _unsupported(library, path)
            else:
                self._patches.replace(found, method, partial(replacement, patches=self._patches, terms=self._terms))


def _find(library: ModuleType, path: str) -> type | None:
    found: object = library
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _unsupported(library: ModuleType, missing: str) -> None:
    warnings.warn(
        f"this version of {library.__name__} has no {missing}, so instrument() does not govern it", RuntimeWarning, stacklevel=4
    )


_lock: Final = Lock()
_current: list[_Installation] = []


@final
class Instrumentation:
    """What `instrument` returns: `uninstrument` ends it, and so does leaving it as a context manager."""

    def __init__(self, installation: _Installation) -> None:
        self._installation = installation

    @property
    def active(self) -> bool:
        """Whether the process is governed because of this handle."""
        return self in self._installation.handles

    def uninstrument(self) -> None:
        """Restores what `instrument` has replaced, unless another handle for the same settings is active. Does nothing twice.

        Warns (`RuntimeWarning`) if other code has patched the same method since: that patch stays, and works as before.
        Requests that are being sent end as they began.
        """
        with _lock:
            if not self.active:
                return
            self._installation.handles.remove(self)
            if not self._installation.handles:
                _current.remove(self._installation)
                self._installation.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.uninstrument()

    def __repr__(self) -> str:
        return f"<Instrumentation, {'active' if self.active else 'ended'}>"


def instrument(
    hosts: Mapping[str, str] | None = None,
    *,
    default: Default = None,
    libraries: Collection[str] | None = None,
    governor: Governor | None = None,
    wait: Wait = "timeout",
    on_refusal: OnRefusal = "raise",
    ungoverned: Collection[str] = (),
    on_event: Hook | None = None,
    key: Key | None = None,
    priority: Priority = "interactive",
) -> Instrumentation:
    """Governs all requests of the HTTP libraries in this process: `instrument({"api.github.com": "github"})`.

    `hosts` maps hosts to providers. An entry is a host, or `*.` and the end of hosts (but not that end itself), with a port if
    only that is meant: `localhost:11434`. The most exact entry counts. Beneath the map are the `hosts` of `[provider.NAME]` in
    the settings, which count alone if there is no map. Hosts without an entry are not governed, or belong to `default`: a
    provider, or a function that is called with a host and returns a provider or None; its answers are kept for 1024 hosts. This
    machine is governed only if an entry names it.

    `libraries` are to be governed: out of httpx2, httpx, requests, urllib3 and aiohttp, by default all. Nothing is loaded for
    this, and what is loaded later is governed as well. Clients and sessions are governed from their next request on, whenever
    they were made, whatever their proxies, mounts, transports and adapters are. Those that take permits already keep their
    provider and are not governed twice.

    `governor`, `wait`, `on_refusal`, `ungoverned`, `on_event`, `key` and `priority` are those of `GovernedTransport`, as is
    everything else: a request is signed before it waits, and is retried as the settings of the provider say.

    A second call with the same arguments changes nothing, and the process is governed until both handles have ended; one with
    other arguments raises `UsageError`. Raises `ConfigError` for invalid arguments.
    """
    wanted = _check_libraries(libraries)
    checked = settings(
        hosts,
        default,
        governor=governor,
        wait=wait,
        on_refusal=on_refusal,
        ungoverned=ungoverned,
        on_event=on_event,
        key=key,
        priority=priority,
    )
    with _lock:
        for installation in _current:
            if installation.key != (checked, wanted):
                raise UsageError(
                    "this process is instrumented already, with other arguments; call `uninstrument` of that handle first, or "
                    "name all hosts in one map"
                )
        if not _current:
            _current.append(_Installation(checked, wanted))
            _current[0].begin()
        installation = _current[0]
        handle = Instrumentation(installation)
        installation.handles.add(handle)
    installation.patch_loaded()
    return handle


def _check_libraries(libraries: Collection[str] | None) -> frozenset[str]:
    if libraries is None:
        return frozenset(_TABLE)
    if isinstance(libraries, str) or not libraries:
        raise ConfigError("libraries", libraries, _LIBRARIES)
    for name in libraries:
        if name not in _TABLE or (sys.modules.get(name) is None and find_spec(name) is None):
            raise ConfigError("libraries", name, _LIBRARIES)
    return frozenset(libraries)
