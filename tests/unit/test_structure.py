"""The source stays in pieces that a reader can hold: small classes, short files, one statement of what each module is."""

import ast
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = sorted([*ROOT.glob("governor/**/*.py"), *ROOT.glob("clients/**/*.py")])

MAX_METHODS: Final = 25
MAX_LINES: Final = 400


def methods(a_class: ast.ClassDef) -> int:
    return sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in a_class.body)


def test_no_class_has_more_than_25_methods() -> None:
    classes = [
        (path.name, part.name, methods(part))
        for path in SOURCES
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(part, ast.ClassDef)
    ]

    assert 100 < len(classes)
    assert [] == [one for one in classes if one[-1] > MAX_METHODS]


def test_no_file_has_more_than_400_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}

    assert {} == {path: length for path, length in lengths.items() if length > MAX_LINES}
