"""No call takes more Python calls or memory than the table allows. The calls of adapters are counted in tests/contracts."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from governor import Config, Governor, _build
from governor._actors import keeper
from governor._actors.kept_actor import KeptScopeActor
from governor._units import Instant
from governor.messages import Acquire
from governor.policies.contract import Grant, Request
from governor.protocol import Ask, Granted
from governor_client import GovernorClient
from tests.counts.allowed import ALLOWED, BYTES_VARY, CanBeLowered, compare, counts_bytes
from tests.counts.subjects import ON_THE_LOOP, PLAIN, message_round_trip, opened, pair
from tests.integration.machine.machine import listening
from tests.support.counting import TRIES, WARM_UP, Call, blocks_kept, bytes_at_once, no_labels, python_calls
from tests.support.governors import actor_of
from tests.support.leases import PLENTY, ahead, governed
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.filterwarnings("default::tests.counts.allowed.CanBeLowered")


@pytest.fixture(autouse=True)
def _no_block_has_set_a_label() -> Iterator[None]:
    with no_labels():
        yield


def assert_takes_no_more_than_allowed(name: str, call: Call, *, on_trio: bool = False) -> None:
    """The least of a few calls: some do more, for instance because time has passed."""
    call()
    allowed = ALLOWED[name]
    called = min((python_calls(call) for _ in range(TRIES)), key=len)
    compare(name, "Python calls", allowed.calls + on_trio * allowed.on_trio, len(called), called)
    if counts_bytes() and not on_trio:
        found = bytes_at_once(call)
        if abs(found - allowed.bytes) > BYTES_VARY:
            compare(name, "bytes at once", allowed.bytes, found)

        kept = blocks_kept(call)
        assert kept <= allowed.blocks, f"{name} leaves {kept} blocks behind, and {allowed.blocks} are allowed"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ON_THE_LOOP)
async def test_a_call_on_the_loop_takes_no_more_than_allowed(name: str, anyio_backend_name: str) -> None:
    async with opened(ON_THE_LOOP[name]) as call:
        assert_takes_no_more_than_allowed(name, call, on_trio=anyio_backend_name == "trio")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "limit"), [("written ahead", PLAIN), ("written ahead, strict window", "1000000 per minute strict")]
)
async def test_a_call_with_a_pause_before_it_is_written_ahead_without_a_step(
    name: str, limit: str, tmp_path: Path, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_WRITE_TIMEOUT", PATIENCE)  # A slow disk denies nothing.
    clock = count(10**9, 10_000)  # Too long a pause for anything to be handed out.
    settings = {"machine": {"state": str(tmp_path)}, "outbound": {"default": {"limits": [limit]}}}
    async with Governor(Config.from_mapping(settings), clock=lambda: Instant(next(clock))) as governor:
        call = pair(governor)
        for _ in range(WARM_UP):
            call()
        actor = actor_of(governor, "weather")
        assert isinstance(actor, KeptScopeActor)
        # While a record is being written, each call looks whether another one is needed.
        until(lambda: not any(account.writing for account in actor._keeper._accounts.values()))
        called = min((python_calls(call) for _ in range(TRIES)), key=len)
        compare(
            name,
            "Python calls",
            ALLOWED[name].calls + (anyio_backend_name == "trio") * ALLOWED[name].on_trio,
            len(called),
            called,
        )


@pytest.mark.promise("R51")
def test_a_leased_pair_takes_no_more_than_allowed() -> None:
    with governed(PLENTY) as governor:
        client = GovernorClient(governor)
        with ahead(governor, "weather", least=500):
            assert_takes_no_more_than_allowed("leased pair", pair(client))


def test_a_call_that_asks_a_daemon_takes_no_more_than_allowed_on_its_own_thread(tmp_path: Path) -> None:
    settings = Config.from_mapping({"outbound": {"default": {"limits": ["1000000 per hour strict"]}}})
    member = Config.from_mapping({"machine": {"socket": str(tmp_path / "socket")}})
    with listening(Governor(settings), tmp_path / "socket"), Governor(member) as governor:
        call = pair(GovernorClient(governor))
        for _ in range(WARM_UP):
            call()
        name = "asked of a daemon"
        called = min((python_calls(call) for _ in range(4 * TRIES)), key=len)
        compare(name, "Python calls", ALLOWED[name].calls, len(called), called)


def test_a_message_and_its_answer_take_no_more_than_allowed() -> None:
    ask = Ask(1, "openai/gpt-5:post", Acquire(Request(2, {"tokens": 900}), 5.0, 1, "agent", "batch"))
    granted = Granted(1, Grant(Instant(12), 3))

    assert_takes_no_more_than_allowed("message round trip", message_round_trip(ask, granted))


@pytest.mark.parametrize("counted", [8, 7, 6])
def test_more_than_allowed_fails_and_less_says_that_the_table_can_be_lowered(
    counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_build, "is_compiled", lambda: False)  # The table is that of pure Python.
    if counted > 7:
        with pytest.raises(AssertionError, match="a pair: 8 Python calls, and 7 are allowed"):
            compare("a pair", "Python calls", 7, counted, ["one", "two"])
    elif counted < 7:
        with pytest.warns(CanBeLowered, match="6 Python calls, and 7 are allowed: lower it in tests/counts/allowed.py"):
            compare("a pair", "Python calls", 7, counted)
    else:
        compare("a pair", "Python calls", 7, counted)
