"""Names of a package, and modules, that are loaded on first use (PEP 562)."""

import gc
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType


def exports(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: `homes` maps its modules to the names that each defines, between spaces.

    Modules are named from within the package: `._units` is one beside it. Type checkers see the same names as imports under
    `if TYPE_CHECKING:`, and no `__getattr__`, which would allow any name.
    """
    modules = {name: module for module, names in homes.items() for name in names.split()}
    known = vars(sys.modules[package])

    def load(name: str) -> object:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = known[name] = getattr(_loaded(f".{module}", package), name)
        return value

    return load, lambda: sorted({*known, *modules})


class Later:
    """Stands for a module that many programs never need, and loads it with the first look at one of its names.

    Type checkers and import contracts see an import under `if TYPE_CHECKING:`, as with `exports`.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> object:
        value = self.__dict__[name] = getattr(_loaded(self._module), name)
        return value


def _loaded(name: str, package: str | None = None) -> ModuleType:
    """Imports a module while the garbage collector pauses.

    The finalizer of a permit may take a step of its actor. In the middle of an import, on the same thread, that step could need
    the module that is being loaded, and find half of it. Besides, a collection would find nothing, and an import that starts
    none takes a twentieth less.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return import_module(name, package)
    finally:
        if collects:
            gc.enable()
