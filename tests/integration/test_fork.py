"""A forked child finds nothing of its parent's governors that grants, and nothing that hangs.

Each test runs a program of its own, because the process that runs the tests had better not be forked.
"""

import sys
from functools import partial

import pytest

from tests.support import programs

run = partial(programs.run, warnings="ignore::DeprecationWarning")

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="cannot fork"),
    pytest.mark.promise("R54"),
]


def test_the_default_of_a_child_is_its_own() -> None:
    printed = run("""
        import os
        from governor import default
        parent = default()
        parent.try_permit("weather")
        child = os.fork()
        if child == 0:
            own = default()
            print(own is parent, default() is own, own.try_permit("weather"), own.statistics().counters.requests, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(default() is parent, parent.statistics().counters.requests)
    """)

    assert "False True <Permit for weather, not reported yet> 1\nTrue 1\n" == printed


def test_a_governor_of_the_parent_grants_nothing_in_the_child() -> None:
    printed = run("""
        import os
        import anyio
        from governor import Governor, UsageError

        async def main():
            async with Governor() as governor:
                permit = governor.try_permit("weather")
                child = os.fork()
                if child == 0:
                    for ask in (governor.try_permit, lambda scope: governor.permit(scope).__enter__()):
                        try:
                            print(ask("weather"), flush=True)
                        except UsageError as error:
                            print(error, flush=True)
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                permit.record(status=200)
                print(governor.statistics().counters.requests)

        anyio.run(main)
    """)

    mistake = "this governor was started before a fork and does not run in this process; start one here"
    assert f"{mistake}\n{mistake}\n1\n" == printed


def test_an_entered_governor_of_the_parent_is_not_the_default_of_the_child() -> None:
    printed = run("""
        import os
        from governor import Governor, default
        with Governor() as governor:
            child = os.fork()
            if child == 0:
                print(default() is governor, default().try_permit("weather"), flush=True)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            print(default() is governor)
    """)

    assert "False <Permit for weather, not reported yet>\nTrue\n" == printed


def test_a_fork_while_another_thread_asks_for_the_default_leaves_the_child_able_to_ask() -> None:
    printed = run("""
        import os, threading
        from governor import _default
        from governor._governor import Governor
        started, go_on = threading.Event(), threading.Event()
        from_file = Governor.from_file

        def slowly():
            started.set()
            go_on.wait(0.2)
            return from_file()

        Governor.from_file = slowly
        threading.Thread(target=_default.default, daemon=True).start()
        started.wait()
        child = os.fork()
        if child == 0:
            Governor.from_file = from_file
            print(_default.default().try_permit("weather"), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """)

    assert "<Permit for weather, not reported yet>\n" == printed


def test_a_permit_of_the_parent_that_a_child_forgets_costs_the_parent_nothing() -> None:
    printed = run("""
        import os
        from governor import Config, Governor
        config = Config.from_mapping({"outbound": {"default": {"limits": ["1 in flight"]}}})
        with Governor(config) as governor:
            permit = governor.try_permit("weather")
            child = os.fork()
            if child == 0:
                del permit
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            print(governor.try_permit("weather").reason)
            permit.record(status=200)
            print(governor.try_permit("weather"))
    """)

    assert "concurrency_exceeded\n<Permit for weather, not reported yet>\n" == printed


def test_a_program_that_uses_the_default_ends_by_itself() -> None:
    printed = run("""
        import threading
        from governor import default
        with default().permit("weather") as permit:
            permit.record(status=200)
        print([thread.name for thread in threading.enumerate()])
    """)

    assert "['MainThread', 'governor']\n" == printed
