"""Data files of providers: each is a policy file of its own, and a new one needs no code."""

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from governor import Config, ConfigError, providers
from governor.config import show
from governor.providers import Provider, built_in, read

ACME = """
[outbound.acme]
limits = ["5 per s strict"]

[inbound.orders]
paths = ["/orders"]
limits = ["7/s burst 7"]
"""


@pytest.mark.parametrize("name", built_in())
def test_each_data_file_is_a_policy_file_that_is_shown_as_it_is_read(name: str) -> None:
    text = files(providers).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    config = Config.from_mapping(tomllib.loads(text))

    assert text.startswith("# ")
    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))
    assert set(built_in()[name].outbound) <= set(config.outbound)
    assert set(built_in()[name].inbound) <= set(config.inbound)


def test_a_new_file_is_in_force_for_its_scopes_and_its_name_is_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme.toml").write_text(ACME, encoding="utf-8")
    (tmp_path / "README.md").write_text("not a provider", encoding="utf-8")
    found = {**built_in(), **read(tmp_path)}
    monkeypatch.setattr(providers, "built_in", lambda: found)
    config = Config.from_mapping({"inbound": {"preset": "acme"}})

    assert ["acme"] == list(read(tmp_path))
    assert "5 per s strict" == config.for_scope("acme:get").limits[0].describe()
    assert (["default", "orders"], ("/orders",)) == (sorted(config.inbound), config.inbound["orders"].paths)
    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))
    with pytest.raises(ConfigError, match=r"inbound\.preset is 'acne'; expected one of 'venom', 'acme' .did you mean 'acme'"):
        Config.from_mapping({"inbound": {"preset": "acne"}})


def test_a_table_that_is_neither_outbound_nor_inbound_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text("[global]\nmax_scopes = 5", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^acme\.toml: unknown table \[global\]$"):
        read(tmp_path)


def test_the_reference_platform_is_the_preset_of_a_configuration_without_groups() -> None:
    assert isinstance(built_in()["venom"], Provider)
    assert {"default", *built_in()["venom"].inbound} == set(Config.from_mapping({}).inbound)
