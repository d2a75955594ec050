"""One group of our own endpoints: three limits, all or nothing, and what is counted and told."""

from collections.abc import Callable
from typing import Final, cast

import pytest

from governor import Config, CounterRecord, Instant, Reason, TokenBucket
from governor._actors.inbound.admitting import NAMES
from governor._actors.inbound.group import GroupActor
from governor._units import DAY, HOUR, MINUTE, SECOND
from governor.config import InboundGroup
from governor.instrumentation import Announcer, ClientDenied
from governor.messages import InboundDenied, InboundRequest
from governor.policies.clients._slices import MAX_SLICE
from governor.policies.clients.buckets import ClientBuckets
from governor.pseudonyms import Pseudonyms
from governor.testing import ManualClock

KEYS: Final = Pseudonyms(bytes(16))
ANN: Final = InboundRequest(KEYS.actor(b"ann"), KEYS.address(b"192.0.2.1"))
BOB: Final = InboundRequest(KEYS.actor(b"bob"), KEYS.address(b"192.0.2.2"))
#: Another client at Ann's address.
EVE: Final = InboundRequest(KEYS.actor(b"eve"), ANN.address)


class Told:
    """Takes the place of an announcer and keeps what it is told."""

    def __init__(self, *, listening: bool = True) -> None:
        self.listening = listening
        self.events: list[object] = []

    def __call__(self, event: object) -> None:
        self.events.append(event)


def group(
    client: list[str] | None = None,
    address: list[str] | None = None,
    total: list[str] | None = None,
    *,
    dry_run: bool = False,
    clock: Callable[[], Instant] | None = None,
    told: Told | None = None,
    max_clients: int = 1000,
) -> GroupActor:
    return GroupActor(
        "chat",
        policy(client, address, total, dry_run=dry_run),
        max_clients=max_clients,
        now=clock or ManualClock(),
        announcer=cast("Announcer", told or Told()),
        start=lambda _: None,
    )


def policy(
    client: list[str] | None = None, address: list[str] | None = None, total: list[str] | None = None, *, dry_run: bool = False
) -> InboundGroup:
    said = {"limits": client or [], "address_limits": address or [], "total_limits": total or [], "dry_run": dry_run}
    return Config.from_mapping({"inbound": {"default": said}}).inbound["default"]


def only(kind: str, said: list[str]) -> list[list[str]]:
    """The limits of client, address and total, of which there is one kind."""
    return [said if kind == name else [] for name in NAMES]


def limits(answers: list[InboundDenied | None]) -> list[str | None]:
    return [None if answer is None else answer.limit for answer in answers]


def left(actor: GroupActor, request: InboundRequest) -> tuple[str, int] | None:
    least = actor.least(request)
    return None if least is None else (least.name, least.requests)


@pytest.mark.promise("R21")
def test_a_flood_of_one_client_does_not_block_another_client() -> None:
    actor = group(["1/s burst 2"])

    assert [None, None, "client", None] == limits([actor.admit(request) for request in (ANN, ANN, ANN, BOB)])


@pytest.mark.promise("R24")
def test_a_new_client_key_for_each_request_meets_the_limit_of_the_address() -> None:
    actor = group(["1/s burst 2"], ["1/s burst 3"])
    invented = [InboundRequest(KEYS.actor(b"%d" % number), ANN.address) for number in range(4)]

    assert [None, None, None, "address", None] == limits([actor.admit(request) for request in (*invented, BOB)])


@pytest.mark.promise("R24")
def test_a_new_address_for_each_request_too_meets_the_limit_of_the_group() -> None:
    actor = group(["1/s burst 2"], ["1/s burst 3"], ["1/s burst 5"])
    invented = [InboundRequest(KEYS.actor(b"%d" % number), KEYS.address(b"%d" % number)) for number in range(6)]

    assert [None] * 5 + ["total"] == limits([actor.admit(request) for request in invented])


@pytest.mark.promise("R22")
@pytest.mark.parametrize("kind", ["client", "address", "total"])
def test_a_denial_names_the_limit_and_the_instant_and_no_request_is_granted_a_microsecond_earlier(kind: str) -> None:
    clock = ManualClock()
    actor = group(*only(kind, ["3/s burst 2"]), clock=clock)
    answers = [actor.admit(ANN) for _ in range(3)]
    clock.advance(0.333333)
    before = actor.admit(ANN)
    clock.advance(0.000001)

    assert [None, None, InboundDenied("chat", kind, 0.333334, TokenBucket(3, SECOND, 2))] == answers
    assert InboundDenied("chat", kind, 0.000001, TokenBucket(3, SECOND, 2)) == before
    assert actor.admit(ANN) is None


@pytest.mark.promise("R22")
def test_of_several_limits_the_one_with_the_longest_wait_is_named() -> None:
    actor = group(["1/s burst 1"], ["1/minute burst 1"], ["1/s burst 1"])
    actor.admit(ANN)
    answer = actor.admit(ANN)

    assert InboundDenied("chat", "address", 60.0, TokenBucket(1, MINUTE, 1)) == answer


@pytest.mark.promise("R22")
def test_of_two_limits_with_the_same_wait_that_of_the_client_is_named() -> None:
    actor = group(["1/s burst 1"], ["1/s burst 1"], ["1/s burst 1"])
    actor.admit(ANN)

    assert ["client"] == limits([actor.admit(ANN)])


@pytest.mark.promise("R21", "R24")
@pytest.mark.parametrize("ceiling", ["address", "total"])
def test_what_a_limit_of_address_or_group_denies_spends_nothing_of_the_bucket_of_the_client(ceiling: str) -> None:
    clock = ManualClock()
    _, *ceilings = only(ceiling, ["1/s burst 1"])
    actor = group(["1/hour burst 2"], *ceilings, clock=clock)
    answers = [actor.admit(ANN), *(actor.admit(EVE) for _ in range(5))]
    clock.advance(1)
    answers.append(actor.admit(EVE))
    clock.advance(1)
    answers.append(actor.admit(EVE))
    clock.advance(1)

    assert [None, *[ceiling] * 5, None, None] == limits(answers)
    assert ["client"] == limits([actor.admit(EVE)])


@pytest.mark.promise("R21")
def test_what_the_limit_of_the_client_denies_spends_nothing_of_address_and_group() -> None:
    actor = group(["1/hour burst 1"], ["1/hour burst 2"], ["1/hour burst 9"])
    answers = [actor.admit(ANN) for _ in range(5)]

    assert [None] + ["client"] * 4 == limits(answers)
    assert 8 == actor.totals()[0][1]
    assert [None, "address"] == limits([actor.admit(EVE), actor.admit(InboundRequest(BOB.client, ANN.address))])


def test_all_limits_of_a_client_hold_at_once() -> None:
    clock = ManualClock()
    actor = group(["1/s burst 1", "2/hour burst 2"], clock=clock)
    answers = []
    for _ in range(3):
        answers.append(actor.admit(ANN))
        clock.advance(1)

    assert [None, None, "client"] == limits(answers)


def test_a_limit_that_is_said_twice_holds_once() -> None:
    actor = group(["1/hour burst 3"])
    actor.reconfigure(policy(["1/hour burst 2", "1/hour burst 2"]), 1000)
    actor.reconfigure(policy(["1/hour burst 2", "1/hour burst 2"], ["1/s burst 9"]), 1000)

    assert [None, None, "client"] == limits([actor.admit(ANN) for _ in range(3)])


def test_a_group_without_limits_denies_no_request_and_keeps_no_entry() -> None:
    actor = group()

    assert [None] * 100 == [actor.admit(ANN) for _ in range(100)]
    assert 0 == actor.clients()
    assert actor.least(ANN) is None


@pytest.mark.parametrize("limit", ["1/366d burst 1", "1000000000000/1us burst 1", "1/366d burst 1000000000000"])
def test_extreme_limits_can_be_asked_swept_and_changed(limit: str) -> None:
    clock = ManualClock(100.0)
    actor = group([limit], [limit], [limit], clock=clock, max_clients=1)
    first = actor.admit(ANN)
    actor._sweep()
    actor.reconfigure(policy(["1/s burst 1"]), 10**12)

    assert first is None
    assert actor._sweep_interval() <= 3600 / ClientBuckets.TABLES


def test_a_round_through_many_clients_takes_as_long_as_one_through_few_in_more_slices() -> None:
    actor = group(["1/s burst 1"], max_clients=100_000)
    few = actor._sweep_interval()
    for number in range(2 * MAX_SLICE):
        actor.admit(InboundRequest(KEYS.actor(b"%d" % number), ANN.address))

    assert (30 / ClientBuckets.TABLES, 30 / (ClientBuckets.TABLES + 2)) == (few, actor._sweep_interval())


# Ends.


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("directly", [False, True])
def test_ends_are_counted_in_batches_and_all_of_them_when_the_counters_are_read(dry_run: bool, directly: bool) -> None:
    actor = group(["1/h burst 1"] if dry_run else ["1000/s burst 1000"], dry_run=dry_run)
    for number in range(500):
        if directly:
            actor.unanswered(ANN, granted=True)
        else:
            actor.admit(ANN)
        (actor.ended if directly else actor.end)([200, 404, 429, 503, None][number % 5])
        assert len(actor._uncounted) <= 64
    found = actor.counters.record()

    assert (500, 100, 200, 100, 100, 100) == (
        found.requests,
        found.answered_2xx,
        found.answered_4xx,
        found.answered_429,
        found.answered_5xx,
        found.failures,
    )


def test_a_status_that_is_none_counts_as_a_failure_and_stops_nothing() -> None:
    actor = group(["1000/s burst 1000"])
    for status in (cast("int", "200"), cast("int", []), 200):
        actor.end(status)

    assert (1, 2) == (actor.counters.answered_2xx, actor.counters.failures)


# Dry run.


@pytest.mark.promise("R21")
def test_a_dry_run_reports_and_counts_what_it_would_deny_and_spends_nothing_for_it() -> None:
    told = Told()
    actor = group(["1/hour burst 1"], total=["1/hour burst 2"], dry_run=True, told=told)
    answers = [actor.admit(ANN) for _ in range(5)]

    assert [None, *[InboundDenied("chat", "client", 3600.0, TokenBucket(1, HOUR, 1), dry_run=True)] * 4] == answers
    assert (5, 4, {"client": 4, "address": 0, "total": 0}) == (actor.counters.requests, actor.unenforced, actor.denied_by)
    assert {} == actor.counters.record().denied
    assert actor.admit(BOB) is None
    assert [True] * 4 == [event.dry_run for event in told.events if isinstance(event, ClientDenied)]


# What is counted and told.


@pytest.mark.promise("R32")
def test_granted_requests_are_counted_by_how_they_ended_and_denials_by_limit() -> None:
    actor = group(["1/hour burst 6"], total=["1/hour burst 6"])
    for _ in range(8):
        actor.admit(ANN)
    actor.admit(BOB)
    for status in (200, 204, 302, 404, 429, 503, None):
        actor.ended(status)

    assert {"client": 2, "address": 0, "total": 1} == actor.denied_by
    assert actor.counters.record() == CounterRecord(
        requests=6,
        answered_2xx=2,
        answered_4xx=2,
        answered_429=1,
        answered_5xx=1,
        failures=1,
        others=1,
        denied={Reason.RATE_LIMIT: 3},
    )


@pytest.mark.promise("R33")
def test_hooks_get_the_pseudonym_of_a_denied_client() -> None:
    told = Told()
    actor = group(["2/s burst 1"], told=told)
    actor.admit(ANN)
    actor.admit(ANN)

    assert [
        ClientDenied(group="chat", client=f"actor-{ANN.client.hex()[2:12]}", limit="client", retry_after=0.5)
    ] == told.events


def test_without_hooks_nothing_is_announced() -> None:
    told = Told(listening=False)
    actor = group(["1/s burst 1"], told=told)
    actor.admit(ANN)
    actor.admit(ANN)

    assert [] == told.events


def test_denied_clients_are_counted_as_the_most_denied() -> None:
    clock = ManualClock()
    actor = group(["1/hour burst 1"], clock=clock)
    for request in (ANN, BOB, BOB, BOB, ANN):
        actor.admit(request)

    assert [(BOB.client, 2), (ANN.client, 1)] == actor.most_denied.top(clock())


@pytest.mark.promise("R22")
def test_the_least_is_the_limit_of_which_the_client_has_the_fewest_requests_left() -> None:
    actor = group(["1/s burst 5"], ["1/s burst 4"], ["1/s burst 9"])
    quiet = left(actor, BOB)
    actor.admit(EVE)
    actor.admit(EVE)
    same_address, elsewhere = left(actor, ANN), left(actor, BOB)
    for number in range(6):
        actor.admit(InboundRequest(KEYS.actor(b"%d" % number), KEYS.address(b"%d" % number)))

    assert [("address", 4), ("address", 2), ("address", 4)] == [quiet, same_address, elsewhere]
    assert ("total", 1) == left(actor, BOB)


def test_asking_what_is_left_changes_nothing() -> None:
    actor = group(["1/s burst 1"])
    for _ in range(5):
        actor.least(ANN)

    assert actor.admit(ANN) is None
    assert (1, 1) == (actor.counters.requests, actor.clients())


# Settings that change.


@pytest.mark.promise("R21")
def test_each_client_keeps_its_share_of_a_burst_that_changes() -> None:
    actor = group(["1/hour burst 10"], ["1/hour burst 20"], ["1/hour burst 100"])
    for _ in range(5):
        actor.admit(ANN)
    actor.reconfigure(policy(["1/hour burst 100"], ["1/hour burst 10"], ["1/hour burst 20"]), 1000)

    assert [("address", 7), ("address", 10)] == [left(actor, ANN), left(actor, BOB)]
    assert 19 == actor.totals()[0][1]


@pytest.mark.promise("R21")
def test_a_limit_that_stays_keeps_what_was_spent_of_it_wherever_it_stands() -> None:
    actor = group(["1/s burst 9", "5/day burst 5"])
    for _ in range(5):
        actor.admit(ANN)
    actor.reconfigure(policy(["5/day burst 5"]), 1000)
    gone = actor.admit(ANN)
    actor.reconfigure(policy(["7/s burst 7", "5/day burst 5"]), 1000)
    come = actor.admit(ANN)

    assert ["client", "client"] == limits([gone, come])
    assert TokenBucket(5, DAY, 5) == come.bucket if come else None


@pytest.mark.promise("R21")
def test_a_limit_that_stays_takes_over_from_no_other_even_without_entries() -> None:
    clock = ManualClock()
    actor = group(["9/s burst 9", "5/day burst 5"], clock=clock)
    for _ in range(5):
        actor.admit(ANN)
    clock.advance(60)
    for _ in range(ClientBuckets.TABLES):
        actor._sweep()
    actor.reconfigure(policy(["9/s burst 9", "6/day burst 6"]), 1000)

    assert ["client"] == limits([actor.admit(ANN)])


@pytest.mark.promise("R21")
def test_of_several_limits_that_change_each_goes_on_from_the_one_in_its_place() -> None:
    actor = group(["1/hour burst 10", "1/day burst 20"])
    for _ in range(10):
        actor.admit(ANN)
    actor.reconfigure(policy(["1/hour burst 40", "1/day burst 80", "1/day burst 160"]), 1000)
    before = [table.available(Instant(0), ANN.client) for _, table in actor._rules]

    assert [0, 40, 160] == before


def test_a_limit_that_is_new_knows_of_nothing_before_it() -> None:
    actor = group(["1/hour burst 9"])
    actor.admit(ANN)
    actor.reconfigure(policy(["1/hour burst 9"], ["1/hour burst 1"]), 1000)

    assert [None, "address"] == limits([actor.admit(ANN), actor.admit(ANN)])


@pytest.mark.promise("R21")
def test_the_same_settings_again_change_nothing() -> None:
    actor = group(["1/hour burst 3"], ["1/hour burst 5"], ["1/hour burst 7"])
    actor.admit(ANN)
    before = actor._rules
    actor.reconfigure(policy(["1/hour burst 3"], ["1/hour burst 5"], ["1/hour burst 7"]), 1000)

    assert [table for _, table in before] == [table for _, table in actor._rules]


def test_a_dry_run_ends_when_the_settings_say_so() -> None:
    actor = group(["1/hour burst 1"], dry_run=True)
    actor.admit(ANN)
    dry = actor.admit(ANN)
    actor.reconfigure(policy(["1/hour burst 1"]), 1000)
    real = actor.admit(ANN)

    assert [True, False] == [turned.dry_run for turned in (dry, real) if turned]


@pytest.mark.promise("R24")
def test_a_smaller_table_holds_at_once() -> None:
    actor = group(["1/hour burst 2"], max_clients=100_000)
    for number in range(2000):
        actor.admit(InboundRequest(KEYS.actor(b"%d" % number), ANN.address))
    actor.reconfigure(policy(["1/hour burst 2"]), 1)

    assert actor.clients() <= ClientBuckets.TABLES


def test_a_closed_group_grants_every_request_and_keeps_no_entry() -> None:
    actor = group(["1/hour burst 1"])
    actor.admit(ANN)
    actor.close()

    assert [None, None] == [actor.admit(ANN), actor.admit(ANN)]
    assert 0 == actor.clients()
