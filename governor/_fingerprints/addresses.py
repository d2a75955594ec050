"""Addresses and forms in canonical form: without needless escapes, parameters in order, and without what signs them."""

import re
from typing import Final

#: A form, as browsers send it: names, values and no white space.
_FORM: Final = re.compile(rb'[0-9A-Za-z_.~%*+\[\]-]{1,100}=[^&\s{}"<>]*(?:&[^&\s{}"<>]*)*')
#: Escapes in texts of ASCII that may go: all but those of `%`, `&`, `+`, `/`, `=`, `?` and `#`.
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_KEPT: Final = frozenset(b"%&+/=?#")
#: Whether there is a signature. What signs a request is no part of it, as a header `Authorization` is none.
_SIGNATURE: Final = re.compile(rb"(?i)(?:^|[&_.-])(?:sig|sign|signature|hmac)=")
#: The parameters of a signed address that belong to its signature: of AWS, Google, Azure, OAuth 1 and exchanges.
_SIGNING: Final = re.compile(
    rb"(?i)(?:x-(?:amz|goog)-(?:algorithm|credential|date|expires|security-token|signature|signedheaders)"
    rb"|(?:oauth_|auth_)?(?:nonce|timestamp|signature)|sig|sign|hmac|s[et]|sk[et]|expires|awsaccesskeyid|key-pair-id|policy)="
)


def parameters(text: bytes) -> bytes:
    """The parameters of an address or a form, so that two that say the same are equal."""
    if not text:
        return text
    if text.count(b"%"):
        text = unescaped(text)
    if not text.count(b"="):
        return text
    parts = text.split(b"&")
    if len(parts) > 1:
        parts.sort()
        if (text.count(b"ig") or text.count(b"hmac")) and _SIGNATURE.search(text) is not None:
            parts = [part for part in parts if _SIGNING.match(part) is None]
    return b"&".join(parts)


def form(body: bytes) -> bytes | None:
    """The parameters of a form, if the body is one."""
    if not body.count(b"=") or _FORM.fullmatch(body) is None:
        return None
    return parameters(body.replace(b"+", b"%20"))


def unescaped(text: bytes) -> bytes:
    """The text without escapes that need not be, and the others in upper case."""
    return _ESCAPE.sub(_character, text)


def _character(found: re.Match[bytes]) -> bytes:
    code = int(found[1], 16)
    return found[0].upper() if code in _KEPT or code <= 32 else bytes((code,))
