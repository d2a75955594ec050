"""A new kind of limit: one file and one line, here `daily_quota.py` and its `register_limit`, and everything accepts it."""

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from governor import Config, ConfigError, Denied, Governor, Instant, Limit, Reason, register_limit
from governor.cli import main
from governor.config import describe, parse_limit, plugins, show
from governor.policies import limits
from governor.testing import ManualClock
from tests.contracts import test_policy_contract
from tests.contracts.daily_quota import DAY, DailyQuota, DailyQuotaPolicy, register
from tests.contracts.test_policy_contract import LIMITS, uncovered

TEXT = "3 per calendar day"
FILE = f'outbound.weather.limits = ["{TEXT}", "100/s"]'


@pytest.fixture
def kinds() -> Iterator[None]:
    """Leaves the registry as it was."""
    before = dict(limits._KINDS)
    yield
    limits._KINDS.clear()
    limits._KINDS.update(before)
    plugins._loaded.clear()


@pytest.fixture
def registered(kinds: None) -> None:
    register()


def test_text_of_a_kind_that_is_not_registered_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="'3 per calendar day'; expected a limit as text"):
        parse_limit(TEXT)


@pytest.mark.usefixtures("registered")
def test_the_contract_suite_fails_for_a_kind_that_it_does_not_cover() -> None:
    assert {DailyQuota} == uncovered(LIMITS.values())
    assert set() == uncovered([*LIMITS.values(), DailyQuota(3)])


#: What the contract suite says of each limit, by the names of tests.
LAWS = {
    name: law
    for name, law in vars(test_policy_contract).items()
    if name.startswith("test_") and [*inspect.signature(law).parameters] in (["make"], ["limit"])
}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("law", [law for name, law in LAWS.items() if "leased" not in name])
def test_it_keeps_every_law_of_the_contract(law: Callable[..., None]) -> None:
    """It leases nothing."""
    (of,) = inspect.signature(law).parameters
    law(partial(limits.build, DailyQuota(5)) if of == "make" else DailyQuota(5))


def test_these_are_the_laws_of_the_contract() -> None:
    assert 13 <= len(LAWS)


@pytest.mark.usefixtures("registered")
def test_its_text_is_read_written_and_named_in_mistakes() -> None:
    config = Config.from_mapping({"outbound": {"weather": {"limits": [TEXT]}}})

    assert (DailyQuota(3),) == config.for_scope("weather:get").limits
    assert TEXT == describe(DailyQuota(3))
    assert f'limits = ["{TEXT}"]' in show(config)
    with pytest.raises(ConfigError, match="or '1000 per calendar day'"):
        parse_limit("3 per fortnight")


@pytest.mark.usefixtures("registered")
def test_a_governor_keeps_it() -> None:
    clock = ManualClock()
    with Governor(Config.from_mapping({"outbound": {"weather": {"limits": [TEXT]}}}), clock=clock) as governor:
        first = [governor.try_permit("weather") for _ in range(4)]
        (limit,) = governor.statistics().scopes["weather"].limits
        clock.advance(DAY / 1_000_000)
        second = governor.try_permit("weather")

    denied = first[-1]
    assert isinstance(denied, Denied)
    assert ([True, True, True, False], Reason.RATE_LIMIT) == ([not isinstance(one, Denied) for one in first], denied.reason)
    assert (TEXT, 0, 3) == (limit.limit, limit.available, limit.capacity)
    assert not isinstance(second, Denied)


@pytest.mark.usefixtures("registered")
def test_what_it_has_spent_is_carried_over_to_other_settings() -> None:
    before = Config.from_mapping({"outbound": {"weather": {"limits": [TEXT]}}})
    after = Config.from_mapping({"outbound": {"weather": {"limits": ["4 per calendar day"]}}})
    with Governor(before, clock=ManualClock()) as governor:
        for _ in range(3):
            governor.try_permit("weather")
        governor.reconfigure(after)
        granted = [not isinstance(governor.try_permit("weather"), Denied) for _ in range(2)]

    assert [True, False] == granted


@pytest.mark.usefixtures("registered")
def test_its_state_can_be_stored() -> None:
    policy = limits.build(DailyQuota(3))
    written = b'{"type":"daily_quota","day":7,"used":2}'

    policy.restore(limits.decode_state(written))

    assert (1, 8 * DAY) == (policy.available(Instant(7 * DAY)), policy.rests_at())


@pytest.mark.usefixtures("registered")
def test_without_a_table_of_clients_it_is_not_for_inbound_groups() -> None:
    with pytest.raises(ConfigError, match=r"inbound\.default\.limits\[0\] is .*; expected a limit of requests"):
        Config.from_mapping({"inbound": {"default": {"limits": [TEXT]}}})


@pytest.mark.usefixtures("kinds")
def test_governor_check_finds_it_by_the_entry_point_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "quotas-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: quotas\nVersion: 1.0\n", encoding="utf-8")
    (package / "entry_points.txt").write_text(
        f"[governor.limits]\nbroken = no_such_module:register\ndaily = {register.__module__}:register\n", encoding="utf-8"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    file = tmp_path / "governor.toml"
    file.write_text(FILE, encoding="utf-8")

    assert 0 == main(["check", str(file)])
    assert TEXT in capsys.readouterr().out


class _NoExamples(Limit, frozen=True):
    amount: int


class _Changing(DailyQuota, frozen=True):
    examples = ("1000 per calendar day",)

    def describe(self) -> str:
        return f"{self.amount + 1} per calendar day"


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize("kind", [_NoExamples, _Changing])
def test_a_kind_whose_text_cannot_be_read_and_written_is_not_registered(kind: type[Limit]) -> None:
    with pytest.raises(ConfigError, match=r"^limit is "):
        register_limit(kind, DailyQuotaPolicy)
