"""Reading what an answer says about limits takes no more Python calls than the table allows."""

from collections.abc import Mapping
from typing import Final

import pytest

from governor.hints import read_hints
from tests.counts.allowed import HINTS, compare
from tests.support.counting import TRIES, WARM_UP, python_calls
from tests.support.programs import run

PLAIN: Final = {
    "content-type": "application/json",
    "date": "Thu, 01 Jan 2026 00:00:00 GMT",
    "server": "acme",
    "x-request-id": "7",
}
OPENAI: Final = {
    f"x-ratelimit-{part}-{unit}": said
    for unit in ("requests", "tokens")
    for part, said in (("limit", "60"), ("remaining", "0"), ("reset", "120ms"))
}
GITHUB: Final = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225660"}
IETF: Final = {
    "ratelimit-policy": '"requests";q=60;w=60, "tokens";q=60;w=60',
    "ratelimit": '"requests";r=0;t=60, "tokens";r=9;t=60',
}
ANSWERS: Final[Mapping[str, tuple[str, int, Mapping[str, str]]]] = {
    "silent": ("acme", 200, PLAIN),
    "openai": ("openai", 200, PLAIN | OPENAI),
    "openai denied": ("openai", 429, PLAIN | OPENAI | {"retry-after": "1"}),
    "github": ("github", 200, PLAIN | GITHUB),
    "github denied": ("github", 429, PLAIN | GITHUB | {"retry-after": "1"}),
    "ietf": ("acme", 200, PLAIN | IETF),
    "ietf denied": ("acme", 429, PLAIN | IETF | {"retry-after": "1"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_reading_an_answer_takes_no_more_calls_than_allowed(name: str) -> None:
    provider, status, headers = ANSWERS[name]

    def call() -> None:
        read_hints(provider, status, headers, now=0.0)

    for _ in range(WARM_UP):
        call()
    called = min((python_calls(call) for _ in range(TRIES)), key=len)

    compare(name, "Python calls", HINTS[name], len(called), called)


def test_the_first_answer_of_a_program_parses_no_dialects_and_compiles_few_regular_expressions() -> None:
    program = f"""
    import governor.messages
    from tests.support.counting import calls_in

    def first():
        from governor.hints import read_hints
        read_hints("github", 200, {PLAIN | GITHUB!r}, now=0.0)

    print(len(calls_in(first, "re", "tomllib", "governor")))
    """

    assert (
        int(run(program, fresh=True)) < 3_000
    )  # 13,000 with all regular expressions, and as many with the files of the dialects.
