"""Both builds beside each other."""

import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import builds, quick
from benchmarks.builds import Measured
from benchmarks.contract import BenchmarkError
from benchmarks.quick import LOCK_ENGINE, PLAIN, ROWS
from tests.unit.benchmarks.test_report import MACHINE


def test_each_row_stands_beside_the_lock_engine_and_the_pair_of_its_own_build() -> None:
    pure = {row.title: 2_000.0 for row in ROWS} | {LOCK_ENGINE: 6_000.0, PLAIN: 1_000.0}
    compiled = {row.title: 500.0 for row in ROWS} | {LOCK_ENGINE: 5_000.0, PLAIN: 250.0}
    lines = builds.table({"pure Python": pure, "compiled": compiled}, MACHINE).splitlines()

    assert f"| {PLAIN} | 1,000 | 250 | 6.00x | 20.00x | 1.00x | 1.00x | lock engine 7x, 30x |" in lines
    assert "| denied | 2,000 | 500 | 3.00x | 10.00x | 2.00x | 2.00x | pair 2x, 2x |" in lines


def test_a_process_says_which_build_it_has_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quick, "TURNS", 3)
    monkeypatch.setattr(quick, "CALLS", 10)
    quick.main(["--json"])
    measured = msgspec.json.decode(capsys.readouterr().out, type=Measured)

    assert measured.build in {"compiled", "pure Python"}
    assert [row.title for row in ROWS] == [title for title, _ in measured.figures]


def test_a_build_that_is_not_there_is_no_measurement() -> None:
    with pytest.raises(BenchmarkError, match=r"the compiled build cannot be measured: .*`make compiled` makes its environment"):
        builds._in_fresh_process("compiled", "/nowhere/python")


@pytest.mark.skipif(sys.platform == "win32", reason="a script of the shell stands for Python")
def test_another_build_than_the_one_named_is_no_measurement(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\necho '{"build": "pure Python", "figures": []}'\n""")
    python.chmod(0o700)

    with pytest.raises(BenchmarkError, match="has the build 'pure Python'; expected 'compiled'"):
        builds._in_fresh_process("compiled", str(python))
