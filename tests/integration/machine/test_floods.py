"""The daemon under floods of connections. `python -m tests.stress.floods --connects 10000` lets ten thousand come."""

import sys
from pathlib import Path

import pytest

from tests.stress import floods


@pytest.mark.promise("R64")
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read where Linux has it")
def test_floods_of_connections_harm_no_process_that_speaks_the_protocol(tmp_path: Path) -> None:
    floods.run(tmp_path, 150, seed=1)
