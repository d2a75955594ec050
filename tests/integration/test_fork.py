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


#: A server in a process of its own, which answers every request on loopback, and a call of each library that is governed.
CALLS = """
    import asyncio, atexit, os, signal
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    import aiohttp, httpx, httpx2, requests, urllib3
    import governor_client.aiohttp, governor_client.httpx, governor_client.httpx2
    import governor_client.requests, governor_client.urllib3
    from governor import default
    from governor_client import TrafficControlledHttpClient

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    url = f"http://127.0.0.1:{server.server_port}/"
    serving = os.fork()
    if serving == 0:
        server.serve_forever()
    atexit.register(os.kill, serving, signal.SIGKILL)

    def via_httpx2(transport):
        with httpx2.Client(transport=transport) as client:
            return client.get(url).status_code

    async def via_aiohttp():
        middleware = governor_client.aiohttp.GovernedMiddleware("w", govern_loopback=True)
        async with aiohttp.ClientSession(middlewares=(middleware,)) as session, session.get(url) as response:
            await response.read()
            return response.status

    kept = TrafficControlledHttpClient("w", govern_loopback=True)
    session = governor_client.requests.govern(requests.Session(), "w", govern_loopback=True)
    pools = governor_client.urllib3.govern(urllib3.PoolManager(), "w", govern_loopback=True)
    calls = {
        "client": lambda: kept.get(url).status_code,
        "httpx": lambda: httpx.Client(
            transport=governor_client.httpx.GovernedTransport("w", govern_loopback=True)
        ).get(url).status_code,
        "httpx2": lambda: via_httpx2(governor_client.httpx2.GovernedTransport("w", govern_loopback=True)),
        "requests": lambda: session.get(url).status_code,
        "urllib3": lambda: pools.request("GET", url).status,
        "aiohttp": lambda: asyncio.run(via_aiohttp()),
    }
"""


@pytest.mark.promise("R54", "R56")
def test_every_adapter_goes_on_in_a_child_with_a_governor_of_its_own() -> None:
    printed = run(
        """
        print({name: call() for name, call in calls.items()}, default().statistics().counters.requests, flush=True)
        child = os.fork()
        if child == 0:
            print({name: call() for name, call in calls.items()}, default().statistics().counters.requests, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(default().statistics().counters.requests)
        """,
        setup=CALLS,
    )

    everywhere = str(dict.fromkeys(("client", "httpx", "httpx2", "requests", "urllib3", "aiohttp"), 200))
    assert f"{everywhere} 6\n{everywhere} 6\n6\n" == printed
