"""The event loops of integration tests: those that uvicorn runs on, asyncio plain and with uvloop."""

from importlib.util import find_spec
from typing import Final

import pytest

LOOPS: Final = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop does not exist for this platform"),
    ),
]


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """The event loops on which every integration test marked `anyio` runs."""
    return request.param
