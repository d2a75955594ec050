"""The dashboard and the terminal format numbers, spans and reasons alike."""

from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from governor import wording as words
from tests.browser.conftest import Dashboard

WORDS: Final = """async ([numbers]) => {
    const { count, rate, several, short, span } = await import("/dashboard/words.js");
    const said = [count, rate, short, span].map((say) => numbers.map((number) => say(number)));
    return [...said, [1, 2000].map((number) => several(number, "scope"))];
}"""
#: A page that stays open while hypothesis draws: it has no state that an example could leave behind.
SETTINGS: Final = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def page(dashboard: Dashboard) -> Page:
    return dashboard.page


@SETTINGS
@given(st.lists(st.one_of(st.floats(0, 1e6), st.integers(0, 10**12)), min_size=1))
def test_numbers_have_the_same_words(page: Page, numbers: list[float]) -> None:
    told = [
        *([say(number) for number in numbers] for say in (words.count, words.rate, words.short, words.span)),
        ["1 scope", "2,000 scopes"],
    ]

    assert told == page.evaluate(WORDS, [numbers])
