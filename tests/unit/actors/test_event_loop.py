"""Which loop runs on this thread, while another thread imports the library of the loop."""

import sys
from types import ModuleType

import pytest

from governor._actors.event_loop import in_trio, running_loop


@pytest.mark.parametrize("name", ["asyncio.events", "trio"])
def test_a_library_that_is_being_imported_runs_no_loop_yet(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, ModuleType(name))

    assert (None, False) == (running_loop(), in_trio())


def test_nor_does_trio_while_its_parts_are_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    trio = ModuleType("trio")
    trio.lowlevel = ModuleType("trio.lowlevel")  # type: ignore[attr-defined]  # as an import sets it
    monkeypatch.setitem(sys.modules, "trio", trio)

    assert (None, False) == (running_loop(), in_trio())
