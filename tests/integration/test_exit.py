"""A program ends when it has done its work, although threads still wait for permits.

Python waits for threads that are no daemons; so a thread that is due a permit in time gets it. Each test runs a program of
its own, which has 20 seconds, and must end well and without a complaint.
"""

import sys
from pathlib import Path

import pytest

from tests.support import programs

pytestmark = pytest.mark.promise("R51", "R55")

#: Can threads be started after the main thread has ended? Not in CPython 3.12.0 to 3.12.2 (python/cpython#113964).
LATE_THREADS = not (3, 12) <= sys.version_info < (3, 12, 3)
LATE_ANSWER = "granted" if LATE_THREADS else "shutting_down"

ROOT = Path(__file__).parents[2]

#: `wait` says how a wait for a permit ended, and `linger` notes it; `waiting` tells whether so many wait. The main thread takes
#: the only permit, and keeps it.
PROGRAM = """
    import atexit, sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from time import sleep
    import anyio
    from governor import PermitDenied
    from governor_client import GovernorClient
    from tests.support.answers import granted
    from tests.support.leases import governed
    from tests.support.waits import until

    client = GovernorClient()

    def say(word):
        sys.stdout.write(f"{word}\\n")  # At once: other threads say something as well.

    def waiting(count, scope="weather"):
        return client.statistics().scopes[scope].waiting == count

    def wait(scope="weather", timeout=None):
        try:
            with client.permit(scope, timeout=timeout):
                say("granted")
        except PermitDenied as refusal:
            say(refusal.reason)

    async def wait_soon(scope="weather", timeout=None):
        try:
            async with client.permit(scope, timeout=timeout):
                say("granted")
        except PermitDenied as refusal:
            say(refusal.reason)

    told = []

    def linger():
        try:
            with client.permit("weather"):
                told.append("granted")
        except PermitDenied as refusal:
            told.append(refusal.reason.value)

    async def linger_soon():
        try:
            async with client.permit("weather"):
                told.append("granted")
        except PermitDenied as refusal:
            told.append(refusal.reason.value)

    def linger_on(backend):
        anyio.run(linger_soon, backend=backend)

    def wait_on(backend, *arguments):
        anyio.run(wait_soon, *arguments, backend=backend)

    def start(function, *arguments, daemon=False):
        threading.Thread(target=function, args=arguments, daemon=daemon).start()

    def take():
        global holder
        holder = granted(client.try_permit("weather"))

"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """For the governor of the process: one call to `weather` at a time, to `traffic` 20 a second."""
    path = tmp_path / "policy.toml"
    path.write_text(
        '[outbound.weather]\nlimits = ["1 in flight"]\n[outbound.traffic]\nlimits = ["20/s burst 1"]\n', encoding="utf-8"
    )
    return path


def run(program: str, policy: Path, setup: str = PROGRAM) -> list[str]:
    """The lines that it prints."""
    return programs.run(program, setup=setup, GOVERNOR_CONFIG=str(policy)).splitlines()


# Daemons.

DAEMONS = ["linger", "linger_on, 'asyncio'", "linger_on, 'trio'"]


@pytest.mark.parametrize("how", DAEMONS)
def test_a_daemon_that_waits_without_end_learns_that_the_program_ends_and_does_not_keep_it_from_that(
    how: str, policy: Path
) -> None:
    printed = run(
        f"""
        def wait_for_all():
            until(lambda: len(told) == 3)
            say(told)

        atexit.register(wait_for_all)  # First, so it is called last.
        take()
        for _ in range(3):
            start({how}, daemon=True)
        until(lambda: waiting(3))
        """,
        policy,
    )

    assert [str(["shutting_down"] * 3)] == printed


@pytest.mark.parametrize("how", DAEMONS)
@pytest.mark.parametrize(
    "entered", ['with governed("1 in flight"):', 'if governed("1 in flight").__enter__():'], ids=["left", "never left"]
)
def test_nor_does_one_that_waits_for_a_governor_which_the_program_has_entered(entered: str, how: str, policy: Path) -> None:
    printed = run(
        f"""
        {entered}
            take()
            start({how}, daemon=True)
            until(lambda: waiting(1))
            sys.exit(say("ends"))
        """,
        policy,
    )

    assert ["ends"] == printed


# Threads that are no daemons.


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_when_a_governor_is_left_threads_that_are_no_daemons_end_as_well(backend: str, policy: Path) -> None:
    printed = run(
        f"""
        with governed("1 in flight") as governor:
            take()
            start(wait)
            start(wait, "weather", 3600)
            start(wait_on, {backend!r})
            until(lambda: waiting(3))
            raise SystemExit
        """,
        policy,
    )

    assert ["shutting_down"] * 3 == printed


THREADS = {
    "threads": "for _ in range(6): start(wait)",
    "pool": "pool = ThreadPoolExecutor(6); futures = [pool.submit(wait) for _ in range(6)]",
    "small pool": "pool = ThreadPoolExecutor(2); futures = [pool.submit(wait) for _ in range(6)]",  # Four begin to wait later.
    "small pool, and the main thread is the last to go on": """
        from governor._lives import GovernorState, Lives

        def end_slowly(lives, is_time, end_when=Lives.end_when):
            ends = end_when(lives, is_time)
            until(lambda: lives.state is not GovernorState.RUNNING)
            return ends

        Lives.end_when = end_slowly
        pool = ThreadPoolExecutor(2); futures = [pool.submit(wait) for _ in range(6)]
    """,
}


@pytest.mark.parametrize("how", THREADS.values(), ids=THREADS)
def test_the_program_ends_when_all_that_is_left_wait_for_permits_that_never_come(how: str, policy: Path) -> None:
    printed = run(
        f"""
        take()
        {how}
        until(lambda: waiting(6) or waiting(2))
        """,
        policy,
    )

    assert ["shutting_down"] * 6 == printed


@pytest.mark.parametrize(
    "begin",
    [
        "start(work, threading.main_thread().join)",
        "ThreadPoolExecutor().submit(work, lambda: until(lambda: pools._shutdown))",  # The main thread waits for it.
    ],
    ids=["thread", "pool"],
)
def test_and_when_the_governor_was_first_asked_after_the_main_thread_had_ended(begin: str, policy: Path) -> None:
    printed = run(
        f"""
        from concurrent.futures import thread as pools

        def work(delay):
            delay()
            first = client.try_permit("weather")
            say(getattr(first, "reason", "granted"))
            wait()

        {begin}
        """,
        policy,
    )

    assert [LATE_ANSWER, "shutting_down"] == printed


def test_a_governor_can_be_started_after_the_main_thread_has_ended(policy: Path) -> None:
    """Without any help of the libraries that the main thread has loaded."""
    printed = run(
        """
        import threading
        from governor import default

        def work():
            threading.main_thread().join()
            print(default().try_permit("weather"))

        threading.Thread(target=work).start()
        """,
        policy,
        setup="",
    )

    refusal = "Denied(scope='weather', reason=<Reason.SHUTTING_DOWN: 'shutting_down'>, retry_after=None)"
    assert ["<Permit for weather, not reported yet>" if LATE_THREADS else refusal] == printed


@pytest.mark.skipif(LATE_THREADS, reason="a governor can be started on a thread until the end")
def test_where_no_thread_can_be_started_any_more_everyone_is_denied(policy: Path) -> None:
    printed = run(
        """
        from governor import Governor, UsageError

        def work():
            threading.main_thread().join()
            wait_on("asyncio")
            wait_on("trio")
            say(client.plan_retry("weather", "GET", attempt=1).delay)
            try:
                Governor().__enter__()
            except UsageError as error:
                say(error)
            atexit.register(wait)

        start(work)
        """,
        policy,
    )

    message = (
        "the governor cannot run on a background thread, because the interpreter shuts down and starts none any more; start it "
        "before the main thread ends"
    )
    assert ["shutting_down", "shutting_down", "None", message, "shutting_down"] == printed


def test_what_needs_a_thread_for_a_moment_does_its_work_after_the_main_thread_has_ended(policy: Path) -> None:
    """A governor in an event loop, with a hook; leaving one that has had a hook; and the middleware."""
    printed = run(
        """
        from governor import Config, Governor
        from governor_client import TrafficControlMiddleware

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

        async def tell(message):
            if "status" in message:
                say(message["status"])

        async def finish():
            await early.aclose()
            async with Governor(hooks=[told.append]) as late:
                say(type(late.try_permit("traffic")).__name__)
            scope = {"type": "http", "path": "/", "method": "GET", "headers": [], "client": ("192.0.2.1", 1), "root_path": ""}
            await TrafficControlMiddleware(app)(scope, None, tell)

        def work():
            threading.main_thread().join()
            anyio.run(finish)

        early = governed("1 in flight").__enter__()
        early.add_hook(lambda event: say(type(event).__name__))
        held = granted(early.try_permit("weather"))
        early.try_permit("weather")
        start(work)
        """,
        policy,
    )

    assert ["CallDenied", "Permit", "200" if LATE_THREADS else "503"] == printed


# Who will be served is waited for.


@pytest.mark.parametrize("how", ["wait", "wait_on, 'asyncio'", "wait_on, 'trio'"])
def test_a_thread_that_is_due_a_permit_in_time_gets_it(how: str, policy: Path) -> None:
    printed = run(
        f"""
        granted(client.try_permit("traffic"))
        for _ in range(3):
            start({how}, "traffic")
        """,
        policy,
    )

    assert ["granted"] * 3 == printed


def test_and_who_waits_with_a_timeout_is_denied_after_it(policy: Path) -> None:
    printed = run(
        """
        take()
        start(wait, "weather", 0.2)
        until(lambda: waiting(1))
        """,
        policy,
    )

    assert ["concurrency_exceeded"] == printed


def test_a_thread_that_waits_for_the_outcome_of_a_thread_at_work_gets_its_permit(policy: Path) -> None:
    printed = run(
        """
        def work():
            threading.main_thread().join()
            sleep(0.3)
            say("works")
            holder.record(status=200)

        take()
        start(wait)
        until(lambda: waiting(1))
        start(work)
        """,
        policy,
    )

    assert ["works", "granted"] == printed


def test_and_so_does_a_thread_that_waits_behind_one_that_is_due_a_permit(policy: Path) -> None:
    """One thread waits for time, another for the outcome of that thread."""
    printed = run(
        """
        def work():
            with client.permit("weather"):
                start(wait)
                until(lambda: waiting(1))
                ready.set()
                wait("traffic")

        ready = threading.Event()
        granted(client.try_permit("traffic"))
        start(work)
        ready.wait()
        """,
        policy,
    )

    assert ["granted", "granted"] == printed
