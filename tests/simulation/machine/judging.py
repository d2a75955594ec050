"""What is judged of a run: limits as the provider counts, answers in time, throughput after each fault, and nothing left."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from governor._member.member import Member
from governor._supervisor import Supervisor
from tests.simulation.machine.provider import Call, excess_over_bucket, most_at_once, most_within
from tests.simulation.machine.scenario import PLACES, RATE, SHARED, WINDOW
from tests.simulation.machine.world import SECOND

if TYPE_CHECKING:
    from tests.simulation.machine.run import Machine

MS = SECOND // 1000


def judge(machine: "Machine") -> None:
    """Raises `AssertionError` for what must not be."""
    end = machine.world.now
    judge_limits(machine)
    judge_answers(machine)
    judge_throughput(machine, end)
    judge_rest(machine)


def judge_now(machine: "Machine") -> None:
    """No call waits in a queue for which no connected process waits."""
    owner = machine.owner
    if owner.process.dead or owner.members is None:
        return
    supervisor = owner.backend()
    assert isinstance(supervisor, Supervisor)
    known = sum(session.waiting for session in owner.members._sessions)
    waiting = sum(len(actor.logic.queue) for actor in supervisor.actors.values())
    assert waiting <= known, f"{waiting - known} calls wait whose process has gone, at {machine.world.now / SECOND:.3f}"


# Limits.


def judge_limits(machine: "Machine") -> None:
    """With state, all calls together keep the limits; without it, those of each owner do, and those that none has granted."""
    calls = machine.provider.calls
    if machine.scenario.state:
        groups = {"": calls}
    else:
        lives = {id(one): bisect_right(machine.starts, one.granted_at) for one in calls}
        groups = {
            f" of life {life}": [one for one in calls if lives[id(one)] == life and one.by != "alone"]
            for life in set(lives.values())
        }
        groups[" without an owner"] = [one for one in calls if one.by == "alone"]
    for name, group in groups.items():
        judge_rates(machine, name, [one for one in group if one.arrived_at is not None])
        # Calls in flight do not count in the share of a process without an owner.
        asked = [one for one in group if one.by == "owner"] if machine.scenario.away == "share" else group
        judge_places(machine, name, asked, PLACES)
    judge_places(machine, "", calls, PLACES * (2 + (0 if machine.scenario.state else len(machine.starts))))


def judge_rates(machine: "Machine", name: str, calls: Sequence[Call]) -> None:
    bucket = sorted(one.granted_at for one in calls if one.scope == "bucket:get")
    excess, at = excess_over_bucket(bucket, RATE, machine.scenario.burst)
    assert excess <= 0.001, f"the bucket{name} is exceeded by {excess:.3f} at {at / SECOND:.6f}"
    for scopes, limit, span in ((("window:get",), WINDOW, SECOND), (("shared:get", "shared:post"), SHARED, 4 * SECOND)):
        arrived = sorted(one.arrived_at or 0 for one in calls if one.scope in scopes and not one.held_up)
        most, at = most_within(arrived, span)
        assert most <= limit, f"{most} calls in a window of {scopes[0]}{name} from {at / SECOND:.6f} on"


def judge_places(machine: "Machine", name: str, calls: Sequence[Call], limit: int) -> None:
    spans = [
        (one.arrived_at, one.done_at or machine.world.now)
        for one in calls
        if one.scope == "flight:get" and one.arrived_at is not None and not one.held_up
    ]
    most, at = most_at_once(spans)
    assert most <= limit, f"{most} calls{name} in flight at {at / SECOND:.6f}"


# Answers.


def judge_answers(machine: "Machine") -> None:
    world = machine.world
    for member, call in machine.asking.values():
        if not member.process.dead:
            judge_answer(machine, call, world.now)
    for call in machine.answered:
        judge_answer(machine, call, call.answered_at or 0)


def judge_answer(machine: "Machine", call: Call, until: int) -> None:
    """Within its timeout and the time of an answer, on a clock that may be slow, unless its process was stopped."""
    longest = 1.0 if call.leaves_after is not None else call.timeout if call.timeout else 1.0
    bound = (longest + 0.05) * 1.1 + 0.1 + machine.process(call.who).stopped_within(call.asked_at, until) / SECOND
    took = (until - call.asked_at) / SECOND
    assert took <= bound, f"{call.who} has waited {took:.3f} s in {call.scope} from {call.asked_at / SECOND:.6f} on: {call}"


# Throughput.


def judge_throughput(machine: "Machine", end: int) -> None:
    bounds = {"bucket:get": 2 * SECOND, "flight:get": 5 * SECOND // 2, "window:get": 4 * SECOND, "shared:get": 8 * SECOND}
    times = sorted((begun, until) for begun, until in machine.fault_times)
    quiet = [0, *(until for _, until in times)]
    for since in quiet:
        for scope, bound in bounds.items():
            until = since + bound
            if until > end or any(begun < until and ended > since for begun, ended in times):
                continue
            scopes = ("shared:get", "shared:post") if scope == "shared:get" else (scope,)
            found = any(since < (call.left_at or 0) <= until for call in machine.provider.calls if call.scope in scopes)
            assert found, f"no call in {scope} between {since / SECOND:.3f} and {until / SECOND:.3f}"


# What is left.


def judge_rest(machine: "Machine") -> None:
    """All processes stop calling: in the end there is nothing left of any call."""
    world = machine.world
    for member in machine.members:
        member.stops = True
    machine.provider.fails_until = 0
    world.run_until(world.now + (12 + machine.scenario.burst // RATE) * SECOND)
    owner = machine.owner
    assert owner.members is not None, "there is an owner"
    supervisor = owner.backend()
    assert isinstance(supervisor, Supervisor)
    left = [call for _, call in machine.asking.values()]
    assert not left, f"asks are left: {left}"
    for member in machine.members:
        judge_member(member.backend(), member.process.name)
        assert 0 == member.at_work, f"callers of {member.process} are stuck"
    sessions = owner.members._sessions
    assert len(sessions) == len(machine.members), f"sessions are left: {list(sessions)}"
    for session in sessions:
        assert [0, 0, 0] == [session.waiting, len(session.places), session.leases.leased], f"something is left of {session}"
    statistics = supervisor.statistics()
    for name, scope in statistics.scopes.items():
        assert 0 == scope.waiting, f"{scope.waiting} calls wait in {name}"
        for limit in scope.limits:
            assert limit.available == limit.capacity, f"{limit} of {name} has not come back"
    for limit in statistics.provider_limits.get("shared", ()):
        assert limit.available == limit.capacity, f"{limit} of the provider has not come back"
    assert not supervisor.leasing, "scopes are leasing"
    for process in world.processes:
        for loop in process.loops:
            assert not loop.errors, f"{process}: {loop.errors}"


def judge_member(backend: object, name: str) -> None:
    assert isinstance(backend, Member)
    assert backend._asks.session is not None, f"{name} is not connected"
    assert 0 == len(backend._asks), f"asks are left in {name}"
    assert not backend.entries, f"entries are left in {name}"
    assert not backend.failures, f"failures are left in {name}"
    assert not backend._calls._held, f"places are left in {name}"
    assert not backend._calls._used, f"uses are left in {name}: {backend._calls._used}"
    assert not any(one.lease.outstanding for one in backend._stand_ins.values()), f"leases are left in {name}"
