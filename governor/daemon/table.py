"""How does a status look in a terminal? First in words what is refused, then scope by scope, the worst first.

No line is wider than the terminal. Where not all columns have room, the least important ones are left out, and then names are
cut.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from textwrap import wrap
from typing import Final

import msgspec

from governor.daemon.documents import InboundGroup, OutboundScope, Status
from governor.daemon.trouble import Rank, Recently, Trouble, headline, name_of, troubles
from governor.daemon.words import clock, count, plain, rate, several, span
from governor.errors import Reason

#: So many letters of a name are worth more than another column.
NARROWEST: Final = 20
_BETWEEN: Final = "  "


class Tone(Enum):
    """How a line is coloured: the number of an SGR code (ECMA-48, section 8.3.117)."""

    PLAIN = 0
    STRONG = 1
    SOFT = 2
    BAD = 31
    FINE = 32
    LIMITED = 33
    WATCHED = 36


class Line(msgspec.Struct, frozen=True):
    """One line, and its tone."""

    text: str
    tone: Tone = Tone.PLAIN

    def coloured(self) -> str:
        """With the codes for its tone around it."""
        return self.text if self.tone is Tone.PLAIN else f"\x1b[{self.tone.value}m{self.text}\x1b[0m"


class Column(msgspec.Struct, frozen=True):
    """A column: its title, and its importance: the lower, the longer it stays. The one at 0 stays always, and is cut."""

    title: str
    importance: int
    right: bool = True


_OUTBOUND: Final = (
    Column("OUTBOUND", 0, right=False),
    Column("STATE", 1, right=False),
    Column("LEFT", 3),
    Column("REFILLS", 7),
    Column("GRANTED", 4),
    Column("2XX", 6),
    Column("4XX", 8),
    Column("5XX", 5),
    Column("REFUSED", 2),
    Column("WAITING", 9),
)
_INBOUND: Final = (
    Column("INBOUND", 0, right=False),
    Column("STATE", 1, right=False),
    Column("CALLERS", 4),
    Column("WENT ON", 5),
    Column("REFUSED", 2),
    Column("LOUDEST LATELY", 3, right=False),
)
_TONES: Final = {
    Rank.FINE: Tone.PLAIN,
    Rank.WATCHED: Tone.WATCHED,
    Rank.LIMITED: Tone.LIMITED,
    Rank.STOPPED: Tone.BAD,
    Rank.EVERYTHING: Tone.BAD,
}


def table(status: Status, *, width: int, height: int | None = None, recently: Recently | None = None) -> list[Line]:
    """A status for a terminal of `width` columns; with a `height`, no more lines than that, the most important ones."""
    found = troubles(status, recently)
    by_key = {trouble.key: trouble for trouble in found}
    outbound = [(key, scope) for key, scope in status.scopes.items() if isinstance(scope, OutboundScope)]
    groups = [(key, group) for key, group in status.scopes.items() if isinstance(group, InboundGroup)]
    inbound = [(key, group) for key, group in groups if key in by_key or _has_traffic(group)]
    quiet = len(groups) - len(inbound)
    lines = [
        *_band(found, width, height),
        Line(""),
        *(Line(text, Tone.SOFT) for text in wrap(_figures(status), width)),
        *_rows(_OUTBOUND, [_scope(key, scope, by_key.get(key)) for key, scope in outbound], width),
        *_rows(_INBOUND, [_group(key, group, by_key.get(key)) for key, group in inbound], width),
        *([Line(""), Line(f"{several(quiet, 'group')} without traffic", Tone.SOFT)] if quiet else []),
    ]
    return [Line(line.text[:width], line.tone) for line in _at_most(lines, height)]


def _band(found: list[Trouble], width: int, height: int | None) -> Iterator[Line]:
    """What is refused, why and until when. A third of the screen at most: the tables have the same scopes first."""
    worst = found[0].rank if found else Rank.FINE
    yield Line(headline(found), Tone.FINE if worst < Rank.LIMITED else _TONES[worst])
    most = len(found) if height is None else max(1, height // 3)
    for trouble in found[:most]:
        indent = "  " if width >= NARROWEST else ""
        for text in wrap(
            trouble.sentence(), width, initial_indent=indent, subsequent_indent=indent * 2, break_on_hyphens=False
        ):
            yield Line(text, _TONES[trouble.rank])
    if len(found) > most:
        yield Line(f"  and {len(found) - most:,} more", Tone.SOFT)


def _figures(status: Status) -> str:
    figures = status.global_
    degraded = f"on for {span(figures.degraded_for)}" if figures.degraded_mode_active else "off"
    cap = figures.requests_per_minute
    said = [
        f"{count(figures.requests_last_minute)}{'' if cap is None else f' of {count(cap)}'} calls in the last minute",
        f"degraded mode {degraded}",
        f"as of {clock(figures.now)}",
    ]
    if figures.started_at is not None:
        said.append(f"up for {span(figures.now - figures.started_at)}")
    return ", ".join(said)


#: A row before it is a line: how it is sorted, its tone and its cells.
_Row = tuple[tuple[int, str], Tone, Sequence[str]]


def _scope(key: str, scope: OutboundScope, trouble: Trouble | None) -> _Row:
    metrics, limit = scope.metrics, scope.rate_limit
    paused = scope.denial is not None and scope.denial.reason == Reason.DEGRADED
    rank = trouble.rank if trouble else Rank.STOPPED if paused else Rank.FINE
    cells = (
        name_of(key),
        "paused" if paused else _state(scope, rank),
        "no limit" if limit is None else f"{count(limit.available_tokens)}/{count(limit.capacity)}",
        rate(limit.refill_rate) if limit is not None and limit.refill_rate else "",
        count(metrics.total_requests),
        count(metrics.total_2xx),
        count(metrics.total_4xx),
        count(metrics.total_5xx),
        count(sum(metrics.denied.values())),
        count(metrics.waiting),
    )
    # What is paused with everything else stands behind what has troubles of its own.
    return (-2 * rank + paused, key), _TONES[rank], cells


def _state(scope: OutboundScope, rank: Rank) -> str:
    breaker = scope.circuit_breaker
    if breaker.state == "open":
        return f"open, {span(breaker.probes_in)}" if breaker.probes_in > 0 else "open, due"
    if breaker.state == "half_open":
        return "half-open"
    return "refuses" if rank is Rank.STOPPED else "at limit" if rank is Rank.LIMITED else "ok"


def _group(key: str, group: InboundGroup, trouble: Trouble | None) -> _Row:
    metrics = group.metrics
    rank = trouble.rank if trouble else Rank.WATCHED if group.dry_run else Rank.FINE
    loudest = group.most_denied[0] if group.most_denied else None
    cells = (
        name_of(key),
        "refuses" if trouble else "dry run" if group.dry_run else "ok",
        count(group.clients),
        count(metrics.total_requests),
        count(sum(metrics.denied.values())),
        f"{plain(loudest.client)} ({count(loudest.denied)})" if loudest else "",
    )
    return (-2 * rank, key), _TONES[rank], cells


def _has_traffic(group: InboundGroup) -> bool:
    """Has anything been asked of the group since the start?"""
    return group.metrics.total_requests > 0 or any(group.metrics.denied.values())


def _rows(columns: Sequence[Column], rows: list[_Row], width: int) -> Iterator[Line]:
    """Titles and rows, the worst first; nothing for no rows."""
    if not rows:
        return
    rows.sort(key=lambda row: row[0])
    cells = [tuple(column.title for column in columns), *(cells for _, _, cells in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = _fitting(columns, widths, width)
    widths[0] = max(1, min(widths[0], width - sum(len(_BETWEEN) + widths[index] for index in shown[1:])))
    yield Line("")
    for tone, row in zip((Tone.STRONG, *(tone for _, tone, _ in rows)), cells, strict=True):
        padded = (_pad(row[index], widths[index], right=columns[index].right) for index in shown)
        yield Line(_BETWEEN.join(padded).rstrip(), tone)


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Which columns have room, beside names of at least a few letters?"""
    shown = [0]
    left = width - min(widths[0], NARROWEST)
    for index in sorted(range(1, len(columns)), key=lambda index: columns[index].importance):
        left -= len(_BETWEEN) + widths[index]
        if left < 0:
            break
        shown.append(index)
    return sorted(shown)


def _pad(text: str, width: int, *, right: bool) -> str:
    cut = text if len(text) <= width else f"{text[: width - 1]}~"
    return cut.rjust(width) if right else cut.ljust(width)


def _at_most(lines: list[Line], height: int | None) -> list[Line]:
    if height is None or len(lines) <= height:
        return lines
    more = len(lines) - height + 1
    return [*lines[: height - 1], Line(f"and {several(more, 'more line')}", Tone.SOFT)]
