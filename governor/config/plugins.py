"""Kinds of limits that installed packages bring, as entry points of the group `governor.limits`.

Each entry point names a function without arguments that calls `governor.register_limit`. They are loaded when a text is not a
limit of a kind that is known, so that settings without such limits do not pay for the search.
"""

import logging
from typing import Final

from governor.policies.limits import kinds

GROUP: Final = "governor.limits"

_log: Final = logging.getLogger("governor")
_loaded: Final[set[str]] = set()


def load_plugins() -> bool:
    """Loads the entry points that were not loaded before, and returns whether there is a kind of limit more.

    An entry point that fails is logged and left out.
    """
    from importlib.metadata import entry_points  # Slow to load, and hardly ever needed.

    before = len(kinds())
    for entry in entry_points(group=GROUP):
        if entry.value not in _loaded:
            _loaded.add(entry.value)
            try:
                entry.load()()
            except Exception as error:
                _log.error("The limits of %s cannot be loaded: %s", entry.value, error, exc_info=error)
    return len(kinds()) > before
