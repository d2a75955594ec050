"""The calls that a program makes: when, what, and how long the provider works on each.

Times are whole microseconds since the start of a run. Everything that is drawn comes from a seed, so all contenders get the
same calls.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from math import exp, log
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from benchmarks.bans.virtual_time import SECOND
from demo.trace import read_trace
from demo.traffic import bursts

#: The folder of the recorded traces. They are read in place, and are not part of the project.
TRACES: Final = Path(__file__).resolve().parents[2].parent / "shared" / "data"
AZURE: Final = "AzureLLMInferenceTrace_conv.csv"
MOONCAKE: Final = "mooncake_synthetic_trace.jsonl"

GET: Final = "GET"
POST: Final = "POST"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call, which the program wants to make at `at`.

    The first byte of its answer leaves the provider `head` after the arrival of the request, and the last one `service` after
    it. `prompt`, `output` and `max_tokens` are tokens. The program waits for the answer for `give_up_after`, or, with None, for
    as long as the run lasts.
    """

    number: int
    at: int
    method: str = GET
    key: str = ""
    head: int
    service: int
    prompt: int = 0
    output: int = 0
    max_tokens: int = 0
    give_up_after: int | None = None


class Missing(Exception):
    """A recorded trace is not on this machine."""


#: Makes the calls of a scenario from a seed and the span in microseconds in which they begin.
Workload = Callable[[int, int], Sequence[Call]]
#: Draws the times of one call: to the first byte, and to the last.
Service = Callable[[Random], tuple[int, int]]


def quick(least: float, most: float) -> Service:
    """Answers that take between so many seconds, and come whole."""

    def draw(random: Random) -> tuple[int, int]:
        service = round(random.uniform(least, most) * SECOND)
        return service, service

    return draw


def long(least: float, most: float, *, streamed: bool) -> Service:
    """Answers that take between so many seconds, each magnitude equally often; those that are streamed begin within 3 s."""

    def draw(random: Random) -> tuple[int, int]:
        service = round(exp(random.uniform(log(least), log(most))) * SECOND)
        return min(service, round(random.uniform(0.3, 3.0) * SECOND)) if streamed else service, service

    return draw


def generated(
    per_second: float,
    service: Service,
    *,
    writes: float = 0.0,
    keys: Sequence[str] = ("",),
    give_up: float = 0.0,
    give_up_after: float = 0.0,
) -> Workload:
    """Calls in quiet and busy times by turns, as many per second on average; a share of `writes` are POST.

    A share of `give_up` are given up after so many seconds.
    """

    def make(seed: int, span: int) -> Sequence[Call]:
        random = Random(seed)
        scale = _GENERATED_RATE / per_second
        made: list[Call] = []
        for arrival in bursts(seed):
            at = round(arrival * scale * SECOND)
            if at >= span:
                return made
            head, whole = service(random)
            made.append(
                Call(
                    number=len(made),
                    at=at,
                    method=POST if random.random() < writes else GET,
                    key=random.choice(keys),
                    head=head,
                    service=whole,
                    give_up_after=round(give_up_after * SECOND) if random.random() < give_up else None,
                )
            )
        return made

    return make


def azure(*, speed: float = 1.0, max_tokens: int = 1024) -> Workload:
    """The conversations of the Azure trace: prompts and answers in tokens, 30 tokens per second, streamed."""

    def make(seed: int, span: int) -> Sequence[Call]:
        random = Random(seed)
        made: list[Call] = []
        for arrival, prompt, output in _azure():
            at = round(arrival / speed * SECOND)
            if at >= span:
                break
            head = round((0.2 + prompt / 20_000 + random.uniform(0, 0.3)) * SECOND)
            made.append(_tokens(len(made), at, head, prompt, output, max(max_tokens, output)))
        return made

    return make


def mooncake(*, speed: float = 1.0) -> Workload:
    """The conversations of the Mooncake trace, with long prompts."""

    def make(seed: int, span: int) -> Sequence[Call]:
        random = Random(seed)
        made: list[Call] = []
        for arrival, prompt, output in _mooncake():
            at = round(arrival / speed * SECOND)
            if at >= span:
                break
            head = round((0.5 + prompt / 20_000 + random.uniform(0, 0.5)) * SECOND)
            made.append(_tokens(len(made), at, head, prompt, output, output))
        return made

    return make


def _tokens(number: int, at: int, head: int, prompt: int, output: int, max_tokens: int) -> Call:
    service = head + output * SECOND // 30
    return Call(
        number=number, at=at, method=POST, head=head, service=service, prompt=prompt, output=output, max_tokens=max_tokens
    )


@cache
def _azure() -> tuple[tuple[float, int, int], ...]:
    path = _found(AZURE)
    with path.open(newline="") as file:
        rows = [line.split(",") for line in islice(file, 1, None)]
    return tuple((at, int(row[1]), int(row[2])) for at, row in zip(read_trace(path), rows, strict=True))


class _Line(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int


@cache
def _mooncake() -> tuple[tuple[float, int, int], ...]:
    lines = _decoded(_found(MOONCAKE).read_bytes().splitlines())
    return tuple((line.timestamp / 1000, line.input_length, line.output_length) for line in lines)


def _decoded(lines: Iterable[bytes]) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    return (decoder.decode(line) for line in lines if line)


def _found(name: str) -> Path:
    path = TRACES / name
    if not path.exists():
        raise Missing(f"the trace {name} is not in {TRACES}")
    return path


#: Calls per second of `bursts`, on average: 6 s at 2 per second and 3 s at 12 per second by turns.
_GENERATED_RATE: Final = 48 / 9
