"""`governor serve` with a thread that follows commands: a program that the daemon watches from inside.

It reads a line for each thing to do, and prints a line when it is done:

    call SCOPE STATUS TIMES     so many permits, each with this outcome
    left SCOPE UNITS            a permit, whose answer says that so many units are left for 10 minutes
    deny SCOPE TIMES          so many asks that are denied
    wait SCOPE TIMES            so many threads wait for a permit, and say in the end what they got
    visit GROUP CALLER TIMES    so many requests of a client to a group of our own endpoints
"""

import os
import sys
from threading import Thread

import anyio

from governor import Denied, Permit, PermitDenied, default
from governor._units import SECOND, Duration
from governor.cli import main
from governor.hints import Hint
from governor.messages import InboundRequest


def obey() -> None:
    for line in sys.stdin:
        match line.split():
            case ["call", scope, status, times]:
                for _ in range(int(times)):
                    permit = default().try_permit(*scope.split(":"))
                    assert isinstance(permit, Permit), permit
                    permit.record(status=int(status))
            case ["left", scope, units]:
                permit = default().try_permit(*scope.split(":"))
                assert isinstance(permit, Permit), permit
                permit.hints((Hint("requests", remaining=int(units), reset=Duration(600 * SECOND)),))
                permit.record(status=200)
            case ["deny", scope, times]:
                for _ in range(int(times)):
                    assert isinstance(default().try_permit(*scope.split(":")), Denied)
            case ["wait", scope, times]:
                for _ in range(int(times)):
                    # No daemons, as this thread is one: the program must not end before they have said what they got.
                    Thread(target=wait, args=(scope,), daemon=False).start()
            case ["visit", group, client, times]:
                anyio.run(visit, group, client.encode(), int(times))
            case unknown:
                raise AssertionError(unknown)
        say("done")


async def visit(group: str, client: bytes, times: int) -> None:
    governor = default()
    request = InboundRequest(governor.inbound.pseudonyms.actor(client), governor.inbound.pseudonyms.address(b"127.0.0.1"))
    for _ in range(times):
        admission = await governor.inbound.admit(group, request)
        if admission.granted:
            admission.end(200)


def wait(scope: str) -> None:
    try:
        with default().permit(*scope.split(":")):
            answer = "granted"
    except PermitDenied as denied:
        answer = denied.reason
    say(f"waiter: {answer}")


def say(words: str) -> None:
    # In one piece, as several threads have something to say.
    os.write(1, f"{words}\n".encode())


if __name__ == "__main__":
    Thread(target=obey, daemon=True).start()
    sys.exit(main(["serve", *sys.argv[1:]]))
