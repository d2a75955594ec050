"""A reader of server-sent events that merges the changes of a status, as the documentation says."""

from collections.abc import Mapping
from typing import Any


def merged(status: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The status after the changes, which are both documents as JSON has them."""
    replaced = {name: value for name, value in changes.items() if name not in ("labels", "scopes", "gone")}
    entries = {
        field: {key: value for key, value in {**status[field], **changes[field]}.items() if key not in changes["gone"]}
        for field in ("labels", "scopes")
    }
    return {**status, **replaced, **entries}


def heard(status: dict[str, Any] | None, kind: str, data: dict[str, Any]) -> dict[str, Any] | None:
    """The status after an event of this kind."""
    if kind == "snapshot":
        return data
    if kind == "changes":
        assert status is not None, "changes have come before a snapshot"
        return merged(status, data)
    return status
