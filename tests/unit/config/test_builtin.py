"""Built-in settings: each table is one of a policy file."""

import tomllib
from collections.abc import Mapping

import pytest

from governor import Config, ConfigError
from governor.config import show
from governor.config.builtin import DEFAULT_PRESET, OUTBOUND, PRESETS, built_in


@pytest.mark.parametrize("table", [{"outbound": OUTBOUND}, *({"inbound": groups} for groups in PRESETS.values())])
def test_each_table_is_one_of_a_policy_file_that_is_shown_as_it_is_read(table: Mapping[str, Mapping[str, object]]) -> None:
    config = Config.from_mapping(table)
    (sections,) = table.values()

    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))
    assert set(sections) <= {*config.outbound, *config.inbound}


def test_a_new_preset_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "acme", {"orders": {"paths": ["/orders"], "limits": ["7/s burst 7"]}})
    config = Config.from_mapping({"inbound": {"preset": "acme"}})

    assert (["default", "orders"], ("/orders",)) == (sorted(config.inbound), config.inbound["orders"].paths)
    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))
    with pytest.raises(ConfigError, match=r"inbound\.preset is 'acne'; expected one of 'venom', 'acme' .did you mean 'acme'"):
        Config.from_mapping({"inbound": {"preset": "acne"}})


def test_the_built_in_scopes_are_in_force_without_settings() -> None:
    assert set(built_in()["outbound"]) < set(Config.from_mapping({}).outbound)


def test_the_reference_platform_is_the_preset_of_a_configuration_without_groups() -> None:
    assert {"default", *PRESETS[DEFAULT_PRESET]} == set(Config.from_mapping({}).inbound)
