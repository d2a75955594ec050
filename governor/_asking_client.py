"""Base of the client: `permit` and `try_permit` of a given governor, or of whichever governor runs in this process."""

from governor._access import FoundAccess
from governor._default import default
from governor._governor import Governor
from governor._lives import GovernorState
from governor._permit_request import AskingElsewhere
from governor.errors import ConfigError


class AskingClient(AskingElsewhere):
    """Asks for permits of `governor`; of `governor.default()` if none is given, which is looked up when it is needed."""

    __slots__ = ("_found", "_given")

    def __init__(self, governor: Governor | None = None) -> None:
        if governor is not None and not isinstance(governor, Governor):
            raise ConfigError("governor", governor, "a Governor, or None")
        self._given = governor
        self._found = governor
        self._access = FoundAccess(lambda: self.governor._access) if governor is None else governor._access

    @property
    def governor(self) -> Governor:
        """The governor that is used. Raises `ConfigError` if the default governor cannot be started."""
        found = self._found
        if found is None or (self._given is None and found.state is not GovernorState.RUNNING):
            self._found = found = default()
        return found
