"""What the owner of the limits does about processes that come back, in virtual time."""

from random import Random
from typing import cast

import pytest
from anyio.abc import TaskGroup

from governor import Config, Instant
from governor._owner.checks import ProtocolError, checked_grant, checked_request
from governor._owner.members import Members
from governor._owner.session import Session
from governor._supervisor import Supervisor
from governor._units import DAY, MILLISECOND, SECOND
from governor.instrumentation import Announcer
from governor.messages import Acquire
from governor.policies.contract import PLAIN, Grant, Request
from governor.protocol import VERSION, Ask, FromOwner, Granted, Hello, Leased, LeaseReport, LeaseUse, Recall
from tests.support.portals import StillPortal

pytestmark = pytest.mark.promise("R62")


class NoTasks:
    def start_soon(self, *arguments: object, **options: object) -> None:
        """No task runs: the test moves the clock."""


class Owner:
    def __init__(self, *, leases: bool = False) -> None:
        self.now, self.number = int(DAY), 0
        supervisor = Supervisor(
            Config.from_mapping({}),
            now=self.clock,
            random=Random(0),
            portal=StillPortal(lambda: self.now / SECOND),
            tasks=cast("TaskGroup", NoTasks()),
            on_forgotten=lambda _: None,
            announcer=Announcer(lambda: 0.0),
            leases=leases,
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


def leased_to(owner: Owner) -> tuple[Session, list[FromOwner], Leased]:
    """A process that has asked often enough to be granted 16 permits ahead, and the last message that said so."""
    process = owner.greets(alone=False)
    for _ in range(4):
        owner.asks(process)
        owner.now += MILLISECOND
    session, said = process
    last = said[-1]
    assert isinstance(last, Leased)
    assert 16 == session.leases.leased
    return session, said, last


@pytest.mark.promise("R61")
def test_what_is_granted_ahead_counts_as_used_once_its_lease_has_run_out_and_not_before() -> None:
    owner = Owner(leases=True)
    session, said, last = leased_to(owner)

    owner.now += 1100 * MILLISECOND - MILLISECOND - 1  # Since the answer to the last ask.
    owner.members.look()
    assert (16, last) == (session.leases.leased, said[-1])

    owner.now += 1
    owner.members.look()
    assert (0, Recall("api:get", last.generation + 1)) == (session.leases.leased, said[-1])


@pytest.mark.promise("R65")
def test_what_is_recalled_comes_back_and_no_more_of_it_than_was_granted_ahead() -> None:
    owner = Owner(leases=True)
    session, said, last = leased_to(owner)

    assert 16 == session.leases.recall_all()
    assert Recall("api:get", last.generation + 1) == said[-1]
    with pytest.raises(ProtocolError, match="17 permits of api:get are reported"):
        session.handle(LeaseReport(1, (LeaseUse("api:get", last.generation, used=10, back=7),)))
    session.handle(LeaseReport(2, (LeaseUse("api:get", last.generation, used=10, back=6),)))
    assert (0, 10) == (session.leases.leased, session.leases.used)

    session.handle(LeaseReport(3, (LeaseUse("api:get", last.generation, wanted=4),)))
    after = said[-2]
    assert isinstance(after, Leased)
    assert last.generation + 1 == after.generation


@pytest.mark.promise("R60")
def test_what_is_granted_ahead_is_shared_by_the_processes_that_want_it() -> None:
    owner = Owner(leases=True)
    first, _, last = leased_to(owner)
    second, _ = owner.greets(alone=False)
    for session in (second, second, first):
        session.handle(LeaseReport(1, (LeaseUse("api:get", last.generation, wanted=50),)))

    # Each time an eighth of what is left at most, and half of what is granted ahead and may be.
    assert (20, 17) == (first.leases.leased, second.leases.leased)


@pytest.mark.promise("R64")
def test_a_grant_is_none_of_the_future_nor_of_a_breaker_that_is_to_come_and_costs_no_less_than_nothing() -> None:
    owner = Owner()
    actor = owner.greets(alone=False)[0]._machine.actor("api:get")
    assert actor is not None
    said = [Grant(Instant(at), generation, Request(1)) for at, generation in ((owner.now + 1, 1), (-1, -1))]

    assert [(owner.now, 0), (0, 0)] == [
        (one.granted_at, one.generation) for one in (checked_grant(one, actor, owner.clock()) for one in said)
    ]
    with pytest.raises(ProtocolError, match="a cost of -1 requests"):
        checked_request(Request(-1))
