"""Exactness: the largest excess in any window, under a limit that all callers reach at once.

Those who count windows are asked once at first, and then by all as the window of that first ask ends: there a fixed window lets
twice its amount through. Others are asked without a pause.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic_ns, sleep
from typing import Final

from benchmarks.contention.crowd import Behaviour, Crowd, Span, Times, threads
from benchmarks.contention.subject import Ask, AskOnLoop, Law, Limit, Subject
from benchmarks.contract import BenchmarkError
from benchmarks.laws import Admission, excess_over_bucket, most_in_window

#: The metric: by how many permits the worst window exceeds what is allowed in it.
OVER: Final = "over_admitted"

_TIGHT: Final = {Law.BUCKET: Limit(2_000, 100), Law.WINDOW: Limit(500, 500)}
#: Milliseconds of asking, and before it those of silence.
_ASKING: Final = 300
_SILENCE: Final = {Law.BUCKET: 0, Law.WINDOW: 850}
_SECOND_US: Final = 1_000_000


def over_admitted(subject: Subject, crowd: Crowd[list[Admission]]) -> float:
    """In one scope that all of the crowd share."""
    return _excess(subject, crowd(subject, _TIGHT[subject.law], _span(subject), _NOTING))


def over_admitted_to_threads(subject: Subject, scopes: Sequence[str]) -> float:
    """In the worst scope, when a thread asks in each of these."""
    with subject.open(_TIGHT[subject.law]) as doors:
        found = threads([doors.ask(scope) for scope in scopes], _span(subject), _note)
    admitted: dict[str, list[Admission]] = {scope: [] for scope in scopes}
    for scope, admissions in zip(scopes, found, strict=True):
        admitted[scope] += admissions
    return max(_excess(subject, [admissions]) for admissions in admitted.values())


def judge(subject: Subject, limit: Limit, admissions: Sequence[Admission]) -> float:
    """By how many permits the worst window exceeds the limit; 0 if none does.

    Raises `BenchmarkError` if nothing was admitted, or too much by one who must be exact.
    """
    if not admissions:
        raise BenchmarkError("nothing was admitted; this says nothing about the limit")
    # No window is shorter than the subject can tell apart.
    judged = [one._replace(after=one.after + subject.clock - 1) for one in admissions]
    if subject.law is Law.BUCKET:
        excess = excess_over_bucket(judged, amount=limit.per_second, per=_SECOND_US, burst=limit.burst) / _SECOND_US
    else:
        excess = most_in_window(judged, _SECOND_US) - limit.per_second
    if excess > 0 and subject.exact:
        raise BenchmarkError(f"{excess:g} more were admitted than {limit} allows in some window; this must never happen")
    return max(0.0, excess)


def noted(ask: Ask, admissions: list[Admission]) -> None:
    """Asks once, and writes down between which two microseconds it was admitted, if it was."""
    before = monotonic_ns()
    if ask():
        admissions.append(_since(before))


def _since(before: int) -> Admission:
    return Admission(before // 1_000, -(-monotonic_ns() // 1_000))


def _excess(subject: Subject, found: Sequence[Sequence[Admission]]) -> float:
    return judge(subject, _TIGHT[subject.law], [admission for admissions in found for admission in admissions])


def _span(subject: Subject) -> Span:
    return Span(_SILENCE[subject.law], _ASKING)


def _note(ask: Ask, times: Times) -> list[Admission]:
    admissions: list[Admission] = []
    noted(ask, admissions)
    sleep(_seconds_until(times.begin))
    while monotonic_ns() < times.end:
        noted(ask, admissions)
    return admissions


async def _note_on_loop(ask: AskOnLoop, times: Times) -> list[Admission]:
    admissions: list[Admission] = []

    async def once() -> None:
        before = monotonic_ns()
        if await ask():
            admissions.append(_since(before))

    await once()
    await asyncio.sleep(_seconds_until(times.begin))
    while monotonic_ns() < times.end:
        await once()
        await asyncio.sleep(0)
    return admissions


def _seconds_until(instant: int) -> float:
    return max(0.0, (instant - monotonic_ns()) / 1_000_000_000)


_NOTING: Final = Behaviour(_note, _note_on_loop)
