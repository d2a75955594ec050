"""The reference is complete, and agrees with the code."""

import re
from pathlib import Path
from typing import Final

import msgspec
import pytest

import governor
import governor.asgi
import governor.instrumentation
import governor.testing
import governor_client
from governor import BanBudget, Breaker, Loops, Reason, Retry, RetryBudget
from governor.config import (
    GlobalSettings,
    InboundGroup,
    InboundSettings,
    LoggingSettings,
    MachineSettings,
    ProviderSettings,
    ScopeSettings,
)
from governor.config.builtin import OUTBOUND
from governor.config.schema import write
from tools import dialects, presets

REFERENCE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference"

#: Where on the page each record has its table.
SECTIONS: Final = {
    "[global]": GlobalSettings(),
    "[provider.NAME]": ProviderSettings(),
    "[outbound.NAME]": ScopeSettings(),
    "breaker": Breaker(),
    "loops": Loops(),
    "retry": Retry(),
    "retry_budget": RetryBudget(),
    "ban_budget": BanBudget(),
    "[inbound]": InboundSettings(),
    "[inbound.NAME]": InboundGroup(),
    "[logging]": LoggingSettings(),
    "[machine]": MachineSettings(),
}
#: Settings that are tables themselves, and have a section of their own.
TABLES: Final = {"ban_budget", "breaker", "loops", "retry", "retry_budget"}

SECTION: Final = re.compile(r"^#+ `(?P<name>[^`]+)`.*?\n(?P<body>.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
ROW: Final = re.compile(r"^\| `(?P<key>\w+)` \|[^|]*\| `(?P<default>[^`]*)` \|", re.MULTILINE)


def _page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.promise("R53")
@pytest.mark.parametrize("name", SECTIONS)
def test_the_page_lists_every_setting_with_its_default(name: str) -> None:
    sections = {one["name"]: one["body"] for one in SECTION.finditer(_page("configuration.md"))}
    listed = {row["key"]: row["default"] for row in ROW.finditer(sections[name])}

    assert _defaults(SECTIONS[name]) == listed


def _defaults(record: msgspec.Struct) -> dict[str, str]:
    return {key: value for key, value in write(record) if key not in TABLES}


@pytest.mark.promise("R53")
def test_the_page_names_every_provider_that_is_built_in() -> None:
    table = _page("configuration.md").partition("| provider | `limits` |")[2].partition("\n\n")[0]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]

    assert sorted(OUTBOUND) == sorted(listed)


@pytest.mark.parametrize(
    "package",
    [governor, governor.asgi, governor_client, governor.instrumentation, governor.testing],
    ids=lambda package: package.__name__,
)
def test_every_public_name_is_in_the_reference(package: object) -> None:
    said = _page("api.md") + _page("errors.md")
    names = vars(package)["__all__"]

    assert [] == [name for name in names if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", said)]


@pytest.mark.promise("R10")
def test_every_reason_is_in_the_reference() -> None:
    said = _page("errors.md")

    assert [] == [reason.value for reason in Reason if f"`{reason.value}`" not in said]


def test_the_tables_of_dialects_are_written_from_their_files() -> None:
    assert dialects.page() == dialects.PAGE.read_text(encoding="utf-8"), "run python -m tools.dialects"
    assert dialects.data() == dialects.TABLE.read_text(encoding="utf-8"), "run python -m tools.dialects"


def test_the_tables_of_presets_are_written_from_their_data() -> None:
    assert presets.page() == presets.PAGE.read_text(encoding="utf-8"), "run python -m tools.presets"
