"""Headers of any HTTP library as a dictionary."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, final

import msgspec

#: The header of a request that holds the label of its caller. It is not sent.
CALLER: Final = "x-governor-caller"
#: SDKs made by one widely used generator number their own attempts in this header of a request, from 0.
SDK_RETRY_COUNT: Final = "x-stainless-retry-count"
#: Requests with this header come from an SDK that gives all attempts of a call one idempotency key.
SDK_WITH_KEYS: Final = "x-stripe-client-user-agent"
#: The headers of a request that are looked at before it is sent.
MARKS: Final = frozenset({CALLER, SDK_RETRY_COUNT, SDK_WITH_KEYS})

#: A mapping, or the names as they are spelled, the names in lower case, and the values, none of them decoded yet.
Fields = Collection[tuple[bytes, bytes, bytes]] | Mapping[str, str]


@final
class LazyHeaders(msgspec.Struct):
    """Headers that are read when one of them is first looked up, by its name in lower case. Those of most answers never are."""

    #: The headers as the library has them.
    fields: Fields
    #: The names of those of an answer, decoded or not, in lower case or as the server spells them.
    names: tuple[str | bytes, ...] = ()
    _found: dict[str, str] | None = None

    @property
    def found(self) -> dict[str, str]:
        """All of them: see `by_name`."""
        if self._found is None:
            fields = self.fields
            self._found = by_name(fields.items()) if isinstance(fields, Mapping) else by_raw_name(fields)
        return self._found

    def get(self, name: str) -> str | None:
        """The value of a header; None if there is none."""
        return self.found.get(name)


def by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values by the names in lower case; several values of one name are joined with commas (RFC 9110, section 5.3).

    A look-up in the headers of a library costs up to a microsecond, and an answer is looked at for a dozen names.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


def by_raw_name(headers: Collection[tuple[bytes, bytes, bytes]]) -> dict[str, str]:
    """The same for headers that are not decoded yet."""
    found = {lower.decode("latin-1"): value.decode("latin-1") for _, lower, value in headers}
    if len(found) == len(headers):
        return found
    return by_name((lower.decode("latin-1"), value.decode("latin-1")) for _, lower, value in headers)
