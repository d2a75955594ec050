"""Where gevent has replaced threads, a governor says that it cannot run on one, and leaves event loops alone."""

import pytest

from tests.support.programs import execute

pytestmark = pytest.mark.promise("R54")

pytest.importorskip("gevent")


@pytest.mark.parametrize("first", ["gevent", "governor"])
def test_with_patched_threads_it_says_so_and_other_loops_go_on(first: str) -> None:
    printed = execute(
        f"""
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
    """,
        warnings="default",
        fresh=True,
    ).stdout.splitlines()

    assert ["True", "True", "True", "granted granted"] == printed


def test_with_threads_as_they_are_it_runs_on_one() -> None:
    printed = execute(
        """
        from gevent import monkey
        monkey.patch_all(thread=False)
        import asyncio
        from governor import Permit, default
        print(isinstance(default().try_permit("weather"), Permit))
        asyncio.run(asyncio.sleep(0))
        print("done")
    """,
        warnings="default",
        fresh=True,
    ).stdout.splitlines()

    assert ["True", "done"] == printed
