"""Methods of libraries that are replaced for a time, in libraries that are loaded and in those that are loaded later.

The import hook finds a library as it would be found without it, and calls back when the library has been executed. It loads
nothing by itself.
"""

import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import Lock
from types import ModuleType
from typing import Any, Final, NamedTuple, final

#: A method of a class, as a plain function.
Method = Callable[..., Any]


class _Patch(NamedTuple):
    """A method that was replaced."""

    owner: type
    name: str
    original: Method
    replacement: Method


@final
class Patches:
    """The methods that are replaced. `active` is read by each replacement, which may have to stay in place at the end."""

    def __init__(self) -> None:
        self.active = True
        self._lock: Final = Lock()
        self._made: list[_Patch] = []

    def replace(self, owner: type, name: str, replacement: Callable[[Method], Method]) -> None:
        """Replaces a method by what `replacement` makes of it, once."""
        with self._lock:
            if not self.active or any(patch.owner is owner and patch.name == name for patch in self._made):
                return
            original = vars(owner)[name]
            patch = _Patch(owner, name, original, replacement(original))
            setattr(owner, name, patch.replacement)
            self._made.append(patch)

    def undo(self) -> None:
        """Restores all methods. Warns of one that other code has replaced since, which then stays as it is."""
        with self._lock:
            self.active = False
            made, self._made = self._made, []
        covered = []
        for patch in reversed(made):
            if vars(patch.owner).get(patch.name) is patch.replacement:
                setattr(patch.owner, patch.name, patch.original)
            else:
                covered.append(f"{patch.owner.__module__}.{patch.owner.__qualname__}.{patch.name}")
        if covered:
            warnings.warn(
                f"other code has patched {', '.join(covered)} after instrument(), and its patch stays; the one of instrument() "
                "stays beneath it and has no effect any more. To restore the original, undo the patches in reverse order",
                RuntimeWarning,
                stacklevel=4,
            )


@final
class ImportHook(MetaPathFinder):
    """Calls `loaded` with each of these modules when it has been executed, after `install` and until `remove`."""

    def __init__(self, names: Collection[str], loaded: Callable[[ModuleType], None]) -> None:
        self._names = names
        self._loaded = loaded

    def install(self) -> None:
        """Begins."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Ends."""
        sys.meta_path.remove(self)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of one of the modules, as the finders after this one find it."""
        finders = list(sys.meta_path)
        if fullname not in self._names or self not in finders:
            return None
        # Not all finders, because two hooks that ask each other would never end.
        for finder in finders[finders.index(self) + 1 :]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self._loaded)
                return spec
        return None


@final
class _Loader(Loader):
    """A loader that says when the module has been executed."""

    def __init__(self, loader: Any, loaded: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._loaded(module)

    def __getattr__(self, name: str) -> Any:
        # Tools may ask a loader for more, such as `is_package` or `get_resource_reader`.
        return getattr(self._loader, name)
