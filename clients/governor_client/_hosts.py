"""Terms by host: the provider of a request, if no adapter names it."""

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol, final

from governor import ConfigError, Governor, GovernorState, Priority, current
from governor.clock import system_clock
from governor.config import Config, provider_name
from governor.config.hosts import Place, folded_host, place
from governor.instrumentation import Hook
from governor_client._denials import OnRefusal, check_on_refusal
from governor_client._keys import Key
from governor_client._operation import Operation
from governor_client._questions import check_priority
from governor_client._terms import SENDING, Terms
from governor_client._ungoverned import Ungoverned, is_loopback
from governor_client._wait import Wait, WaitBudget, check_wait, chosen_wait

#: The provider of hosts that are not in the map: a name, or a function from a host to a name or None.
Default = str | Callable[[str], str | None] | None

#: The maximum number of hosts whose provider is remembered. Beyond it, the one used least recently is looked up again.
MAX_HOSTS: Final = 1_024
_MAP: Final = "a map of hosts to providers such as {'api.github.com': 'github'}"
_OTHERS: Final = "; `default` is for all others"
_DEFAULT: Final = "a provider such as 'other', or a function from a host to a provider or None"


class Settings(NamedTuple):
    """The arguments of `instrument` without the libraries, validated."""

    providers: frozenset[tuple[Place, str]]
    default: Default
    governor: Governor | None
    wait: Wait
    on_refusal: OnRefusal
    ungoverned: frozenset[str]
    on_event: Hook | None
    key: Key | None
    priority: Priority


class TermsOf(Protocol):
    """The terms of an adapter: those of one provider (`Terms`), or of one for each host."""

    def of(self, host: str, path: str, port: int | None = None, /, *, within: Operation[Any] | None = None) -> Terms | None:
        """The terms of a request to this host and path; None if it needs no permit.

        `within` is the operation that is being sent, if the adapter knows that this is a further request of its call.
        """
        ...

    def budget(self, wait: object, timeout: float | None, /) -> WaitBudget:
        """The wait of one call."""
        ...


def settings(
    hosts: Mapping[str, str] | None,
    default: Default = None,
    *,
    governor: Governor | None = None,
    wait: Wait = "timeout",
    on_refusal: OnRefusal = "raise",
    ungoverned: Collection[str] = (),
    on_event: Hook | None = None,
    key: Key | None = None,
    priority: Priority = "interactive",
) -> Settings:
    """Validates the arguments of `instrument`. Raises `ConfigError`."""
    by_settings = hosts is None
    hosts = {} if hosts is None else hosts
    if not isinstance(hosts, Mapping):
        raise ConfigError("hosts", hosts, _MAP)
    if isinstance(default, str):
        default = provider_name(default, field="default")
    elif default is not None and not callable(default):
        raise ConfigError("default", default, _DEFAULT)
    elif default is None and not hosts and not by_settings:
        raise ConfigError("hosts", hosts, f"{_MAP}; it may be empty if there is a `default`")
    providers: dict[Place, str] = {}
    for entry, name in hosts.items():
        provider = provider_name(name, field=f"hosts[{entry!r}]")
        if providers.setdefault(place(entry, also=_OTHERS), provider) != provider:
            raise ConfigError("hosts", entry, "each host once, with one provider")
    Ungoverned(ungoverned, govern_loopback=True)
    return Settings(
        frozenset(providers.items()),
        default,
        governor,
        check_wait(wait),
        check_on_refusal(on_refusal),
        frozenset(ungoverned),
        on_event,
        key,
        check_priority(priority),
    )


@final
class HostTerms:
    """The terms of the provider to which the map, or else the settings, or else the default, assigns a host.

    An entry with the port of the request goes before one for every port, and a host before `*.` and the rest of it, of which
    the longest matches. `default` is not for this machine, nor for requests without a host.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._governor = settings.governor
        #: The settings with which the governor of the process would start, once a request has been made without it.
        self._to_start: Config | None = None
        #: The settings whose `hosts` are among the providers.
        self._config: Config | None = None
        self._providers = dict(settings.providers)
        self._found = lru_cache(MAX_HOSTS)(self._find)
        self._terms = lru_cache(MAX_HOSTS)(self._make)

    def of(self, host: str, path: str, port: int | None = None, /, *, within: Operation[Any] | None = None) -> Terms | None:
        """The terms of a request to this host and path; None if it needs no permit."""
        config = self._in_force()
        if config is not self._config:
            self._follow(config)
        terms = self._found(host, port)
        if terms is None or terms.ungoverned.covers(host, path):
            return None
        sent = SENDING.get()
        # Sent by an adapter that has taken a permit for it already, through a library that is governed as well.
        return None if sent is not None and sent is not within and sent.sends_to(host) else terms

    def budget(self, wait: object, timeout: float | None) -> WaitBudget:
        """The wait of one call."""
        return WaitBudget(chosen_wait(wait, self._settings.wait), timeout)

    def _in_force(self) -> Config:
        """The settings of the governor. That of the process is started by the first request to a host that has a provider."""
        governor = self._governor
        if governor is None or (self._settings.governor is None and governor.state is not GovernorState.RUNNING):
            self._governor = governor = current()
        if governor is not None:
            return governor.config
        if self._to_start is None:
            self._to_start = Config.load()
        return self._to_start

    def _follow(self, config: Config) -> None:
        """These settings are in force. Entries of the map go before theirs."""
        named = {place(host): name for name, provider in config.provider.items() for host in provider.hosts}
        self._providers = {**named, **dict(self._settings.providers)}
        self._found.cache_clear()
        self._config = config

    def _find(self, host: str, port: int | None) -> Terms | None:
        provider = self._provider(folded_host(host), port)
        return None if provider is None else self._terms(provider)

    def _provider(self, host: str, port: int | None) -> str | None:
        name = host
        while name:
            for entry in ((name, port), (name, None)):
                if entry in self._providers:
                    return self._providers[entry]
            _, dot, parents = name.removeprefix("*.").partition(".")
            name = f"*.{parents}" if dot else ""
        default = self._settings.default
        if default is None or not host or is_loopback(host):
            return None
        if isinstance(default, str):
            return default
        chosen = default(host)
        return None if chosen is None else provider_name(chosen, field=f"default({host!r})")

    def _make(self, provider: str) -> Terms:
        settings = self._settings
        return Terms(
            provider,
            settings.governor,
            wait=settings.wait,
            on_refusal=settings.on_refusal,
            govern_loopback=True,
            ungoverned=settings.ungoverned,
            on_event=settings.on_event,
            key=settings.key,
            priority=settings.priority,
            clock=system_clock,
            by_host=True,
        )
