"""Data files are found beside their modules, in a folder and in an archive."""

import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from governor._data import data_folder


def test_data_is_found_in_a_folder() -> None:
    assert isinstance(data_folder("governor.hints", "dialects"), Path)
    assert "openai" in (data_folder("governor.hints", "dialects") / "openai.toml").read_text(encoding="utf-8")


def test_data_is_found_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("packed/__init__.py", "")
        archive.writestr("packed/data/one.toml", "one = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "archive.zip"))
    monkeypatch.delitem(sys.modules, "packed", raising=False)
    __import__("packed")

    assert "one = 1" == (data_folder("packed", "data") / "one.toml").read_text(encoding="utf-8")
    del sys.modules["packed"]
