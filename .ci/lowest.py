"""Prints constraints that hold each dependency of the library at its lower bound in pyproject.toml."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = {name: needs for name, needs in project["optional-dependencies"].items() if name != "all"}
for requirement in (*project["dependencies"], *(need for needs in extras.values() for need in needs)):
    print(requirement.replace(">=", "=="))
# Later versions warn of what the pytest plugin of the oldest anyio imports.
print("pytest<9.2")
