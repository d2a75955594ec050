"""Caller labels: which agent, job or user of the program makes a call. A label belongs to a call, or to a block of code.

Unset labels cost one look at a list: the context variable is read only once a label has been set in this process.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Final

from governor.errors import ConfigError
from governor.one_use import OneUse

#: The number of characters of the longest label.
MAX_LABEL: Final = 64
#: Compiled when the first label is checked.
_LABEL: Final = rf"[A-Za-z0-9][A-Za-z0-9._:/@+-]{{0,{MAX_LABEL - 1}}}"

#: Not empty once a block has set a label.
any_block: Final[list[None]] = []
_of_block: Final[ContextVar[str | None]] = ContextVar("governor_caller", default=None)


def caller(label: str | None) -> AbstractContextManager[None, bool | None]:
    """Labels the calls of a block: `with governor.caller("agent-7"):`. Of nested blocks the innermost counts; None: no label.

    It holds in the tasks that the block starts, and in the threads that anyio and asyncio start for it; a thread that is
    started by other means begins without a label. A label has 1 to 64 letters, digits and characters of `._:/@+-`, and begins
    with a letter or a digit; it is never written to a log. Raises `ConfigError` for any other.
    """
    if label is not None:
        check_label(label)
    return OneUse(_block(label), "the result of `caller` was entered before; call `governor.caller(...)` for each block")


@contextmanager
def _block(label: str | None) -> Iterator[None]:
    if not any_block:
        any_block.append(None)
    token = _of_block.set(label)
    try:
        yield
    finally:
        _of_block.reset(token)


def label_of_block() -> str | None:
    """The label of the block of code that runs."""
    return _of_block.get() if any_block else None


def check_label(label: object) -> None:
    """Raises `ConfigError` unless this is a label."""
    if not isinstance(label, str) or not re.fullmatch(_LABEL, label):
        allowed = f"1 to {MAX_LABEL} letters, digits and characters of '._:/@+-', beginning with a letter or a digit"
        # Without the value, which may be a header of someone else's request.
        raise ConfigError("caller", label, allowed, message=f"the label of a caller is not valid; expected {allowed}")
