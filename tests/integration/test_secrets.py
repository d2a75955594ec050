"""Nothing that belongs to clients appears in any output of a whole run.

The secrets are planted by a program of its own, `confiding.py`. Here they are looked for in all that it has said: its log, its
output, statistics, events, pages, errors and the `repr` of whatever is public.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

PROGRAM: Final = Path(__file__).with_name("confiding.py")
#: Where all requests come from: a loopback address that nothing else has.
ADDRESS: Final = "127.83.91.7"
EVENTS: Final = ["BreakerChanged", "DegradedEntered", "DegradedLeft", "Granted", "CallDenied", "Retried", "ClientDenied"]
ERRORS: Final = ["HTTPStatusError", "ConnectError", "RateLimited", "TooManyRedirects", "UnsupportedProtocol"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address only")
@pytest.mark.promise("R33", "R43")
def test_no_secret_comes_out_anywhere(tmp_path: Path) -> None:
    secret = f"s3cr3t{uuid4().hex}"
    program = [sys.executable, str(PROGRAM), ADDRESS]
    done = subprocess.run(program, input=secret, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    said = {"output": done.stdout, "errors": done.stderr}
    said |= {path.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()}

    assert 0 == done.returncode, done.stderr
    assert [] == [word for word in (*EVENTS, *ERRORS) if word not in done.stdout]
    assert [] == [words for words in ("A hook failed on", "The inbound group memory failed") if words not in done.stderr]
    assert [] == [words for words in ('"client":"actor-', '"event":"call_denied"') if words not in "".join(said.values())]
    assert [] == [
        f"{name}: {line}" for name, text in said.items() for line in text.splitlines() if secret in line or ADDRESS in line
    ]
