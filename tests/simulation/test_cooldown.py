"""Pauses that servers ask for, in virtual time: who waits, how long, and what ends the wait."""

import anyio
import pytest
from hypothesis import settings

from governor import Config, ConfigError, Denied, Governor, ProviderCooldown, Reason
from governor.testing import loop_clock
from tests.support import tape as st
from tests.support.answers import granted
from tests.support.governors import NoSpread
from tests.support.tape import given

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R11")]

#: The provider, and another one.
SCOPES = ("github:get", "github:post", "github:delete")


def governed(**global_: object) -> Governor:
    said = {
        "global": {"requests_per_minute": 100_000, **global_},
        "outbound": {"default": {"limits": ["1000/s burst 1000"]}},
    }
    return Governor(Config.from_mapping(said), clock=loop_clock(), random=NoSpread())


def ask(governor: Governor, scope: str) -> object:
    return governor.try_permit(*scope.split(":"))


async def test_after_a_server_has_asked_for_a_pause_no_scope_of_its_provider_gets_a_permit_before() -> None:
    async with governed() as governor:
        for scope in SCOPES[:2]:
            granted(governor.try_permit(*scope.split(":"))).record(status=200)
        permit = granted(governor.try_permit("github", "GET"))
        permit.hint(retry_after=5.0)
        permit.record(status=429)

        at_once = [ask(governor, scope) for scope in (*SCOPES, "github")]
        other = governor.try_permit("gitlab", "GET")
        await anyio.sleep(4.999_999)
        just_before = [ask(governor, scope) for scope in SCOPES]
        await anyio.sleep(0.000_001)
        at_its_end = [ask(governor, scope) for scope in SCOPES]

    assert [Denied(scope, Reason.COOLDOWN, 5.0) for scope in (*SCOPES, "github")] == at_once
    granted(other)
    assert all(isinstance(answer, Denied) and answer.reason is Reason.COOLDOWN for answer in just_before)
    for answer in at_its_end:
        granted(answer)  # type: ignore[arg-type] # a permit or a denial


async def test_waiting_calls_of_all_scopes_go_on_when_it_ends_and_not_before() -> None:
    ends: dict[str, float] = {}

    async def wait(scope: str) -> None:
        async with governor.permit(*scope.split(":")):
            ends[scope] = anyio.current_time() - began

    async with governed() as governor:
        began = anyio.current_time()
        granted(governor.try_permit("github", "GET")).hint(retry_after=3.0)
        async with anyio.create_task_group() as tasks:
            for scope in SCOPES:
                tasks.start_soon(wait, scope)
            await anyio.sleep(1.0)
            granted(governor.try_permit("gitlab")).record(status=200)
            # Another answer, which was on its way, asks for more; a third one for less.
            late = granted(governor.try_permit("gitlab"))
            late.give_back()
            governor._access.find("github", "PUT", 0)
            hint(governor, 9.0)
            hint(governor, 1.0)

    # One after another, within a twentieth of the wait.
    assert min(ends.values()) == pytest.approx(10.0, abs=1e-3)
    assert all(10.0 <= ends[scope] <= 10.45 for scope in SCOPES)


def hint(governor: Governor, wait: float) -> None:
    """What a permit says that was granted before the pause."""
    from governor._actors.actor import ScopeActor
    from governor._actors.permit import Permit
    from governor._units import Instant

    actor = governor._access.find("github", "PUT", 0)
    assert isinstance(actor, ScopeActor)
    Permit(actor, Instant(0), 0).hint(retry_after=wait)


async def test_a_call_that_cannot_wait_that_long_is_denied_at_once_with_the_rest_of_the_pause() -> None:
    async with governed() as governor:
        granted(governor.try_permit("github", "GET")).hint(retry_after=30.0)
        began = anyio.current_time()

        with pytest.raises(ProviderCooldown) as raised:
            await governor.acquire("github", "POST", timeout=29.0)

    assert (30.0, 0.0) == (raised.value.retry_after, anyio.current_time() - began)


async def test_it_outlives_the_scopes_of_its_provider() -> None:
    async with governed(max_scopes=2, idle_after="1s") as governor:
        granted(governor.try_permit("github", "GET")).hint(retry_after=100.0)
        for number in range(10):
            await anyio.sleep(5.0)
            granted(governor.try_permit(f"other{number}")).record(status=200)
        answer = governor.try_permit("github", "POST")

    assert Denied("github:post", Reason.COOLDOWN, 50.0) == answer


async def test_a_pause_of_one_scope_holds_that_scope_alone_even_after_it_was_set_aside() -> None:
    async with governed(max_scopes=2, idle_after="1s") as governor:
        granted(governor.try_permit("github", "GET")).hint(retry_after=100.0, whole_provider=False)
        granted(governor.try_permit("github", "POST")).record(status=200)
        for number in range(10):
            await anyio.sleep(5.0)
            granted(governor.try_permit(f"other{number}")).record(status=200)
        answer = governor.try_permit("github", "GET")

    assert Denied("github:get", Reason.COOLDOWN, 50.0) == answer


async def test_a_pause_is_believed_for_an_hour_at_most() -> None:
    async with governed() as governor:
        granted(governor.try_permit("github")).hint(retry_after=86_400.0)
        answer = governor.try_permit("github")

    assert Denied("github", Reason.COOLDOWN, 3_600.0) == answer


@pytest.mark.parametrize("wait", [-1.0, float("nan"), "5", None])
async def test_what_is_no_wait_is_a_mistake_and_changes_nothing(wait: object) -> None:
    async with governed() as governor:
        permit = granted(governor.try_permit("github"))
        with pytest.raises(ConfigError, match=r"^retry_after is "):
            permit.hint(retry_after=wait)  # type: ignore[arg-type] # the mistake
        granted(governor.try_permit("github"))


@settings(max_examples=30)  # Each needs an event loop and a governor of its own.
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20), st.sampled_from(SCOPES)), min_size=1, max_size=12))
def test_of_several_answers_the_one_that_asks_for_most_decides(answers: list[tuple[int, int, str]]) -> None:
    import trio
    import trio.testing

    async def story() -> None:
        until = 0.0
        async with governed() as governor:
            for gap, wait, scope in answers:
                await anyio.sleep(gap)
                now = trio.current_time()
                answer = governor.try_permit(*scope.split(":"))
                assert (now >= until) == (not isinstance(answer, Denied))
                if isinstance(answer, Denied):
                    assert answer.retry_after == pytest.approx(until - now)
                    hint(governor, wait)
                else:
                    answer.hint(retry_after=wait)
                    answer.record(status=429)
                until = max(until, now + wait)

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))
