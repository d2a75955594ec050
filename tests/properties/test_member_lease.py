"""The lease at a member, against an owner that gives up on what it has leased once nothing was answered for too long.

Messages travel in order, with delays that are as long as hypothesis likes. The clocks of the two run at different speeds, and
the process of the member stands still whenever nothing happens there.
"""

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from itertools import repeat, starmap
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from governor import Instant, Permit
from governor._member.lease import Leases, Reported

TTL: Final = 1_000_000_000
#: What the owner waits longer, in percent, and by how much the clock of the member may be slower.
MARGIN: Final = 10
DRIFT: Final = 8
SCOPE: Final = "weather:get"
#: A permit knows its owner, which is of no use here.
ANY_OWNER: Final[Any] = None


class MemberLeaseMachine(RuleBasedStateMachine):
    """Every rule is one action of the member, of the owner, or of time."""

    @initialize(drift=st.integers(-DRIFT, DRIFT))
    def begin(self, drift: int) -> None:
        self.now = 10**12
        self.leases = Leases(lambda: self.now * (100 + drift) // 100)
        self.leases.begin(TTL)
        self.lease = self.leases.of(SCOPE)
        self.number = 0
        self.to_owner: deque[tuple[int, Reported]] = deque()
        self.to_member: deque[Callable[[], object]] = deque()
        #: Of the owner: the generation, what it believes to be outstanding by generation, and which of these it has given up.
        self.generation = 0
        self.outstanding: Counter[int] = Counter()
        self.given_up: set[int] = set()
        self.lasts_until = 0
        #: What calls have taken, and what was reported, by generation.
        self.taken: Counter[int] = Counter()
        self.reported: Counter[int] = Counter()

    # The member.

    @rule()
    def report(self) -> None:
        self.leases.lapse()
        self.send(self.lease.report())

    def send(self, reported: Reported) -> None:
        self.number += 1
        self.leases.sent(self.number)
        self.reported[reported.generation] += reported.used
        self.to_owner.append((self.number, reported))

    @invariant()
    def a_call_takes_a_permit(self) -> None:
        try:
            permit = self.lease.pop()
        except StopIteration:
            return
        self.taken[permit.grant().generation] += 1

        assert permit.grant().generation not in self.given_up, "the owner has counted it as used before"

    @rule(leases=st.sampled_from([0, 0, 3, 20]), wait=st.sampled_from([0, 1, TTL]))
    def exchange(self, leases: int, wait: int) -> None:
        """A report that is answered, after a while."""
        self.report()
        for _ in range(len(self.to_owner)):
            self.owner_reads(leases)
        self.wait(wait)
        self.member_reads(len(self.to_member))

    @rule(messages=st.integers(1, 4))
    def member_reads(self, messages: int) -> None:
        for _ in range(min(messages, len(self.to_member))):
            self.to_member.popleft()()

    def leased(self, generation: int, count: int) -> None:
        permits = starmap(Permit, repeat((ANY_OWNER, Instant(0), generation), count))
        before = self.leases.fill(SCOPE, permits, count, generation)
        if before:
            self.send(before)

    def recalled(self, generation: int) -> None:
        self.send(self.lease.recall(generation))

    # The owner.

    @rule(leases=st.integers(0, 20))
    def owner_reads(self, leases: int) -> None:
        if not self.to_owner:
            return
        number, (generation, used, back, _, _) = self.to_owner.popleft()
        self.gives_up()
        if generation not in self.given_up:
            self.outstanding[generation] -= used + back
        leased = [partial(self.leased, self.generation, leases)] if leases else []
        self.outstanding[self.generation] += leases
        answered = [partial(self.leases.answered, number)]
        # What a call has found empty is filled after its answer, what a report wants before.
        self.to_member += [*leased, *answered] if self.number % 2 else [*answered, *leased]
        self.lasts_until = self.now + TTL * (100 + MARGIN) // 100

    @rule()
    def owner_recalls(self) -> None:
        self.generation += 1
        self.to_member.append(partial(self.recalled, self.generation))

    def gives_up(self) -> None:
        """Counts as used what nothing was heard of for too long."""
        if self.now >= self.lasts_until and any(self.outstanding.values()):
            self.given_up |= {one for one, count in self.outstanding.items() if count}
            self.outstanding.clear()
            self.generation += 1

    @rule(span=st.sampled_from([1, TTL // 4, TTL // 2, TTL - 1, TTL, TTL * 105 // 100, TTL * 2]))
    def wait(self, span: int) -> None:
        self.now += span
        self.gives_up()

    @invariant()
    def nothing_is_reported_that_was_not_leased(self) -> None:
        assert all(count >= 0 for count in self.outstanding.values())

    @invariant()
    def what_calls_have_taken_is_reported_or_will_be(self) -> None:
        known = self.lease.generation
        assert all(self.taken[one] <= self.reported[one] for one in self.taken if one < known)


MemberLeaseMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40)
TestMemberLease: Final = pytest.mark.promise("R51")(MemberLeaseMachine.TestCase)


class _Status(int):
    __slots__ = ()


@pytest.mark.promise("R64")
def test_successes_are_reported_by_the_statuses_that_the_protocol_has() -> None:
    lease = Leases(lambda: 0).of(SCOPE)
    lease.successes.extend([None, -1, 1000, _Status(204), 204])

    successes = lease.report().successes

    assert {0: 3, 204: 2} == successes
    assert {int} == set(map(type, successes))
