"""Commands of environments that a wheel was installed into."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.support.certificates import AUTHORITIES


class Run(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    output: str


def run(*command: str | Path, **environment: str) -> Run:
    """Runs it in a folder from which no package of this tree can be imported, with these variables besides."""
    ours = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if authorities := ours.get(AUTHORITIES):
        ours["SSL_CERT_FILE"] = authorities
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parent,
        env=ours | environment,
    )
    return Run(done.returncode, done.stdout)


def output(*command: str | Path, **environment: str) -> str:
    """What it prints. It must succeed."""
    done = run(*command, **environment)
    assert 0 == done.status, done.output
    return done.output
