"""The table in the terminal shows the worst first, and fits."""

from typing import Final

import msgspec

from governor import MemberStatistics, Reason, ScopeStatistics
from governor.daemon.documents import Status
from governor.daemon.table import Line, Tone, table
from governor.policies.breakers.states import BreakerStatus
from governor.wording import plain
from tests.support import tape as st
from tests.support.tape import given
from tests.unit.daemon.statuses import Scope, group, scope, statistics, status, status_of, statuses

BUSY: Final[dict[str, Scope]] = {
    "inbound:chat": group(denied={Reason.RATE_LIMIT: 1234}, most_denied={"actor-3f09c1d2a4": 132}),
    "outbound:fine:get": scope(requests=12_345),
    "outbound:github:get": scope(
        Reason.CIRCUIT_OPEN, 41.2, breaker=BreakerStatus.OPEN, probes_in=41.2, denied={Reason.CIRCUIT_OPEN: 9}
    ),
    "outbound:limited:post": scope(Reason.RATE_LIMIT, 3.0, waiting=2),
    "outbound:probing": scope(breaker=BreakerStatus.HALF_OPEN),
}


def texts(width: int, height: int | None = None, of: Status | None = None) -> list[str]:
    return [line.text for line in table(of or status(BUSY), width=width, height=height)]


def test_a_table_says_in_words_what_is_denied_before_anything_else() -> None:
    assert ["2 scopes deny calls", "  github:get denies calls: circuit breaker open, probes in 42 s"] == texts(100)[:2]


def test_scopes_stand_below_each_other_the_worst_first() -> None:
    lines = texts(120)
    titles = next(index for index, line in enumerate(lines) if line.startswith("OUTBOUND"))

    assert [
        "OUTBOUND      STATE         LEFT  REFILLS  GRANTED  2XX  4XX  5XX  DENIED  WAITING",
        "github:get    open, 42 s    3/60      1/s        0    0    0    0       9        0",
        "limited:post  at its limit  3/60      1/s        0    0    0    0       0        2",
        "probing       half-open     3/60      1/s        0    0    0    0       0        0",
        "fine:get      ok            3/60      1/s   12,345    0    0    0       0        0",
    ] == lines[titles : titles + 5]


def test_groups_have_a_table_of_their_own_with_the_most_denied_client() -> None:
    assert [
        "INBOUND  STATE  CLIENTS  ADMITTED  DENIED  MOST DENIED",
        "chat     ok           0         0   1,234  actor-3f09c1d2a4 (132)",
    ] == texts(120)[-2:]


def test_groups_without_traffic_are_one_line() -> None:
    quiet: dict[str, Scope] = {"inbound:agents": group(), "inbound:memory": group()}
    one: dict[str, Scope] = {"inbound:agents": group(), "inbound:busy": group(requests=1)}

    assert ["", "2 groups without traffic"] == texts(120, of=status({**BUSY, **quiet}))[-2:]
    assert [True, True, False] == [
        any(word in line for line in texts(120, of=status(one))) for word in ("busy", "1 group without traffic", "agents")
    ]


def test_the_processes_that_share_the_limits_are_shown_the_busiest_first() -> None:
    members = tuple(MemberStatistics(pid=pid, name="web\x1b", requests_per_second=float(pid), leased=3) for pid in range(1, 11))
    seen = msgspec.structs.replace(statistics(BUSY), members=members)
    shown = " ".join(texts(500, of=status_of(seen)))

    assert "10 (10.0/s, 3 ahead, 0 waiting), " in shown
    assert " 2 more" in shown
    assert "\x1b" not in shown


def test_what_degraded_mode_has_paused_stands_between_failing_and_healthy_scopes() -> None:
    scopes: dict[str, Scope] = {
        "outbound:a": scope(),
        "outbound:b": scope(Reason.DEGRADED, 42.0),
        "outbound:c": scope(Reason.CIRCUIT_OPEN, 90.0, breaker=BreakerStatus.OPEN, probes_in=90.0),
    }
    lines = texts(80, of=status(scopes, degraded_for=42.0))

    assert ["open, 90 s", "paused", "ok"] == [line[10:20].strip() for line in lines[-3:]]


def test_where_columns_have_no_room_the_least_important_are_left_out() -> None:
    lines = texts(40)

    assert "OUTBOUND      STATE         LEFT  DENIED" in lines
    assert "github:get    open, 42 s    3/60       9" in lines


def test_a_name_that_has_no_room_is_cut() -> None:
    lines = texts(30, of=status({f"outbound:{'x' * 60}": scope()}))

    assert "xxxxxxxxxxxxxxxxxxxxxx~  ok" == lines[-1]


def test_a_screen_that_is_not_high_enough_has_the_first_lines_and_says_how_many_are_missing() -> None:
    lines = texts(80, height=8, of=status({f"outbound:{number}": scope(Reason.OVERLOADED, 1.0) for number in range(50)}))

    assert (8, "and 52 more lines") == (len(lines), lines[-1])
    assert [
        "50 scopes deny calls",
        "  0 denies calls: overloaded, resumes in 1 s",
        "  1 denies calls: overloaded, resumes in 1 s",
    ] == lines[:3]
    assert "  and 48 more" == lines[3]


def test_without_scopes_there_are_no_tables() -> None:
    assert "All calls are granted" == texts(80, of=status())[0]
    assert [] == [line for line in texts(80, of=status()) if "OUTBOUND" in line or "INBOUND" in line]


def test_names_cannot_steer_the_terminal() -> None:
    lines = texts(80, of=status({"outbound:\x1b[2J": scope(Reason.OVERLOADED, 1.0, unknown_units=("\x1b[31m",))}))

    assert [] == [line for line in lines if line != plain(line)]


def test_a_colour_is_code_before_and_after_and_plain_text_has_none() -> None:
    assert ("\x1b[31mno\x1b[0m", "yes") == (Line("no", Tone.BAD).coloured(), Line("yes").coloured())


@given(statuses, st.integers(1, 200), st.one_of(st.none(), st.integers(4, 60)))
def test_no_table_is_wider_or_higher_than_its_terminal(seen: Status, width: int, height: int | None) -> None:
    lines = table(seen, width=width, height=height)

    assert [] == [line.text for line in lines if len(line.text) > width]
    assert height is None or len(lines) <= height


@given(statuses)
def test_every_scope_is_in_the_table_of_a_wide_terminal(seen: Status) -> None:
    first = [line.text.split("  ")[0] for line in table(seen, width=400)]

    shown = [key for key, one in seen.scopes.items() if isinstance(one, ScopeStatistics) or any(one.counters.denied.values())]
    assert [] == [key for key in shown if key.partition(":")[2] not in first]
