"""The browser in which the page of a real daemon opens.

In Debian's Chromium, which must be there on CI and may be missing elsewhere.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, ViewportSize, expect, sync_playwright

from tests.integration.daemon.daemon import Daemon

CHROMIUM: Final = os.environ.get("CHROMIUM") or shutil.which("chromium")
#: Offline, and nothing but the page.
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 375, "height": 740}

POLICY: Final = """
[global]
degraded_after_failures = 6
degraded_exempt = ["queue"]

[outbound.weather]
breaker = { failures = 2, open_for = "10m" }

[outbound.scarce]
limits = ["1/minute burst 1"]

[inbound.chat]
paths = ["/api/v1/chat"]
limits = ["1/minute burst 2"]
"""


class Dashboard:
    """The page of one daemon, open in a browser, and what went wrong in it."""

    def __init__(self, context: BrowserContext, policy: Path, stack: ExitStack, *arguments: str) -> None:
        self._policy = policy
        self._stack = stack
        self._arguments = arguments
        self.daemon = self._start()
        #: Errors of scripts, and what the browser reports of its own accord.
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._on_request)
        self.open()

    def open(self) -> None:
        """The page, and its first figures."""
        self.page.goto(self.daemon.url)
        expect(self.page.get_by_text("Live", exact=True)).to_be_visible()

    def restart(self) -> None:
        """Ends the daemon and starts another at the same address."""
        port = self.daemon.url.rpartition(":")[2]
        self.daemon.close()
        self.daemon = self._start("--port", port)

    def _start(self, *arguments: str) -> Daemon:
        daemon = Daemon(*self._arguments, *arguments, policy=self._policy)
        self._stack.callback(daemon.close)
        return daemon

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module; each has a context of its own in it.

    Not for the whole session: as long as it is open, Playwright runs an event loop on this thread, and no other test could.
    """
    if CHROMIUM is None:
        missing = "needs Chromium: apt-get install chromium, or its path in CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh window; `@pytest.mark.parametrize("context", [...], indirect=True)` sets what it is like."""
    options = {"viewport": DESKTOP, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    yield context
    context.close()


@pytest.fixture
def dashboard(context: BrowserContext, tmp_path: Path) -> Iterator[Dashboard]:
    """The page of a fresh daemon."""
    policy = tmp_path / "governor.toml"
    policy.write_text(POLICY, encoding="utf-8")
    with ExitStack() as stack:
        yield Dashboard(context, policy, stack)
