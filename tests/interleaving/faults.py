"""Faults that leases invite, each in place of the method that does it right.

They are stepped through bytecode by bytecode, like what they replace.
"""

from collections import Counter, deque
from operator import length_hint

from governor._actors.actor import ScopeActor
from governor._actors.failures import Failures
from governor._actors.leases.lease import LocalHolder
from governor._actors.leases.leased_places import LeasedPlaces
from governor._actors.leases.leasing import Leasing
from governor._actors.mailbox import Mailbox
from governor._actors.permit import Permit, Success
from governor._actors.steps import Steps
from governor._units import Instant
from governor.messages import PlaceFreed
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.windows.window import StrictWindowPolicy


def refill_capped_with_the_count_after_the_pops(self: TokenBucketPolicy, now: Instant, used: int) -> None:
    self.tat += used * self._step
    self._lease(-used * self._step)


def use_dated_at_the_grant(self: RequestCapPolicy, now: Instant, used: int) -> None:
    self.leased -= used
    if used:
        self.log.add(Instant(max(0, self.log.newest_at)), used)
    self._look()


def outcome_dated_when_its_permit_was_leased(self: StrictWindowPolicy, now: Instant, filled_at: Instant, count: int) -> None:
    taken = self._leased.take(self._batch(filled_at), count, self._on_the_way)
    if taken:
        self.moving -= taken
        self._log.add(filled_at, taken)
    self._look()


def recall_that_counts_permits_that_calls_have_taken(self: LocalHolder) -> int:
    self._permits.take_back()
    back, self.outstanding = self.outstanding, 0
    return back


def recall_that_looks_and_then_takes(self: LocalHolder) -> int:
    back = len(self._permits)
    self._permits.take_back()
    self.outstanding -= back
    return back


def recall_that_leaves_the_lease_as_it_is(self: LocalHolder) -> int:
    back = len(self._permits)
    self.outstanding -= back
    return back


def place_left_where_nothing_looks_any_more(self: LeasedPlaces) -> None:
    pass


def place_given_back_to_the_actor_without_a_look_whether_it_is_there(self: LeasedPlaces) -> None:
    freed = PlaceFreed(self.generation)
    self._owner.outcomes.append(freed)
    self._owner.deliver(freed)


def successes_counted_between_two_looks_at_the_tally(self: LocalHolder) -> Counter[Success]:
    found = Counter[Success]({200: self.left - length_hint(self.answered)})
    self.left = length_hint(self.answered)
    return found


def post_forgotten_after_the_inbox_was_read(self: Mailbox) -> None:
    self._failures.read()
    self._reader.read()
    self._notified = False


def failures_taken_off_the_list_before_they_are_read(self: Failures) -> None:
    told = deque(self)
    self.clear()
    for actor in told:
        actor.hear()


def lease_entered_while_a_failure_is_unread(self: ScopeActor) -> Permit | None:
    return next(self.leased, None)


def steps_made_without_a_look_at_those_of_other_threads(self: ScopeActor) -> Steps:
    made = Steps(self.ledger, self.life, owner=self, common=self._common, retry=self.retry)
    self.inbox, self.large, self.unread = made.mailbox.inbox, made.mailbox.large, made.mailbox.outcomes
    self._leasing = made.logic.leasing
    self.answered, self.deposits = self._leasing.holder.answered, self._leasing.holder.deposits
    self._steps = made
    return made


def nothing_taken_back(self: Leasing) -> bool:
    return False


def nothing_accounted_for(self: Pipeline, now: Instant, count: int) -> None:
    pass
