"""The governor of code that brings none."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Barrier, Thread

import anyio
import pytest

from governor import Config, Governor, GovernorState, Permit, _default, default
from governor._governor import running
from governor.messages import InboundRequest
from tests.support.governors import no_default_yet


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with no_default_yet():
        yield


@pytest.mark.promise("R51", "R54")
def test_a_program_that_starts_none_gets_one_on_a_background_thread() -> None:
    governor = default()

    assert isinstance(governor.try_permit("weather"), Permit)
    assert default() is governor


@pytest.mark.promise("R51")
def test_all_threads_that_ask_at_once_get_the_same() -> None:
    barrier, governors = Barrier(16), []

    def ask() -> None:
        barrier.wait()
        governors.append(default())

    threads = [Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 16 == len(governors)
    assert 1 == len(set(governors))
    assert governors == [governor for governor in running if governor.state is GovernorState.RUNNING for _ in range(16)]


@pytest.mark.anyio
@pytest.mark.promise("R51")
async def test_a_governor_that_was_entered_is_the_default() -> None:
    async with Governor() as governor:
        inside = default()

    assert governor is inside


@pytest.mark.anyio
async def test_of_two_that_were_entered_it_is_the_one_that_was_first() -> None:
    async with Governor() as first:
        async with Governor():
            inside = default()
        afterwards = default()

    assert (first, first) == (inside, afterwards)


def test_a_governor_that_was_entered_without_a_loop_is_the_default_as_well() -> None:
    with Governor() as governor:
        inside = default()

    assert governor is inside


def test_once_it_has_been_left_there_is_another() -> None:
    with Governor() as governor:
        pass
    again = default()

    assert governor is not again
    assert isinstance(again.try_permit("weather"), Permit)


def test_a_default_that_has_ended_by_itself_is_replaced() -> None:
    ended = default()
    ended._lives.end_on_thread()
    again = default()

    assert ended is not again
    assert isinstance(again.try_permit("weather"), Permit)


WAYS: list[Callable[[Governor], object]] = [
    lambda governor: governor.try_permit("weather"),
    lambda governor: governor.try_permit("weather", "GET", cost=2),
    lambda governor: governor.permit("weather").__enter__(),
    lambda governor: anyio.run(governor.permit("weather").__aenter__),
    lambda governor: anyio.run(governor.permit("weather", timeout=0.0).__aenter__, backend="trio"),
    lambda governor: governor.plan_retry("weather", "GET", attempt=1).delay,
    lambda governor: anyio.run(partial(governor.aplan_retry, "weather", "GET", attempt=1)),
    lambda governor: governor.statistics(),
    lambda governor: anyio.run(governor.astatistics),
    lambda governor: governor.inbound.admit_blocking("default", InboundRequest(b"client", b"address")),
    lambda governor: anyio.run(governor.inbound.admit, "default", InboundRequest(b"client", b"address")),
    lambda governor: governor.reconfigure(Config.from_mapping({})),
    lambda governor: governor.resume(),
    lambda governor: (
        governor.inbound.is_local(),
        governor.state,
        repr(governor),
    ),
    lambda governor: anyio.run(governor.aclose),
]


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.promise("R55")
def test_one_that_could_not_begin_answers_as_one_that_has_been_left(ask: Callable[[Governor], object]) -> None:
    left, never_begun = Governor(), Governor()
    with left:
        pass
    _default._stay_closed(never_begun)

    assert _outcome(ask, left) == _outcome(ask, never_begun)


def _outcome(ask: Callable[[Governor], object], governor: Governor) -> object:
    try:
        return ask(governor)
    except Exception as error:
        return type(error), str(error)


def test_it_is_configured_by_the_file_that_the_environment_names(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path_factory.mktemp("policies") / "governor.toml"
    file.write_text('[outbound.weather]\nlimits = ["7/minute burst 7"]\n', encoding="utf-8")
    monkeypatch.setenv("GOVERNOR_CONFIG", str(file))

    assert Config.load(file).for_scope("weather") == default().config.for_scope("weather")


def test_it_is_configured_by_the_file_that_dotenv_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("governor.toml").write_text('[outbound.weather]\nlimits = ["7/minute burst 7"]\n', encoding="utf-8")
    Path(".env").write_text("GOVERNOR_CONFIG=governor.toml", encoding="utf-8")

    assert Config.load("governor.toml").for_scope("weather") == default().config.for_scope("weather")


@pytest.mark.promise("R19")
def test_a_policy_file_that_nothing_names_is_named_in_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("governor.toml").touch()

    default()

    assert ["governor.toml is not read: set GOVERNOR_CONFIG=governor.toml"] == caplog.messages
