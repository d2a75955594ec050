"""Do the dashboard and the terminal say the same? Every status is told by both."""

import json
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from governor.daemon import words
from governor.daemon.documents import Status
from governor.daemon.lately import Lately
from governor.daemon.trouble import headline, troubles
from governor.errors import Reason
from tests.browser.conftest import Dashboard
from tests.unit.daemon.statuses import NOW, scope, status, statuses

TROUBLES: Final = """async (text) => {
    const { headline, sentence, troubles } = await import("/dashboard/trouble.js");
    return JSON.parse(text).map((status) => {
        const found = troubles(status, (key) => status.scopes[key].metrics.denied);
        return [headline(found), ...found.map((trouble) => [trouble.key, trouble.rank, sentence(trouble), trouble.wait])];
    });
}"""
WORDS: Final = """async ([numbers, words]) => {
    const { count, rate, reason, several, short, span } = await import("/dashboard/words.js");
    const said = [count, rate, short, span].map((say) => numbers.map((number) => say(number)));
    return [...said, words.map((word) => reason(word)), [1, 2000].map((number) => several(number, "scope"))];
}"""
LATELY: Final = """async (text) => {
    const { History } = await import("/dashboard/history.js");
    const history = new History();
    return JSON.parse(text).map((status) => {
        history.add(status);
        return history.recent("outbound:busy");
    });
}"""
#: A page that stays open while hypothesis draws: it has no state that an example could leave behind.
SETTINGS: Final = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def page(dashboard: Dashboard) -> Page:
    return dashboard.page


@SETTINGS
@given(st.lists(statuses, min_size=1, max_size=20))
def test_troubles_are_told_in_the_same_words(page: Page, seen: list[Status]) -> None:
    told: list[Any] = []
    for one in seen:
        found = troubles(one, lambda key, one=one: one.scopes[key].metrics.denied)  # type: ignore[misc]
        told.append(
            [headline(found), *([trouble.key, int(trouble.rank), trouble.sentence(), trouble.wait] for trouble in found)]
        )

    assert told == page.evaluate(TROUBLES, json.dumps(msgspec.to_builtins(seen)))


#: Seconds since the look before, refusals by then, and whether the daemon was started anew meanwhile.
_look: Final = st.tuples(
    st.sampled_from([1.0, 1.5, 4.0, 11.0, -2.0]), st.integers(0, 5), st.sampled_from([False, False, False, True])
)


@SETTINGS
@given(st.lists(_look, min_size=1, max_size=60))
def test_the_same_refusals_are_recent(page: Page, looks: list[tuple[float, int, bool]]) -> None:
    now, refused, started_at = NOW, 0, NOW
    lately, seen, told = Lately(), [], []
    for elapsed, more, anew in looks:
        now += elapsed
        refused, started_at = (more, now) if anew else (refused + more, started_at)
        seen.append(
            status({"outbound:busy": scope(denied={"overloaded": refused} if refused else {})}, now=now, started_at=started_at)
        )
        lately.add(seen[-1])
        told.append(dict(lately("outbound:busy")))

    assert told == page.evaluate(LATELY, json.dumps(msgspec.to_builtins(seen)))


@SETTINGS
@given(st.lists(st.one_of(st.floats(0, 1e6), st.integers(0, 10**12)), min_size=1))
def test_numbers_are_told_in_the_same_words(page: Page, numbers: list[float]) -> None:
    reasons = [reason.value for reason in Reason]
    told = [
        *([say(number) for number in numbers] for say in (words.count, words.rate, words.short, words.span)),
        [words.reason(reason) for reason in reasons],
        ["1 scope", "2,000 scopes"],
    ]

    assert told == page.evaluate(WORDS, [numbers, reasons])
