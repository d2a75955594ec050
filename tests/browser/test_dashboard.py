"""The dashboard shows what happens to a real daemon, within two seconds."""

import re
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PHONE, Dashboard

#: Milliseconds within which what has happened must be seen.
SOON: Final = 2_000
#: For what takes as long as a process takes to start.
PATIENTLY: Final = 20_000


def band(page: Page) -> Locator:
    return page.locator("#band")


def row(page: Page, key: str) -> Locator:
    return page.locator(f'[data-key="{key}"].row')


def events(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Timeline")


@pytest.mark.promise("R06", "R30")
def test_a_breaker_that_opens_is_seen_within_two_seconds(dashboard: Dashboard) -> None:
    page = dashboard.page
    expect(page.get_by_role("heading", name="All calls are granted", exact=True)).to_be_visible()
    dashboard.daemon.do("call", "weather:get", "500", "2")

    expect(page.get_by_role("heading", name="1 scope denies calls")).to_be_visible(timeout=SOON)
    expect(band(page)).to_contain_text("weather:get denies calls: circuit breaker open after HTTP 500, probes in 10 min")
    expect(row(page, "outbound:weather:get")).to_contain_text("breaker open")
    expect(events(page)).to_contain_text("weather:get circuit breaker open, probes in 10 min")
    assert [] == dashboard.complaints


@pytest.mark.promise("R08", "R30")
def test_degraded_mode_is_seen_within_two_seconds(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.daemon.do("call", "queue:get", "200", "1")
    for number in range(3):
        dashboard.daemon.do("call", f"service{number}", "500", "2")

    expect(page.get_by_role("heading", name="Outbound traffic is paused")).to_be_visible(timeout=SOON)
    expect(band(page)).to_contain_text(
        "Degraded mode pauses all outbound calls except to exempt providers after failures in a row, most from service0, "
        "service1, service2, resumes in"
    )
    expect(row(page, "outbound:service0")).to_contain_text("paused")
    expect(row(page, "outbound:queue:get")).to_contain_text("ok")
    expect(events(page)).to_contain_text(
        "Degraded mode began: outbound calls pause for 60 s after failures in a row, most from"
    )


@pytest.mark.promise("R10", "R30")
def test_refusals_are_seen_with_their_reason_and_when_they_end(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.daemon.do("call", "scarce", "200", "1")
    expect(row(page, "outbound:scarce")).to_contain_text("0 of 1 left")
    dashboard.daemon.do("deny", "scarce", "1234")

    expect(row(page, "outbound:scarce")).to_contain_text("1,234 denied", timeout=SOON)
    expect(band(page)).to_contain_text("scarce denies calls: rate limit used up, next permit in")
    expect(band(page)).to_contain_text("1,234 denied in the last 10 s")
    expect(events(page)).to_contain_text("scarce denied: rate limit used up")


@pytest.mark.promise("R24", "R30", "R33")
def test_a_group_that_denies_clients_shows_the_most_denied_by_a_pseudonym(dashboard: Dashboard) -> None:
    page = dashboard.page
    expect(row(page, "inbound:chat")).to_contain_text("0 clients")
    dashboard.daemon.do("visit", "chat", "somebody", "9")

    expect(page.get_by_role("heading", name="1 group denies clients")).to_be_visible(timeout=SOON)
    expect(row(page, "inbound:chat")).to_contain_text("7 denied")
    expect(row(page, "inbound:chat")).to_contain_text("most denied: actor-")
    expect(events(page)).to_contain_text("chat denied clients: limit per client")
    expect(page.locator("body")).not_to_contain_text("somebody")


def test_a_restart_of_the_daemon_is_survived(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.daemon.do("call", "weather:get", "500", "2")
    expect(band(page)).to_contain_text("weather:get denies calls")
    dashboard.daemon.close()

    expect(page.get_by_text("Disconnected, reconnecting …")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("banner")).to_contain_text("These figures are")
    expect(band(page)).to_contain_text("weather:get denies calls")
    dashboard.restart()
    expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENTLY)
    expect(page.get_by_role("heading", name="All calls are granted", exact=True)).to_be_visible()
    expect(events(page)).to_contain_text("The governor was restarted")
    expect(events(page)).to_contain_text("This page is connected again")
    # The browser itself reports, as an error, that the server did not answer.
    assert [] == [words for words in dashboard.complaints if "net::ERR" not in words]


def test_a_chart_shows_what_is_granted_and_moves_on(dashboard: Dashboard) -> None:
    page = dashboard.page
    chart = page.locator("#overall-chart path.granted-line")
    expect(chart).to_have_attribute("d", re.compile("^M"))
    dashboard.daemon.do("call", "weather:get", "200", "50")
    expect(page.get_by_role("img", name=re.compile("^All outbound calls.*: [1-9]"))).to_be_visible()
    shown = chart.get_attribute("d") or ""

    expect(chart).not_to_have_attribute("d", shown)


def test_nothing_is_asked_of_another_origin_and_nothing_is_complained_about(dashboard: Dashboard) -> None:
    dashboard.daemon.do("call", "weather:get", "500", "2")
    expect(band(dashboard.page)).to_contain_text("weather:get denies calls")
    row(dashboard.page, "outbound:weather:get").locator("summary").click()
    expect(row(dashboard.page, "outbound:weather:get")).to_contain_text("opened 1 time")

    assert {urlsplit(dashboard.daemon.url).netloc} == {urlsplit(url).netloc for url in dashboard.requests}
    assert [] == dashboard.complaints


def test_hundreds_of_scopes_have_those_with_conditions_first_and_a_filter(dashboard: Dashboard) -> None:
    page = dashboard.page
    for number in range(300):
        dashboard.daemon.do("call", f"service{number:03}", "200", "1")
    dashboard.daemon.do("call", "weather:get", "500", "2")
    rows = page.locator("#outbound-rows > li")

    expect(rows.first).to_contain_text("weather:get")
    expect(rows).to_have_count(200)
    expect(page.locator("#outbound-more")).to_have_text("and 101 more: use the filter to find them")
    page.get_by_role("searchbox").fill("service29")
    expect(rows).to_have_count(10)
    page.get_by_role("searchbox").fill("")
    page.get_by_label("with conditions only").check()
    expect(rows).to_have_count(1)


def test_everything_can_be_done_from_the_keyboard(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.daemon.do("call", "weather:get", "500", "2")
    expect(band(page)).to_contain_text("weather:get denies calls")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the scopes")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="weather:get")).to_be_focused()
    page.keyboard.press("Enter")
    details = row(page, "outbound:weather:get")
    summary = details.locator("summary")
    expect(summary).to_be_focused()
    expect(details.get_by_text("Circuit breaker", exact=True)).to_be_visible()
    page.keyboard.press("Space")
    expect(details.get_by_text("Circuit breaker", exact=True)).to_be_hidden()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("nothing like that")
    expect(page.locator("#outbound-more")).to_have_text("No match.")
    page.keyboard.press("Escape")
    expect(summary).to_be_visible()


def test_the_focus_stays_on_a_row_that_moves(dashboard: Dashboard) -> None:
    page = dashboard.page
    for scope in ("aaa", "bbb", "weather:get"):
        dashboard.daemon.do("call", scope, "200", "1")
    summary = row(page, "outbound:weather:get").locator("summary")
    summary.focus()
    dashboard.daemon.do("call", "weather:get", "500", "2")

    expect(page.locator("#outbound-rows > li").first).to_contain_text("weather:get")
    expect(summary).to_be_focused()


def test_there_are_landmarks_and_names_for_those_who_do_not_see_the_page(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.daemon.do("call", "weather:get", "500", "2")

    for role, name in (("banner", None), ("main", None), ("contentinfo", None), ("search", None)):
        expect(page.get_by_role(role, name=name)).to_have_count(1)  # type: ignore[arg-type]  # a role
    for name in ("Outbound scopes", "Inbound groups", "All outbound calls"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("1 scope denies calls. weather:get denies calls: circuit breaker open")
    expect(page.get_by_role("img", name="All outbound calls, last five minutes")).to_be_visible()


def test_the_page_is_light_or_dark_as_the_system_is(dashboard: Dashboard) -> None:
    body = dashboard.page.locator("body")

    dashboard.page.emulate_media(color_scheme="light")
    expect(body).to_have_css("background-color", "rgb(243, 245, 248)")
    dashboard.page.emulate_media(color_scheme="dark")
    expect(body).to_have_css("background-color", "rgb(14, 17, 22)")


@pytest.mark.parametrize("context", [{"viewport": PHONE}], indirect=True)
def test_on_a_phone_nothing_sticks_out(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.daemon.do("call", f"{'long-name-' * 5}:get", "200", "1")
    dashboard.daemon.do("call", "weather:get", "500", "2")
    expect(band(page)).to_contain_text("weather:get denies calls")
    row(page, "outbound:weather:get").locator("summary").click()
    expect(row(page, "outbound:weather:get")).to_contain_text("opened 1 time")

    assert PHONE["width"] == page.evaluate("document.documentElement.scrollWidth")


@pytest.mark.parametrize("context", [{"reduced_motion": "reduce"}], indirect=True)
def test_nothing_moves_for_those_who_do_not_want_it(dashboard: Dashboard) -> None:
    assert [] == dashboard.page.evaluate("document.getAnimations().map((animation) => animation.animationName)")


def test_names_are_text_and_never_markup(dashboard: Dashboard) -> None:
    """The governor denies such names; the page does not rely on it."""
    page = dashboard.page
    page.evaluate(
        """async () => {
            const { element } = await import("/dashboard/dom.js");
            document.body.append(element("p", "test", "<img src=x onerror=alert(1)>"));
        }"""
    )

    expect(page.locator("p.test")).to_have_text("<img src=x onerror=alert(1)>")
    sources = page.evaluate(
        "async (names) => (await Promise.all(names.map(async (name) => (await fetch(name)).text()))).join()",
        sorted({urlsplit(url).path for url in dashboard.requests if url.endswith(".js")}),
    )
    assert [] == [
        word for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(") if word in sources
    ]
