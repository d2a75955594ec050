"""Hosts in settings: `api.github.com`, `*.openai.azure.com`, `localhost:11434`."""

from ipaddress import ip_address
from typing import Final

from governor.errors import ConfigError

_ALLOWED: Final = "a host such as 'api.github.com', '*.openai.azure.com' or 'localhost:11434'"

#: A host in lower case, possibly after `*.`, and a port; None for every port.
Place = tuple[str, int | None]


def place(entry: object, *, field: str = "hosts", also: str = "") -> Place:
    """The host and the port of an entry. Raises `ConfigError` for `field`; `also` is added to what is allowed."""
    text = entry if isinstance(entry, str) else ""
    if text.count(":") > 1 and not text.startswith("["):
        host, port = text, ""
    else:
        host, _, port = text.rpartition(":") if text.rpartition("]")[2].count(":") else (text, "", "")
    name = folded_host(host)
    if (
        not name.strip(".")
        or any(character in name for character in "/@?#[]\\%")
        or any(character.isspace() for character in text)
        or "*" in name.removeprefix("*.")
        or (":" in name and not _is_address(name))
        or text.endswith(":")
        or (port and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535))
    ):
        raise ConfigError(field, entry, f"{_ALLOWED}{also}")
    return name, int(port) if port else None


def folded_host(host: str) -> str:
    """A host as settings name it: in lower case, without brackets and the final dot, in ASCII (RFC 3490)."""
    name = plain_host(host)
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def plain_host(host: str) -> str:
    """A host in lower case, without brackets and the final dot."""
    return host.lower().strip("[]").removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
