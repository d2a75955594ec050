"""What `import governor` loads, and the layer of each module where the import contracts cannot look."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest

import governor
import governor_client

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "governor"

WEB_STACK: Final = {
    *("aiohttp", "h11", "httpcore", "httpcore2", "httpx", "httpx2"),
    *("prometheus_client", "redis", "starlette", "uvicorn", "uvloop"),
}

HTTP_LIBRARIES: Final = {"aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"}

PROGRAM: Final = """
import json, sys, threading
before = threading.enumerate()
{statement}
print(json.dumps({{"modules": sorted(sys.modules), "threads": [str(t) for t in threading.enumerate() if t not in before]}}))
"""


def _after(statement: str) -> dict[str, list[str]]:
    """The modules that a new process has loaded, and the threads that it has started, once it has run one import."""
    program = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    answer: dict[str, list[str]] = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    return answer


@pytest.mark.promise("R54")
def test_importing_the_library_loads_no_web_stack() -> None:
    loaded = set(_after("import governor")["modules"])

    assert set() == loaded & WEB_STACK


def test_importing_the_library_loads_no_metadata_of_packages() -> None:
    loaded = set(_after("import governor")["modules"])

    assert set() == loaded & {"importlib.metadata", "importlib.resources", "zipfile"}


def test_the_version_is_that_of_the_package() -> None:
    assert version("traffic-governor") == governor.__version__


@pytest.mark.promise("R54")
@pytest.mark.parametrize("statement", ["import governor.asgi", "from governor_client import TrafficControlMiddleware, limit"])
def test_importing_the_middleware_loads_no_http_client_and_no_web_stack(statement: str) -> None:
    loaded = set(_after(statement)["modules"])

    assert set() == loaded & WEB_STACK


@pytest.mark.promise("R54")
@pytest.mark.parametrize("statement", ["import governor_client", "from governor_client import TrafficControlledHttpClient"])
def test_importing_the_http_client_loads_no_server_code(statement: str) -> None:
    loaded = set(_after(statement)["modules"])

    assert not [name for name in loaded if name.startswith(("aiohttp", "governor.asgi", "starlette", "uvicorn"))]


@pytest.mark.promise("R56")
@pytest.mark.parametrize(
    ("module", "loaded"), [("botocore", {"urllib3"}), ("urllib3", {"urllib3"}), ("requests", {"requests", "urllib3"})]
)
def test_an_adapter_loads_no_other_http_library(module: str, loaded: set[str]) -> None:
    assert loaded == HTTP_LIBRARIES & set(_after(f"import governor_client.{module}")["modules"])


@pytest.mark.promise("R54")
def test_every_public_name_of_the_client_package_can_be_imported() -> None:
    assert [] == [name for name in governor_client.__all__ if not hasattr(governor_client, name)]


@pytest.mark.promise("R54")
@pytest.mark.parametrize("module", ["governor", "governor.asgi", "governor_client"])
def test_importing_starts_no_thread(module: str) -> None:
    assert [] == _after(f"import {module}")["threads"]


def test_every_top_level_module_has_its_layer() -> None:
    modules = {f"governor.{name}" for name in _top_level_modules(PACKAGE)}

    assert set() == modules - _layers()


def test_the_contract_of_exports_names_every_private_module() -> None:
    private = {f"governor.{name}" for name in _top_level_modules(PACKAGE) if name.startswith("_") and name != "__main__"}
    (forbidden,) = (contract["forbidden_modules"] for contract in _contracts() if contract["id"] == "exports")

    assert private | {"governor.policies"} == set(forbidden)


def test_policies_know_random_only_as_a_type() -> None:
    policies = sorted((PACKAGE / "policies").rglob("*.py"))

    assert [] == [path.name for path in policies if "random" in _imported_when_run(ast.parse(path.read_bytes()))]


def _top_level_modules(package: Path) -> Iterator[str]:
    for path in package.iterdir():
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file():
            yield path.stem


def _contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


def _layers() -> set[str]:
    """Every module that the layers contract names, those to come included."""
    (lines,) = (contract["layers"] for contract in _contracts() if contract["type"] == "layers")
    return {name.strip(" ()") for line in lines for name in line.split("|")}


def _imported_when_run(tree: ast.AST) -> Iterator[str]:
    """The top-level modules that code imports, apart from what stands under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING"), orelse=otherwise):
                yield from (name for branch in otherwise for name in _imported_when_run(branch))
            case ast.Import(names=aliases):
                yield from (alias.name.partition(".")[0] for alias in aliases)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0]
            case _:
                yield from _imported_when_run(node)
