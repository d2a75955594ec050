"""Status documents as JSON, in pieces.

A piece has few scopes: to encode it takes little time, and of a document that is being sent only a piece waits to be read.
"""

from collections.abc import Iterator

import msgspec

from governor.cooperative import batched
from governor.daemon.documents import Changes, Status


def encoded(document: Status | Changes) -> Iterator[bytes]:
    """The pieces of the document, the scopes last."""
    # Without the two braces at the end, of the scopes and of the document.
    piece = msgspec.json.encode(msgspec.structs.replace(document, scopes={}))[:-2]
    for number, part in enumerate(batched(document.scopes.items())):
        if number:
            yield piece
            piece = b","
        piece += msgspec.json.encode(dict(part))[1:-1]
    yield piece + b"}}"
