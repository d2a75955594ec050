"""How do servers and applications speak to each other? The types of ASGI 3, as everybody who speaks it has them.

See https://asgi.readthedocs.io/en/latest/specs/. What stands in a scope or a message depends on its type.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
