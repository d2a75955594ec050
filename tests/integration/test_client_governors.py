"""Which governor a `GovernorClient` asks: before and after a governor ends, and in a forked child."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from governor import Classify, Config, Denied, Governor, Permit, Reason, _default, caller
from governor_client import GovernorClient
from tests.support.answers import granted
from tests.support.governors import no_default_yet
from tests.support.leases import PLENTY
from tests.support.programs import run

pytestmark = pytest.mark.promise("R51")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def _no_default() -> Iterator[None]:
    with no_default_yet():
        yield


@pytest.mark.usefixtures("_no_default")
def test_a_client_without_a_governor_asks_that_of_the_process_and_the_next_one_when_that_has_ended() -> None:
    client = GovernorClient()
    before, found = repr(client), []
    with Governor() as first:
        granted(client.try_permit("weather"))
        found.append(client.governor)
    with Governor() as second:
        granted(client.try_permit("weather"))
        found.append(client.governor)
    granted(client.try_permit("weather"))
    own = client.governor

    assert "<GovernorClient, not used yet>" == before
    assert [first, second] == found
    assert [own] == list(_default._started.values())


@pytest.mark.usefixtures("_no_default")
def test_a_block_of_a_client_without_a_governor_asks_the_one_that_runs_and_classifies_by_its_rules() -> None:
    client, failures = GovernorClient(), []
    rules: tuple[Classify, ...] = (lambda _: "failure", lambda _: "neutral")
    for classify in rules:
        with Governor(classify=classify) as governor:
            with suppress(ValueError), client.permit("weather", classify=lambda _: None):
                raise ValueError
            failures.append(governor.statistics().counters.failures)

    assert [1, 0] == failures


@pytest.mark.promise("R18")
@pytest.mark.usefixtures("_no_default")
def test_it_takes_no_permit_of_a_lease_for_a_label_that_has_spent_its_budget() -> None:
    budget = {"agents": {"labels": ["agent-*"], "requests": "1 per day"}}
    client = GovernorClient()
    with Governor(Config.from_mapping({"outbound": {"default": {"limits": [PLENTY]}}, "budget": budget})):
        for _ in range(30):
            granted(client.try_permit("weather"))  # Permits are granted ahead by then.
        with caller("agent-7"):
            answers = [client.try_permit("weather") for _ in range(30)]

    assert 1 == sum(isinstance(answer, Permit) for answer in answers)


@pytest.mark.promise("R55")
def test_one_that_was_given_a_governor_stays_with_it() -> None:
    with Governor() as first:
        client = GovernorClient(first)
        granted(client.try_permit("weather"))
    with Governor():
        answer = client.try_permit("weather")

    assert Denied("weather", Reason.SHUTTING_DOWN, None) == answer


# After a fork. Each test runs a program of its own, because the process that runs the tests had better not be forked.

FORK = """
    import os
    from governor import UsageError
    from governor_client import GovernorClient
    from tests.support.leases import PLENTY, ahead, governed

    def ask(client):
        try:
            return client.try_permit("weather")
        except UsageError as error:
            return error

    def enter(client):
        try:
            with client.permit("weather", timeout=5) as permit:
                return permit
        except UsageError as error:
            return error

    def in_child(*work):
        child = os.fork()
        if child == 0:
            print(*(one() for one in work), sep="; ", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

"""


def run_lines(program: str) -> list[str]:
    return run(program, setup=FORK, warnings="ignore::DeprecationWarning").splitlines()


@pytest.mark.promise("R54")
@pytest.mark.skipif(sys.platform == "win32", reason="cannot fork")
def test_in_a_child_a_client_says_that_its_governor_is_its_parents_although_permits_are_at_hand() -> None:
    printed = run_lines("""
        with governed(PLENTY) as governor:
            given = GovernorClient(governor)
            with ahead(governor, "weather"):
                in_child(lambda: ask(given), lambda: enter(given))
                print(ask(given))
    """)

    mistake = "this governor was started before a fork and does not run in this process; start one here"
    assert [f"{mistake}; {mistake}", "<Permit for weather, not reported yet>"] == printed


@pytest.mark.promise("R54")
@pytest.mark.skipif(sys.platform == "win32", reason="cannot fork")
def test_one_that_was_given_none_finds_a_new_one_in_the_child_and_the_same_in_the_parent() -> None:
    printed = run_lines("""
        with governed(PLENTY) as governor:
            found = GovernorClient()
            with ahead(governor, "weather"):
                ask(found)
                in_child(lambda: ask(found), lambda: enter(found), lambda: found.governor is governor)
                print(ask(found), found.governor is governor)
    """)

    asked, used = "<Permit for weather, not reported yet>", "<Permit for weather, reported>"
    assert [f"{asked}; {used}; False", f"{asked} True"] == printed


@pytest.mark.promise("R54")
@pytest.mark.skipif(sys.platform == "win32", reason="cannot fork")
def test_what_a_child_says_of_its_parents_permits_changes_nothing_in_the_parent() -> None:
    printed = run_lines("""
        with governed("1 in flight") as flight, governed(PLENTY) as plenty:
            held = flight.try_permit("weather")
            with ahead(plenty, "weather"):
                at_hand = ask(GovernorClient(plenty))
                in_child(lambda: held.record(status=500), lambda: at_hand.record(status=500))
            print(flight.try_permit("weather").reason, held, at_hand)
            counters = flight.statistics().counters + plenty.statistics().counters
            print(counters.failures, counters.answered_5xx)
    """)

    assert ["None; None", "concurrency_exceeded " + " ".join(2 * ["<Permit for weather, not reported yet>"]), "0 0"] == printed
