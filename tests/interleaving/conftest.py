"""Makes the code under test ready to be stepped through, for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.interleaving.bytecodes import instrumented


@pytest.fixture(scope="package", autouse=True)
def every_bytecode_can_be_stopped_at() -> Iterator[None]:
    with instrumented():
        yield
