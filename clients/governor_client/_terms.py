"""The terms of an adapter: its arguments, and the permits of plain requests, which need nothing else."""

from collections.abc import Collection
from contextvars import ContextVar
from typing import ClassVar, Final, NamedTuple, Protocol, final

from governor import ConfigError, Governor, Permit, Priority
from governor.clock import Clock
from governor.config import Config, provider_name
from governor.hints import is_silent
from governor.instrumentation import Hook
from governor_client._attempt import Attempt
from governor_client._denials import OnRefusal, check_on_refusal
from governor_client._hint_bodies import GRAPHQL
from governor_client._keys import Key
from governor_client._meter import Charged
from governor_client._permits import GovernorClient
from governor_client._questions import check_priority
from governor_client._ungoverned import Ungoverned, plain
from governor_client._wait import Wait, WaitBudget, check_wait, chosen_wait


class Sent(Protocol):
    """An operation, as far as a request that is sent within it needs it."""

    @property
    def terms(self) -> "Terms": ...

    def sends_to(self, host: str) -> bool:
        """Whether a request to this host is being sent."""
        ...


#: The maximum number of hosts and methods that are remembered for plain requests. At the bound all are found anew.
_MAX_KNOWN: Final = 256


class Known(NamedTuple):
    """What is known of plain requests under some settings."""

    config: Config | None
    #: The hosts that need permits, each with the methods whose calls are charged nothing.
    calls: set[tuple[str, str]]


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
        #: What is known of plain requests: those that were seen before.
        self.known = Known(None, set())
        #: The names of the headers of the latest answer that said nothing of limits.
        self.silent: tuple[str | bytes, ...] = ()
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
        # Nearly every call comes by here between two of the library, with none of this in the caches of the processor: what is
        # read here costs more than what is computed, and each Python call more than either.
        governor, (config, calls) = self.given or self.governor, self.known
        if (config is not governor.config or (host, method) not in calls) and not self._is_known(governor, host, method):
            return None
        if Terms.any_by_host and SENDING.get() is not None:
            return None  # Perhaps it has a permit already: `of` finds out.
        return governor.leases.take(self.provider, method, 1, unwatched=True)

    def _is_known(self, governor: Governor, host: str, method: str) -> bool:
        """Whether requests with this host and method may be plain. If so, they are known from now on."""
        if not self._is_plain or self.ungoverned.covers_host(host):
            return False
        config = governor.config
        if not self.charged.is_free(governor, self.provider, method):
            return False
        known = self.known
        if known.config is not config or len(known.calls) >= _MAX_KNOWN:
            # Replaced as a whole: another thread may be adding what it has found under the settings before.
            self.known = known = Known(config, set())
        known.calls.add((host, method))
        return True

    def lets_pass(self, permit: Permit, status: int, names: tuple[str | bytes, ...], path: str) -> bool:
        """The answer has begun, with headers of these names. Whether it neither denies anything nor says anything of limits."""
        # Answers of one server have the same few sets of names.
        if status >= 400 or (names != self.silent and not self._is_silent(names)) or GRAPHQL in path:
            return False
        permit.answered(status=status)
        return True

    def passes(self, attempt: Attempt, status: int, names: tuple[str | bytes, ...], path: str) -> bool:
        """`lets_pass` for an attempt, for the first time or again."""
        if status >= 400 or (names != self.silent and not self._is_silent(names)) or GRAPHQL in path:
            return False
        if attempt.status is None:  # `attempt.answered(status)`, without its call.
            attempt.status = status
            attempt.permit.answered(status=status)
        return True

    def _is_silent(self, names: tuple[str | bytes, ...]) -> bool:
        if not is_silent(self.provider, names):
            return False
        self.silent = names
        return True

    def budget(self, wait: object, timeout: float | None) -> WaitBudget:
        """The wait of one call. `wait` is that of the call itself, `...` if it has none; `timeout` is its longest phase."""
        return WaitBudget(chosen_wait(wait, self.wait), timeout)


@final
class Within:
    """Marks a plain request as being sent: `with Within(terms, host):`. Only needed once there have been terms by host."""

    __slots__ = ("_host", "_sending", "_token", "terms")

    def __init__(self, terms: Terms, host: str) -> None:
        self.terms = terms
        self._host = plain(host)
        self._sending = True

    def sends_to(self, host: str) -> bool:
        """Whether a request to this host is being sent."""
        return self._sending and self._host == plain(host)

    def __enter__(self) -> None:
        self._token = SENDING.set(self)

    def __exit__(self, *raised: object) -> None:
        # Tasks that were started meanwhile, such as those of a connection pool, keep this in their context.
        self._sending = False
        SENDING.reset(self._token)
