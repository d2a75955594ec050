"""The demo shows its point over real sockets in a short run."""

import logging
from typing import Final

import pytest

from demo import main, program
from demo.options import parse
from demo.traffic import bursts, calls

ARGUMENTS: Final = ["--duration", "4", "--limit", "20 per s strict", "--write-limit", "5 per s strict"]
OPTIONS: Final = parse(ARGUMENTS)
WORKLOAD: Final = calls(bursts(1), speed=3.0, span=3.5, seed=1)


@pytest.mark.promise("R02", "R60")
def test_a_governor_keeps_the_limits_and_the_exit_status_says_so(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    subtests: pytest.Subtests,
) -> None:
    """In one test: where several processes share the tests of a module out, each would run the demo again."""
    with caplog.at_level(logging.ERROR, "asyncio"):
        runs = ungoverned, governed, _ = program.compare(OPTIONS, WORKLOAD)
        apart, shared = program.compare_workers(OPTIONS, WORKLOAD)
    monkeypatch.setattr(program, "compare_workers", lambda *_: (apart, shared))

    with subtests.test("no callback of an event loop raises"):
        assert [] == [record.getMessage() for record in caplog.records if record.name == "asyncio"]

    with subtests.test("tasks and threads under one governor are never denied"):
        assert (0, []) == (governed.log.count(403, 429), governed.log.bans)

    with subtests.test("the same traffic without a governor is banned"):
        assert 1 <= len(ungoverned.log.bans)
        assert 0 < ungoverned.log.count(403)

    with subtests.test("more is done under a governor"):
        assert governed.driven.workload["done"] > ungoverned.driven.workload["done"]
        assert governed.log.count(200, 201) > ungoverned.log.count(200, 201)

    with subtests.test("every call comes to an end"):
        assert [len(WORKLOAD)] * 3 == [run.driven.workload.total() for run in runs]

    for run in runs:
        with subtests.test("client and provider count the same", run=run.title):
            figures = run.driven.figures

            # The endless loop is cut off at the end, and may have had one request under way.
            assert 0 <= figures.sent - run.log.count() <= 1
            assert 0 <= run.log.count(200, 201) - figures.answered_2xx <= 1

    with subtests.test("processes with one governor are never denied, and with one each they are"):
        assert apart.log.count(429) > 0
        assert (0, []) == (shared.log.count(403, 429), shared.log.bans)
        assert shared.driven.workload["done"] > 0

    with subtests.test("the exit status follows the governed run"):
        monkeypatch.setattr(program, "compare", lambda *_: runs)
        assert 0 == main(ARGUMENTS)
        assert "The limits were kept." in capsys.readouterr().out

        monkeypatch.setattr(program, "compare", lambda *_: runs[1::-1] + runs[2:])
        assert 1 == main(ARGUMENTS)
        assert "THE LIMITS WERE NOT KEPT." in capsys.readouterr().out
