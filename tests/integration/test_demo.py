"""The demo shows its point over real sockets in a short run."""

import logging
from collections.abc import Iterator
from typing import Final

import pytest

from demo import main, program
from demo.options import parse
from demo.report import Run
from demo.traffic import bursts, calls

ARGUMENTS: Final = ["--duration", "4", "--limit", "20 per s strict", "--write-limit", "5 per s strict"]
OPTIONS: Final = parse(ARGUMENTS)
WORKLOAD: Final = calls(bursts(1), speed=3.0, span=3.5, seed=1)


@pytest.fixture(scope="module")
def failed_callbacks() -> Iterator[list[logging.LogRecord]]:
    """What event loops log of callbacks that raise."""
    found: list[logging.LogRecord] = []
    handler, logger = logging.Handler(logging.ERROR), logging.getLogger("asyncio")
    handler.emit = found.append  # type: ignore[assignment] # the whole handler
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


@pytest.fixture(scope="module")
def runs(failed_callbacks: list[logging.LogRecord]) -> tuple[Run, Run, Run]:
    """One demo for all tests of this module: without a governor, with one, and with one that knows no limits."""
    return program.compare(OPTIONS, WORKLOAD)


@pytest.fixture(scope="module")
def workers() -> tuple[Run, Run]:
    """The same in two processes: a governor in each, and the one of the machine."""
    return program.compare_workers(OPTIONS, WORKLOAD)


@pytest.mark.promise("R60")
def test_processes_with_one_governor_are_never_denied_and_with_one_each_they_are(workers: tuple[Run, Run]) -> None:
    apart, shared = workers

    assert apart.log.count(429) > 0
    assert (0, []) == (shared.log.count(403, 429), shared.log.bans)
    assert shared.driven.workload["done"] > 0


def test_no_callback_of_an_event_loop_raises(runs: tuple[Run, Run, Run], failed_callbacks: list[logging.LogRecord]) -> None:
    assert [] == [record.getMessage() for record in failed_callbacks]


@pytest.mark.promise("R02")
def test_tasks_and_threads_under_one_governor_are_never_denied(runs: tuple[Run, Run, Run]) -> None:
    _, governed, _ = runs

    assert (0, []) == (governed.log.count(403, 429), governed.log.bans)


def test_the_same_traffic_without_a_governor_is_banned(runs: tuple[Run, Run, Run]) -> None:
    ungoverned, _, _ = runs

    assert 1 <= len(ungoverned.log.bans)
    assert 0 < ungoverned.log.count(403)


def test_more_is_done_under_a_governor(runs: tuple[Run, Run, Run]) -> None:
    ungoverned, governed, _ = runs

    assert governed.driven.workload["done"] > ungoverned.driven.workload["done"]
    assert governed.log.count(200, 201) > ungoverned.log.count(200, 201)


def test_every_call_comes_to_an_end(runs: tuple[Run, Run, Run]) -> None:
    assert [len(WORKLOAD)] * 3 == [run.driven.workload.total() for run in runs]


def test_client_and_provider_count_the_same(runs: tuple[Run, Run, Run]) -> None:
    for run in runs:
        figures = run.driven.figures

        # The endless loop is cut off at the end, and may have had one request under way.
        assert 0 <= figures.sent - run.log.count() <= 1
        assert 0 <= run.log.count(200, 201) - figures.answered_2xx <= 1


def test_the_exit_status_follows_the_governed_run(
    runs: tuple[Run, Run, Run], workers: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ungoverned, governed, unknown = runs
    apart, shared = workers
    monkeypatch.setattr(program, "compare_workers", lambda *_: (apart, shared))
    monkeypatch.setattr(program, "compare", lambda *_: (ungoverned, governed, unknown))
    assert 0 == main(ARGUMENTS)
    assert "The limits were kept." in capsys.readouterr().out

    monkeypatch.setattr(program, "compare", lambda *_: (governed, ungoverned, unknown))
    assert 1 == main(ARGUMENTS)
    assert "THE LIMITS WERE NOT KEPT." in capsys.readouterr().out
