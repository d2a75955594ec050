"""Headers of any HTTP library as a dictionary."""

from collections.abc import Collection, Iterable
from typing import Final

#: The header of a request that holds the label of its caller. It is not sent.
CALLER: Final = "x-governor-caller"


def by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values by the names in lower case; several values of one name are joined with commas (RFC 9110, section 5.3).

    A look-up in the headers of a library costs up to a microsecond, and an answer is looked at for a dozen names.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


def by_raw_name(headers: Collection[tuple[bytes, bytes]]) -> dict[str, str]:
    """The same for headers that are not decoded yet."""
    found = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
    if len(found) == len(headers):
        return found
    return by_name((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
