"""Actions of an operator on the dashboard: buttons, confirmation, the admin token, and errors."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import PHONE, POLICY, Dashboard

pytestmark = pytest.mark.promise("R35")

TOKEN: Final = "a-token-of-an-operator"
ACTIONS: Final = "**/actions/*"


@pytest.fixture
def administered(context: BrowserContext, tmp_path: Path) -> Iterator[Dashboard]:
    """The page of a daemon with an admin token, and a scope that has been used."""
    policy = tmp_path / "governor.toml"
    policy.write_text(POLICY, encoding="utf-8")
    with ExitStack() as stack:
        dashboard = Dashboard(context, policy, stack, "--admin-token", TOKEN)
        dashboard.daemon.do("call", "weather:get", "200", "1")
        yield dashboard


def opened(page: Page, key: str = "outbound:weather:get") -> Locator:
    """The row of a scope, with its details."""
    row = page.locator(f'[data-key="{key}"].row')
    row.locator("summary").click()
    return row


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def pause(page: Page, token: str = TOKEN) -> None:
    opened(page).get_by_role("button", name="Pause …").click()
    dialog(page).get_by_label("Admin token").fill(token)
    dialog(page).get_by_role("button", name="Pause").click()


def state(dashboard: Dashboard) -> str:
    found: str = dashboard.daemon.status()["scopes"]["outbound:weather:get"]["circuit_breaker"]["state"]
    return found


def test_without_a_token_there_are_no_buttons(dashboard: Dashboard) -> None:
    dashboard.daemon.do("call", "weather:get", "500", "2")
    row = opened(dashboard.page)

    expect(row).to_contain_text("opened 1 time")
    expect(dashboard.page.get_by_role("button")).to_have_count(0)


def test_a_scope_is_paused_after_a_confirmation_and_resumed_without_another_token(administered: Dashboard) -> None:
    page = administered.page
    row = opened(page)
    row.get_by_role("button", name="Pause …").click()
    expect(dialog(page)).to_have_accessible_name("Pause weather:get")
    expect(dialog(page)).to_contain_text("All its calls wait or are denied until the pause ends.")
    before = state(administered)
    dialog(page).get_by_label("For", exact=True).select_option(label="15 min")
    dialog(page).get_by_label("Admin token").fill(TOKEN)
    dialog(page).get_by_role("button", name="Pause").click()

    expect(dialog(page)).to_be_hidden()
    expect(page.locator("#action-done")).to_contain_text("Pause: weather:get. Done at")
    expect(row.locator("summary")).to_contain_text("breaker open")
    expect(page.locator("#band")).to_contain_text("circuit breaker open by hand, probes in 15 min")
    assert ("closed", "open") == (before, state(administered))

    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_role("button", name="Pause …")).to_be_visible()
    expect(dialog(page)).to_be_hidden()
    assert "closed" == state(administered)
    assert [] == administered.complaints


def test_the_breaker_is_closed_and_degraded_mode_is_ended(administered: Dashboard) -> None:
    page = administered.page
    for scope in ("weather:get", "other:get", "third:get"):
        administered.daemon.do("call", scope, "500", "2")
    expect(page.get_by_role("heading", name="Outbound traffic is paused")).to_be_visible()
    page.get_by_role("button", name="End degraded mode").click()
    dialog(page).get_by_label("Admin token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Outbound traffic is paused")).to_be_hidden()
    opened(page).get_by_role("button", name="Close the circuit breaker").click()

    expect(page.get_by_role("heading", name="All calls are granted")).to_be_visible()
    assert "closed" == state(administered)


def test_nothing_happens_when_it_is_cancelled(administered: Dashboard) -> None:
    page = administered.page
    button = opened(page).get_by_role("button", name="Pause …")
    for ends in ("Escape", "Enter"):
        button.click()
        if ends == "Enter":
            dialog(page).get_by_role("button", name="Cancel").focus()
        expect(dialog(page)).to_be_visible()
        page.keyboard.press(ends)
        expect(dialog(page)).to_be_hidden()
        expect(button).to_be_focused()

    assert "closed" == state(administered)
    assert [] == [url for url in administered.requests if "/actions/" in url]


def test_a_wrong_token_is_said_and_asked_for_again(administered: Dashboard) -> None:
    page = administered.page
    pause(page, "another-token-of-someone")
    expect(dialog(page).get_by_role("alert")).to_have_text("The daemon rejects this admin token. Enter it again.")
    expect(dialog(page).get_by_label("Admin token")).to_be_focused()
    expect(dialog(page).get_by_label("Admin token")).to_have_value("")
    before = state(administered)
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")

    expect(dialog(page)).to_be_hidden()
    assert ("closed", "open") == (before, state(administered))


def test_an_error_is_said_in_the_dialog(administered: Dashboard) -> None:
    page = administered.page
    row = opened(page)
    for status, detail, words in [
        (403, "", "The request was denied on its way to the daemon, for instance by a proxy (403)."),
        (409, "The breaker has moved.", "The action no longer applies (409). The breaker has moved."),
        (503, "Nothing was done: no room.", "Nothing was done: no room."),
        (500, "", "Nothing was done: HTTP 500."),
        (None, "", "No answer came. Look whether it was done before you try again."),
    ]:
        answer_actions(page, status, json.dumps({"detail": detail}) if detail else "<html>")
        row.get_by_role("button", name="Pause …").click()
        if dialog(page).get_by_label("Admin token").is_visible():
            dialog(page).get_by_label("Admin token").fill(TOKEN)
        dialog(page).get_by_role("button", name="Pause").click()

        expect(dialog(page).get_by_role("alert")).to_have_text(words)
        expect(dialog(page).get_by_label("Admin token")).to_be_hidden()
        page.keyboard.press("Escape")
        expect(dialog(page)).to_be_hidden()


def answer_actions(page: Page, status: int | None, body: str) -> None:
    page.unroute(ACTIONS)
    page.route(ACTIONS, lambda route: route.abort() if status is None else route.fulfill(status=status, body=body))


def test_the_token_is_in_no_storage_and_no_url(administered: Dashboard) -> None:
    page = administered.page
    pause(page)
    expect(page.locator("#action-done")).to_contain_text("Done at")
    kept = page.evaluate(
        """async () => JSON.stringify([
            {...localStorage}, {...sessionStorage}, document.cookie, location.href, document.documentElement.outerHTML,
            await indexedDB.databases(), await caches.keys(), history.state,
            [...document.querySelectorAll("input")].map((input) => input.value),
        ])"""
    )
    page.reload()
    opened(page).get_by_role("button", name="Change the pause …").click()

    assert TOKEN not in kept
    assert [] == [url for url in administered.requests if TOKEN in url]
    expect(dialog(page).get_by_label("Admin token")).to_be_visible()


def test_the_keyboard_is_enough_and_the_focus_is_never_lost(administered: Dashboard) -> None:
    page = administered.page
    row = opened(page)
    expect(row.get_by_role("button", name="Pause …")).to_be_visible()
    expect(row.locator("summary")).to_be_focused()
    page.keyboard.press("Tab")
    expect(row.get_by_role("button", name="Pause …")).to_be_focused()
    page.keyboard.press("Enter")
    for label in ("For", "Admin token"):
        expect(dialog(page).get_by_label(label, exact=True)).to_be_focused()
        page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")

    expect(row.get_by_role("button", name="Resume")).to_be_visible()
    expect(row.locator("summary")).to_be_focused()


@pytest.mark.parametrize("context", [{"viewport": PHONE}], indirect=True)
def test_the_dialog_fits_onto_a_phone(administered: Dashboard) -> None:
    page = administered.page
    pause(page, "another-token-of-someone")
    expect(dialog(page).get_by_role("alert")).to_be_visible()
    box = dialog(page).bounding_box()

    assert box is not None
    assert 0 <= box["x"]
    assert box["x"] + box["width"] <= PHONE["width"]
    assert PHONE["width"] == page.evaluate("document.documentElement.scrollWidth")
