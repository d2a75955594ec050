"""The terms of an adapter: its arguments, and the permits of plain requests, which need nothing else."""

from collections.abc import Collection
from contextvars import ContextVar
from typing import ClassVar, Final, Protocol, final

from governor import ConfigError, Governor, Permit, Priority
from governor.clock import Clock
from governor.config import provider_name
from governor.hints import is_silent
from governor.instrumentation import Hook
from governor_client._attempt import Attempt
from governor_client._denials import OnRefusal, check_on_refusal
from governor_client._hint_bodies import GRAPHQL
from governor_client._keys import Key
from governor_client._meter import Charged
from governor_client._permits import GovernorClient
from governor_client._questions import check_priority
from governor_client._ungoverned import Ungoverned
from governor_client._wait import Wait, WaitBudget, check_wait, chosen_wait


class Sent(Protocol):
    """An operation, as far as a request that is sent within it needs it."""

    @property
    def terms(self) -> "Terms": ...

    def sends_to(self, host: str) -> bool:
        """Whether a request to this host is being sent."""
        ...


#: The operation whose request this thread or task is sending.
SENDING: Final[ContextVar[Sent | None]] = ContextVar("governor_client_sending", default=None)


@final
class Terms:
    """The settings of an adapter: provider, governor, waiting, denials, ungoverned requests. Raises `ConfigError`."""

    #: Whether there have ever been terms by host, so that requests may be sent within requests.
    any_by_host: ClassVar[bool] = False

    def __init__(
        self,
        provider: str,
        governor: Governor | None = None,
        *,
        wait: Wait = "timeout",
        on_refusal: OnRefusal = "raise",
        govern_loopback: bool = False,
        ungoverned: Collection[str] = (),
        on_event: Hook | None = None,
        key: Key | None = None,
        priority: Priority = "interactive",
        clock: Clock,
        by_host: bool = False,
    ) -> None:
        self.provider = provider_name(provider)
        self.wait = check_wait(wait)
        self.on_refusal = check_on_refusal(on_refusal)
        self.ungoverned = Ungoverned(ungoverned, govern_loopback=govern_loopback)
        self.clock = clock
        self.on_event = on_event
        if key is not None and not callable(key):
            raise ConfigError("key", key, "a function from a request to its key, or None")
        self.key = key
        self.priority = check_priority(priority)
        #: Whether `instrument` has chosen the provider, by the host.
        self.by_host = by_host
        if by_host:
            Terms.any_by_host = True
        #: Whether no request is ungoverned by its path or host, or has a key.
        self._is_plain = key is None and not ungoverned
        #: The names of the headers of the latest answer that said nothing of limits.
        self._silent: tuple[str | bytes, ...] = ()
        self.given = governor
        self._client = GovernorClient(governor)
        #: What calls are charged in addition to one request.
        self.charged = Charged(self.provider)

    @property
    def governor(self) -> Governor:
        """The governor of this adapter, running."""
        return self._client.governor if self.given is None else self.given

    def governs(self, host: str, path: str) -> bool:
        """Whether a request to this host and path needs permits."""
        return self.of(host, path) is not None

    def of(self, host: str, path: str, port: int | None = None, /, *, within: object = None) -> "Terms | None":
        """The terms of a request to this host and path: these, or None if it needs no permit."""
        if Terms.any_by_host and not self.by_host:
            sent = SENDING.get()
            if sent is not None and sent.terms.by_host and sent.sends_to(host):
                return None  # It has a permit already, because of `instrument`.
        ungoverned = self.ungoverned
        # Without a Python call for hosts that were asked for before.
        covered = ungoverned.covers(host, path) if ungoverned.has_paths else ungoverned.covers_host(host)
        return None if covered else self

    def take(self, host: str, method: str) -> Permit | None:
        """A permit for the first attempt of a plain request, if one is granted at once. Otherwise begin an `Operation`.

        A request is plain if it may be repeated, and if nothing in it says how it is governed: no label, no priority, no wait.
        Nearly all are, and nearly all are answered with what they asked for: they never need an operation.
        """
        if not self._is_plain or Terms.any_by_host or self.ungoverned.covers_host(host):
            return None
        governor, provider, known = self.given or self.governor, self.provider, self.charged.known
        known_free = known.config is governor.config and (provider, method) in known.free  # Without a Python call, as for most.
        if not known_free and not self.charged.is_free(governor, provider, method):
            return None
        return governor.leases.take(provider, method, 1, unwatched=True)

    def passes(self, attempt: Attempt, status: int, names: tuple[str | bytes, ...], path: str) -> bool:
        """The answer has begun, with headers of these names. Whether it neither denies anything nor says anything of limits."""
        if status >= 400 or GRAPHQL in path:
            return False
        if names != self._silent:  # Answers of one server have the same few sets of names.
            if not is_silent(self.provider, names):
                return False
            self._silent = names
        if attempt.status is None:  # `attempt.answered(status)`, without its call.
            attempt.status = status
            attempt.permit.answered(status=status)
        return True

    def budget(self, wait: object, timeout: float | None) -> WaitBudget:
        """The wait of one call. `wait` is that of the call itself, `...` if it has none; `timeout` is its longest phase."""
        return WaitBudget(chosen_wait(wait, self.wait), timeout)
