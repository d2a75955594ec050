"""The governor of the machine for the demo: `governor serve`, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.launch import ProviderFailed


@contextmanager
def daemon(folder: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """The socket of a daemon with these settings, which ends with the block. Its files are in this folder."""
    policy, path = folder / "governor.toml", folder / "governor.sock"
    policy.write_text("\n".join(f"{name} = {_toml(value)}" for name, value in settings.items()) + "\n")
    command = [sys.executable, "-m", "governor", "serve", "--config", str(policy), "--port", "0", "--socket", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            while process.stdout is not None and "share its limits" not in (said := process.stdout.readline()):
                if not said:
                    raise ProviderFailed("the daemon did not start; what it said stands above")
            yield path
        finally:
            process.terminate()


def _toml(value: Any) -> str:
    """A value of a policy file, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case Mapping():
            return "{ " + ", ".join(f'"{name}" = {_toml(inner)}' for name, inner in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case str():
            return f'"{value}"'
        case _:
            return str(value)
