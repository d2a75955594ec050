"""Makes the code under test ready to be stepped through, for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.interleaving.bytecodes import instrumented


@pytest.fixture(scope="module", autouse=True)
def every_bytecode_can_be_stopped_at() -> Iterator[None]:
    # For each module: a folder without `__init__.py` has no scope of its own, and the tests after it would run as slowly.
    with instrumented():
        yield
