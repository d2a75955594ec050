"""Caller labels: of a call, of a block of code, and of the tasks and threads that a block starts."""

from threading import Thread
from typing import Any

import anyio
import anyio.to_thread
import pytest

import governor
from governor import ConfigError, Governor, UsageError, _callers
from governor._permit_request import ask


@pytest.fixture(autouse=True)
def _as_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_callers, "any_block", [])
    monkeypatch.setattr("governor._permit_request.any_block", _callers.any_block)


def label() -> str | None:
    """The label of a call that is made here."""
    return ask(1, None, None).caller


def test_a_call_has_its_own_label_else_that_of_the_innermost_block() -> None:
    seen = [label()]
    with governor.caller("job/1"):
        seen += [label(), ask(1, None, None, "agent-7").caller]
        with governor.caller("tenant@example:2"):
            seen.append(label())
            with governor.caller(None):
                seen.append(label())
        seen.append(label())
    seen.append(label())

    assert [None, "job/1", "agent-7", "tenant@example:2", None, "job/1", None] == seen


@pytest.mark.anyio
async def test_a_block_labels_the_tasks_and_threads_that_it_starts_and_no_others() -> None:
    seen: dict[str, str | None] = {}

    async def task(name: str) -> None:
        seen[name] = label()

    async with anyio.create_task_group() as group:
        group.start_soon(task, "before")
        with governor.caller("agent-7"):
            group.start_soon(task, "task")
            seen["worker"] = await anyio.to_thread.run_sync(label)
            bare = Thread(target=lambda: seen.update(thread=label()))
            bare.start()
            bare.join()
        group.start_soon(task, "after")

    assert {"before": None, "task": "agent-7", "worker": "agent-7", "thread": None, "after": None} == seen


@pytest.mark.parametrize("wrong", ["", "-a", "a b", "é", "a\n", "a" * 65, b"a", 7])
def test_what_is_no_label_is_rejected_without_being_shown(wrong: object) -> None:
    with Governor() as running:
        ways: list[Any] = [running.try_permit, running.permit, running.acquire_blocking]
        for way in ways:
            with pytest.raises(ConfigError, match=r"^the label of a caller is not valid; expected 1 to 64 letters") as error:
                way("github", caller=wrong)
            assert "caller" == error.value.field
    with pytest.raises(ConfigError):
        governor.caller(wrong)  # type: ignore[arg-type]  # the mistake


def test_the_longest_label_is_one() -> None:
    with Governor() as running, running.permit("github", caller="a" * 64) as permit:
        assert "github" == permit.scope


def test_a_block_is_entered_once() -> None:
    block = governor.caller("agent-7")
    with block, pytest.raises(UsageError, match="entered before"):
        block.__enter__()
