"""No import loads more modules of this project than the table allows, nor what it does not need."""

import json
import subprocess
import sys
from typing import Final

import pytest

from tests.counts.allowed import IMPORTS

#: Modules that are slow to load, and that a program loads only when it does what needs them.
SLOW: Final = {
    "nothing": {
        *("anyio", "asyncio", "concurrent", "dataclasses", "email", "http_sf", "inspect", "ipaddress", "locale", "logging"),
        *("msgspec", "platform", "random", "socket", "sqlite3", "ssl", "threading", "tomllib", "typing_extensions"),
        *("urllib", "zipfile"),
    },
    "one permit": {
        *("email", "dotenv", "hashlib", "http_sf", "importlib.metadata", "importlib.resources", "sqlite3", "tempfile"),
        *("tomllib", "zipfile"),
        *("governor._member.member", "governor._owner.listener", "governor._store", "governor.asgi", "governor.daemon"),
        *("governor.config.load", "governor.config.positions", "governor.config.shown", "governor.config.variable_names"),
        *("governor._actors.server_hints", "governor._fingerprints", "governor.policies.learning.server_limits"),
        *("governor.hints.reading", "governor.hints.wording", "governor.presets", "governor.protocol"),
    },
    "an answer": {"email", "http_sf", "tomllib", "governor.hints.ratelimit_fields", "governor.hints.wording"},
}

#: What a program does, and those of the modules above that it does not load.
PROGRAMS: Final = {
    "import": ("import governor", SLOW["nothing"]),
    "client": ("import governor_client", SLOW["nothing"]),
    "errors": ("from governor import RateLimited", SLOW["nothing"]),
    "version": ("from governor.cli import main\nmain(['--version'])", SLOW["nothing"]),
    "permit": (
        "from governor import Governor\nwith Governor() as governor: governor.try_permit('weather').record(status=200)",
        SLOW["one permit"],
    ),
    "answer": (
        "from governor.hints import read_hints\nread_hints('weather', 200, {'x-ratelimit-remaining': '8'}, now=0.0)",
        SLOW["an answer"],
    ),
}
TELL: Final = "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_loads_no_more_modules_than_allowed_and_none_that_it_does_not_need(name: str) -> None:
    program, slow = PROGRAMS[name]
    # Isolated from the environment: with `-E` and `-s`, no variable and no package of the user loads anything.
    command = [sys.executable, "-E", "-s", "-c", program + TELL]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    loaded: list[str] = json.loads(told.splitlines()[-1])
    own = [module for module in loaded if module.partition(".")[0] in {"governor", "governor_client"}]

    assert [] == [module for module in loaded if module in slow]
    assert len(own) <= IMPORTS[name], own
