"""Finished coroutines end at once, with their result, for everything that awaits. The same in both builds."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial

import anyio
import pytest

from governor import Governor, Permit
from governor._finished import NOTHING, Finished


def test_it_ends_at_once_with_its_result_as_often_as_it_is_awaited() -> None:
    finished = Finished("result")

    async def awaits() -> tuple[object, object]:
        return await finished, await finished

    with pytest.raises(StopIteration) as ended:
        awaits().send(None)
    assert ("result", "result") == ended.value.value


@pytest.mark.parametrize("result", ["result", None, ValueError("of a call")])
def test_the_interpreter_and_those_who_send_get_the_same_result(result: object) -> None:
    finished = Finished(result)

    for end in (partial(next, finished), partial(finished.send, None)):
        with pytest.raises(StopIteration) as ended:
            end()
        assert result is ended.value.value


def test_an_error_is_raised_where_it_is_thrown_and_closing_changes_nothing() -> None:
    finished = Finished("result")
    finished.close()

    with pytest.raises(KeyError, match="thrown"):
        finished.throw(KeyError("thrown"))


def test_nothing_ends_at_once_without_a_result() -> None:
    async def awaits() -> None:
        await NOTHING
        await NOTHING

    with pytest.raises(StopIteration) as ended:
        awaits().send(None)
    assert ended.value.value is None


@pytest.mark.anyio
async def test_a_request_for_a_permit_is_entered_by_whatever_runs_coroutines(anyio_backend_name: str) -> None:
    async with Governor() as governor:
        governor.try_permit("weather")
        request = governor.permit("weather")
        entering = request.__aenter__()

        assert isinstance(entering, Coroutine)
        permit = await (asyncio.create_task(entering) if anyio_backend_name == "asyncio" else entering)
        assert isinstance(permit, Permit)
        await request.__aexit__(None, None, None)
        assert permit.reported

        async with AsyncExitStack() as stack:
            permit = await stack.enter_async_context(governor.permit("weather"))
        assert permit.reported

        request = governor.permit("weather")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(request.__aenter__)
        await request.__aexit__(None, None, None)
        assert 3 == governor.statistics().counters.others
