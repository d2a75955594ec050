"""Makes an environment with the compiled kernel: `python -m tools.compiled .venv-compiled`, or `make compiled`.

It has the packages and commands of the environment that runs this, and imports the same tree. Only the modules of the kernel
come from `.venv-compiled/kernel`, so that nothing in the tree is hidden from other environments. With `TRAFFIC_GOVERNOR_PURE=1`
they come from the tree too. They are compiled for a wheel, which stays in `.venv-compiled` for the tests of it, and compiled
again only after one of their sources has changed, or what `TRAFFIC_GOVERNOR_OPTIMIZE` says.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Final

import hatch_build

ROOT: Final = Path(__file__).resolve().parents[1]

_FINDER: Final = '''"""Finds the compiled modules of traffic-governor. Written by tools/compiled.py."""

import os
import sys
from importlib.util import spec_from_file_location

COMPILED = {compiled!r}


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return spec_from_file_location(name, COMPILED[name]) if name in COMPILED else None


if os.environ.get({switch!r}) != "1":
    sys.meta_path.insert(0, Finder)
'''


def make(environment: Path) -> None:
    """Creates the environment, or brings it up to date."""
    kernel = environment / "kernel"
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(environment, with_pip=False)
    sources = [ROOT / "hatch_build.py"]
    for module in hatch_build.MODULES:
        sources += [ROOT.joinpath(*module.split(".")).with_suffix(ending) for ending in (".py", ".pxd")]
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))
    finder = packages / "_traffic_governor_kernel.py"
    level = environment / "level"
    is_alike = level.exists() and level.read_text() == hatch_build.level()
    is_whole = finder.exists() and any(environment.glob("*.whl")) and is_alike
    if is_whole and finder.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    for old in (finder, *environment.glob("*.whl")):
        old.unlink(missing_ok=True)
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", environment)
    subprocess.run(build, cwd=ROOT, env=os.environ | {hatch_build.SWITCH: "0"}, check=True)
    level.write_text(hatch_build.level())
    ending = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = {module: str(kernel.joinpath(*module.split("."))) + ending for module in hatch_build.MODULES}
    own = sysconfig.get_path("purelib")
    (packages / "kernel.pth").write_text(f"import site; site.addsitedir({own!r})\nimport _traffic_governor_kernel\n")
    for command in Path(sysconfig.get_path("scripts")).iterdir():
        text = command.read_bytes()
        if text.startswith(f"#!{sys.executable}\n".encode()):
            copy = python.with_name(command.name)
            copy.write_bytes(text.replace(sys.executable.encode(), str(python).encode(), 1))
            copy.chmod(0o755)
    finder.write_text(_FINDER.format(compiled=compiled, switch=hatch_build.SWITCH))


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve())
