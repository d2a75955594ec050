"""Names that packages load on first use: the same ones for type checkers and at run time."""

import ast
import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import governor
import governor_client
from governor import config, hints, instrumentation
from governor._exports import Later

PACKAGES = pytest.mark.parametrize("package", [governor, config, hints, instrumentation, governor_client])


def typed(package: ModuleType) -> Iterator[tuple[str, str]]:
    """The names that type checkers see, and the module that each is imported from."""
    for node in ast.parse(Path(str(package.__file__)).read_bytes()).body:
        if isinstance(node, ast.If):
            for imported in node.body:
                assert isinstance(imported, ast.ImportFrom)
                yield from ((alias.name, str(imported.module)) for alias in imported.names)


@PACKAGES
def test_each_name_is_what_type_checkers_see(package: ModuleType) -> None:
    names = dict(typed(package))

    assert set(names) | {"__version__"} >= set(package.__all__) >= set(names)
    for name, module in names.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)


@PACKAGES
def test_all_names_are_listed(package: ModuleType) -> None:
    assert set(package.__all__) <= set(dir(package))


@PACKAGES
def test_another_name_is_an_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'governer'"):
        package.governer  # noqa: B018 - reads it


def test_a_later_module_is_loaded_with_the_first_look_at_one_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needed_late.py").write_text("value = 1", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    late = Later("needed_late")

    assert "needed_late" not in sys.modules
    assert (1, 1) == (late.value, sys.modules.pop("needed_late").value)
    assert "value" in vars(late), "it is looked up once"
    assert not hasattr(late, "worth")
    del sys.modules["needed_late"]


@pytest.mark.parametrize("collects", [True, False])
def test_no_finalizer_runs_in_the_middle_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collects: bool) -> None:
    (tmp_path / "collecting.py").write_text("import gc\nvalue = gc.isenabled()", encoding="utf-8")
    (tmp_path / "failing.py").write_text("raise ImportError('broken')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    if not collects:
        gc.disable()
    try:
        assert (False, collects) == (Later("collecting").value, gc.isenabled())
        with pytest.raises(ImportError, match="broken"):
            _ = Later("failing").value
        assert collects == gc.isenabled()
    finally:
        gc.enable()
        del sys.modules["collecting"]
