"""Where gevent has replaced threads, a governor says that it cannot run on one, and leaves event loops alone."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.promise("R54")

pytest.importorskip("gevent")


def run(program: str) -> list[str]:
    """The lines that it prints. It has 20 seconds."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("first", ["gevent", "governor"])
def test_with_patched_threads_it_says_so_and_other_loops_go_on(first: str) -> None:
    printed = run(f"""
        if {first!r} == "governor":
            import governor_client
        from gevent import monkey
        monkey.patch_all()
        import asyncio
        from governor import Governor, UsageError, default
        from governor_client import GovernorClient

        async def embedded():
            async with Governor() as governor:
                async with governor.permit("weather", timeout=5.0):
                    return "granted"

        for use in (default, Governor().__enter__, lambda: GovernorClient().try_permit("weather")):
            try:
                print(use())
            except UsageError as error:
                print("gevent" in str(error) and "async with" in str(error))
        print(asyncio.run(embedded()), asyncio.run(embedded()))
    """)

    assert ["True", "True", "True", "granted granted"] == printed


def test_with_threads_as_they_are_it_runs_on_one() -> None:
    printed = run("""
        from gevent import monkey
        monkey.patch_all(thread=False)
        import asyncio
        from governor import Permit, default
        print(isinstance(default().try_permit("weather"), Permit))
        asyncio.run(asyncio.sleep(0))
        print("done")
    """)

    assert ["True", "done"] == printed
