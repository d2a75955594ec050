"""What the owner of the limits does about processes that come back, in virtual time."""

from random import Random
from typing import cast

import pytest
from anyio.abc import TaskGroup

from governor import Config, Instant
from governor._owner.members import Members
from governor._owner.session import Session
from governor._supervisor import Supervisor
from governor._units import DAY, MILLISECOND, SECOND
from governor.instrumentation import Announcer
from governor.messages import Acquire
from governor.policies.contract import PLAIN
from governor.protocol import VERSION, Ask, FromOwner, Granted, Hello
from tests.support.portals import StillPortal

pytestmark = pytest.mark.promise("R62")


class NoTasks:
    def start_soon(self, *arguments: object, **options: object) -> None:
        """No task runs: the test moves the clock."""


class Owner:
    def __init__(self) -> None:
        self.now, self.number = int(DAY), 0
        supervisor = Supervisor(
            Config.from_mapping({}),
            now=self.clock,
            random=Random(0),
            portal=StillPortal(lambda: self.now / SECOND),
            tasks=cast("TaskGroup", NoTasks()),
            on_forgotten=lambda _: None,
            announcer=Announcer(lambda: 0.0),
            leases=False,
        )
        self.members = Members(supervisor, self.clock)

    def clock(self) -> Instant:
        return Instant(self.now)

    def greets(self, *, alone: bool) -> tuple[Session, list[FromOwner]]:
        said: list[FromOwner] = []
        session = self.members.open(said.append)
        session.handle(Hello(VERSION, 1, alone=alone))
        return session, said

    def asks(self, process: tuple[Session, list[FromOwner]]) -> int:
        """Asks once more, and returns how many asks have been granted."""
        session = process[0]
        self.number += 1
        session.handle(Ask(self.number, "api:get", Acquire(PLAIN, None)))
        session.finish()
        return granted(process)


def granted(process: tuple[Session, list[FromOwner]]) -> int:
    return sum(isinstance(message, Granted) for message in process[1])


def test_asks_wait_for_processes_that_may_have_granted_alone_but_not_again_within_ten_seconds() -> None:
    owner = Owner()
    before = owner.greets(alone=False)
    assert owner.asks(before) == 1

    back = owner.greets(alone=True)
    assert (owner.asks(before), owner.asks(back)) == (1, 0)

    owner.now += 1100 * MILLISECOND - 1
    owner.members.look()
    assert (granted(before), granted(back)) == (1, 0)

    owner.now += 1
    owner.members.look()
    assert (granted(before), granted(back)) == (2, 1)

    owner.now += 10 * SECOND - 1
    assert owner.asks(owner.greets(alone=True)) == 1

    owner.now += 1
    assert owner.asks(owner.greets(alone=True)) == 0
