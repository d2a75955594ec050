"""The status as lines for a terminal: conditions first, then a table of scopes and a table of groups, the worst first.

No line is wider than the terminal. Where columns do not fit, the least important ones are dropped, and then names are cut.
(Tables of `rich` shrink every column instead, and know no height.)
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from textwrap import wrap
from typing import Final

import msgspec

from governor import ScopeStatistics
from governor.conditions import Condition, Severity, name_of
from governor.daemon.documents import Status
from governor.statistics import GroupStatistics
from governor.wording import clock, count, plain, rate, several, span

#: So many letters of a name are worth more than another column.
NARROWEST: Final = 20
#: Processes that are shown.
_MAX_MEMBERS: Final = 8
_GAP: Final = "  "


class Tone(Enum):
    """The colour of a line, as an SGR code (ECMA-48, section 8.3.117)."""

    PLAIN = 0
    STRONG = 1
    SOFT = 2
    BAD = 31
    FINE = 32
    LIMITED = 33
    WATCHED = 36


class Line(msgspec.Struct, frozen=True):
    """One line and its colour."""

    text: str
    tone: Tone = Tone.PLAIN

    def coloured(self) -> str:
        """The text between the codes of its colour."""
        return self.text if self.tone is Tone.PLAIN else f"\x1b[{self.tone.value}m{self.text}\x1b[0m"


class Column(msgspec.Struct, frozen=True):
    """A column. The lower its `importance` number, the longer it stays; 0 always stays, and is cut."""

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
    Column("DENIED", 2),
    Column("WAITING", 9),
)
_INBOUND: Final = (
    Column("INBOUND", 0, right=False),
    Column("STATE", 1, right=False),
    Column("CLIENTS", 4),
    Column("ADMITTED", 5),
    Column("DENIED", 2),
    Column("MOST DENIED", 3, right=False),
)
_TONES: Final = {
    Severity.INFO: Tone.WATCHED,
    Severity.WARNING: Tone.LIMITED,
    Severity.ERROR: Tone.BAD,
    Severity.CRITICAL: Tone.BAD,
}


def table(status: Status, *, width: int, height: int | None = None) -> list[Line]:
    """The status for a terminal of `width` columns; at a `height`, the most important lines, and no more than that."""
    worst: dict[str, Condition] = {}
    for condition in status.conditions:
        worst.setdefault(condition.key, condition)
    outbound, inbound, quiet = [], [], 0
    for key, one in status.scopes.items():
        if isinstance(one, ScopeStatistics):
            outbound.append(_scope(key, one, status.labels[key], worst.get(key)))
        elif key in worst or _has_traffic(one):
            inbound.append(_group(key, one, status.labels[key], worst.get(key)))
        else:
            quiet += 1
    lines = [
        *_band(status, width, height),
        Line(""),
        *(Line(text, Tone.SOFT) for text in wrap(_figures(status), width)),
        *(Line(text, Tone.SOFT) for text in wrap(_members(status), width)),
        *_rows(_OUTBOUND, outbound, width),
        *_rows(_INBOUND, inbound, width),
        *([Line(""), Line(f"{several(quiet, 'group')} without traffic", Tone.SOFT)] if quiet else []),
    ]
    return [Line(line.text[:width], line.tone) for line in _at_most(lines, height)]


def _band(status: Status, width: int, height: int | None) -> Iterator[Line]:
    """The conditions. A third of the screen at most: the tables have the same scopes first."""
    found = status.conditions
    yield Line(status.headline, _TONES[found[0].severity] if found and found[0].severity.denies else Tone.FINE)
    most = len(found) if height is None else max(1, height // 3)
    for condition in found[:most]:
        indent = "  " if width >= NARROWEST else ""
        text = plain(condition.sentence())
        for line in wrap(text, width, initial_indent=indent, subsequent_indent=indent * 2, break_on_hyphens=False):
            yield Line(line, _TONES[condition.severity])
    if len(found) > most:
        yield Line(f"  and {len(found) - most:,} more", Tone.SOFT)


def _members(status: Status) -> str:
    """The processes that share the limits, the busiest first; empty without any."""
    members = sorted(status.global_.members, key=lambda one: (-one.requests_per_second, one.pid))
    shown = [
        f"{plain(one.name) or 'process'} {one.pid} "
        f"({one.requests_per_second:,.1f}/s, {one.leased:,} ahead, {one.waiting:,} waiting)"
        for one in members[:_MAX_MEMBERS]
    ]
    more = [f"{len(members) - len(shown):,} more"] if len(members) > len(shown) else []
    return f"Processes: {', '.join([*shown, *more])}" if shown else ""


def _figures(status: Status) -> str:
    figures, about = status.global_, status.about
    degraded = f"on for {span(figures.degraded_for)}" if figures.degraded_mode_active else "off"
    cap = figures.requests_per_minute
    said = [
        f"{count(figures.requests_last_minute)}{'' if cap is None else f' of {count(cap)}'} calls in the last minute",
        f"degraded mode {degraded}",
        f"as of {clock(figures.now)}",
    ]
    if figures.started_at is not None:
        said.append(f"up for {span(figures.now - figures.started_at)}")
    said.append(f"version {plain(about.version)}, process {about.pid} on {plain(about.host)}")
    if about.policy_file:
        said.append(f"policy file {plain(about.policy_file)}")
    return ", ".join(said)


#: A row before it is a line: its place in the order, its colour and its cells.
_Row = tuple[tuple[int, str], Tone, Sequence[str]]


def _scope(key: str, scope: ScopeStatistics, label: str, condition: Condition | None) -> _Row:
    counters, limit = scope.counters, scope.scarcest
    paused = label == "paused"
    cells = (
        name_of(key),
        f"open, {span(scope.breaker.probes_in)}" if label == "breaker open" and scope.breaker.probes_in > 0 else label,
        "no limit" if limit is None else f"{count(limit.available)}/{count(limit.capacity)}",
        rate(limit.refill_rate) if limit is not None and limit.refill_rate else "",
        count(counters.requests),
        count(counters.answered_2xx),
        count(counters.answered_4xx),
        count(counters.answered_5xx),
        count(sum(counters.denied.values())),
        count(scope.waiting),
    )
    rank = _rank(condition)
    # Scopes that are paused with everything else come after those with conditions of their own.
    return (-2 * rank - (paused and not rank), key), Tone.BAD if paused else _tone(condition), cells


def _group(key: str, group: GroupStatistics, label: str, condition: Condition | None) -> _Row:
    most = group.most_denied[0] if group.most_denied else None
    cells = (
        name_of(key),
        label,
        count(group.clients),
        count(group.counters.requests),
        count(sum(group.counters.denied.values())),
        f"{plain(most.client)} ({count(most.denied)})" if most else "",
    )
    return (-2 * _rank(condition) - (group.dry_run and condition is None), key), _tone(condition), cells


def _rank(condition: Condition | None) -> int:
    return 0 if condition is None else condition.severity.rank + 1


def _tone(condition: Condition | None) -> Tone:
    return Tone.PLAIN if condition is None else _TONES[condition.severity]


def _has_traffic(group: GroupStatistics) -> bool:
    """Whether the group got any request since the start."""
    return group.counters.requests > 0 or any(group.counters.denied.values())


def _rows(columns: Sequence[Column], rows: list[_Row], width: int) -> Iterator[Line]:
    """Titles and rows, the worst first; nothing for no rows."""
    if not rows:
        return
    rows.sort(key=lambda row: row[0])
    cells = [tuple(column.title for column in columns), *(cells for _, _, cells in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = _fitting(columns, widths, width)
    widths[0] = max(1, min(widths[0], width - sum(len(_GAP) + widths[index] for index in shown[1:])))
    yield Line("")
    for tone, row in zip((Tone.STRONG, *(tone for _, tone, _ in rows)), cells, strict=True):
        padded = (_pad(row[index], widths[index], right=columns[index].right) for index in shown)
        yield Line(_GAP.join(padded).rstrip(), tone)


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The columns that fit beside names of at least a few letters."""
    shown = [0]
    left = width - min(widths[0], NARROWEST)
    for index in sorted(range(1, len(columns)), key=lambda index: columns[index].importance):
        left -= len(_GAP) + widths[index]
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
