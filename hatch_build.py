"""Build hook of hatchling: compiles the kernel in C where that is possible, and makes a wheel of pure Python where not.

Both builds have the same source. A line that ends in `# C: ...` is compiled as what follows it, with its own indentation; a
line of nothing else is compiled besides. A class that the `.pxd` file beside the module declares has the fields that it names.

`TRAFFIC_GOVERNOR_PURE=1` compiles nothing; with `=0` a wheel of pure Python is an error.
"""

import ast
import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: The modules that are compiled, each with a `.pxd` file beside it. An import of one that is not compiled fails.
MODULES: Final = (
    "governor._fields",
    "governor.policies._sliding_log",
    "governor.policies.windows._uses",
    "governor.policies._places",
    "governor.policies.breakers._call_log",
    "governor.policies.breakers._failure_rate",
    "governor.policies.plain",
    "governor.policies.calm",
    "governor._actors.counters",
    "governor._actors.lifecycle",
    "governor._actors.permit",
    "governor._actors.leases.permits_ahead",
    "governor._actors.leases.leased_places",
    "governor._actors.granting",
    "governor._actors.in_place",
    "governor._taking",
    "governor._finished",
    "governor._permit_request",
    "governor.policies.clients.buckets",
    "governor._actors.inbound.admitting",
    "governor.asgi.observer",
    "governor.asgi.context",
    "governor.asgi.identity",
    "governor.asgi.routing",
    "governor.asgi.admission",
)
NEEDS: Final = ("cython>=3.1,<4", "setuptools>=65")
SWITCH: Final = "TRAFFIC_GOVERNOR_PURE"
#: The variable that says how much the compiler optimizes, from 0 to 3; 2 if it is not set.
LEVEL: Final = "TRAFFIC_GOVERNOR_OPTIMIZE"

_CLASS: Final = re.compile(r"^cdef class (\w+)", re.MULTILINE)
_REPLACED: Final = re.compile(r"^(?P<indent> *)(?P<python>.*?)# C: ?(?P<c>.*)$")


def source_in_c(source: str, declarations: str) -> str:
    """The source of a module as it is compiled, with these declarations."""
    dropped, in_c = set[int](), _CLASS.findall(declarations)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name in in_c:
            for part in node.body:
                if isinstance(part, ast.AnnAssign) or (isinstance(part, ast.FunctionDef) and _is_overload(part)):
                    first = min([part.lineno, *(name.lineno for name in getattr(part, "decorator_list", ()))])
                    dropped.update(range(first, (part.end_lineno or first) + 1))
            # `typing.final` is no decorator that a class in C can have.
            dropped.update(name.lineno for name in node.decorator_list if isinstance(name, ast.Name) and name.id == "final")
    lines = source.splitlines()
    return "".join(f"{'' if number in dropped else _line_in_c(line)}\n" for number, line in enumerate(lines, 1))


def _is_overload(function: ast.FunctionDef) -> bool:
    return any(isinstance(name, ast.Name) and name.id == "overload" for name in function.decorator_list)


def _line_in_c(line: str) -> str:
    found = _REPLACED.match(line)
    return line if found is None else found["indent"] + found["c"]


def level() -> str:
    """How much the compiler optimizes."""
    return os.environ.get(LEVEL, "2")


def compile_into(root: Path, target: Path) -> list[Path]:
    """Compiles the modules of the tree at `root`. Returns the paths of the extension modules, beneath `target`."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    with TemporaryDirectory() as folder:
        extensions = []
        for module in MODULES:
            path = Path(*module.split("."))
            source = (root / path).with_suffix(".py")
            copy = Path(folder, path).with_suffix(".py")
            copy.parent.mkdir(parents=True, exist_ok=True)
            for package in path.parents[:-1]:
                Path(folder, package, "__init__.py").touch()
            declarations = source.with_suffix(".pxd").read_text(encoding="utf-8")
            copy.write_text(source_in_c(source.read_text(encoding="utf-8"), declarations), encoding="utf-8")
            copy.with_suffix(".pxd").write_text(declarations, encoding="utf-8")
            arguments = [] if os.name == "nt" else [f"-O{level()}", "-g0"]
            extensions.append(Extension(module, [str(copy.relative_to(folder))], extra_compile_args=arguments))
        before = Path.cwd()
        os.chdir(folder)  # Names in tracebacks are relative to it, and the modules find each other's `.pxd` files.
        try:
            compiled = cythonize(
                extensions,
                quiet=True,
                compiler_directives={
                    "language_level": 3,
                    "annotation_typing": False,
                    "auto_pickle": False,
                    "warn.unreachable": False,
                },
            )
            distribution = Distribution({"name": "kernel", "ext_modules": compiled, "packages": []})
            command = distribution.get_command_obj("build_ext")
            command.build_lib, command.build_temp, command.parallel = str(target), "objects", os.cpu_count()
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(before)
    return [target / command.get_ext_filename(module) for module in MODULES]


def has_compiler() -> bool:
    """Whether there is what this Python compiles with. On Windows only setuptools knows where to look."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "")
    return os.name == "nt" or bool(compiler and shutil.which(compiler[0]))


class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the extension modules to the wheel."""

    PLUGIN_NAME = "custom"

    def _reason_for_pure(self) -> str | None:
        """Why nothing is compiled; None if something is."""
        if self.target_name != "wheel" or os.environ.get(SWITCH) == "1":
            return "that is what was asked for"
        if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            return "compiled code counts on CPython and the lock of its interpreter"
        return None if has_compiler() else "there is no C compiler"

    def dependencies(self) -> list[str]:
        """What compiling needs, where anything is compiled."""
        return list(NEEDS) if self._reason_for_pure() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles. A tree that is installed to be edited stays as it is."""
        if version == "editable":
            return
        target = Path(self.directory, "kernel")
        try:
            reason = self._reason_for_pure()
            built = [] if reason else compile_into(Path(self.root), target)
        except (Exception, SystemExit) as error:  # The latter is how setuptools ends.
            if os.environ.get(SWITCH) == "0":
                raise
            reason, built = f"it failed: {error}", []
        if reason:
            if os.environ.get(SWITCH) == "0":
                raise RuntimeError(f"the kernel is not compiled: {reason}")
            self.app.display_warning(f"The kernel is not compiled, and the wheel is pure Python: {reason}.")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(path): path.relative_to(target).as_posix() for path in built})
