"""`make screenshot`: a picture of the dashboard after five minutes of a real governor's traffic.

Arguments: the file to write, and optionally how many seconds of traffic there are before the picture is taken.
"""

import math
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import anyio
import uvicorn
from playwright.async_api import async_playwright, expect

from governor import Config, Governor, Permit
from governor.daemon import create_app
from governor.messages import InboundRequest
from tests.browser.conftest import ARGUMENTS, CHROMIUM

CONFIG: Final = {
    "global": {"requests_per_minute": 2000},
    "outbound": {
        "github": {"limits": ["4900 per hour strict", "20 in flight"]},
        "maps": {"breaker": {"failures": 4, "open_for": "30s"}},
        "openai": {"limits": ["100/minute burst 12", "90000 tokens per minute strict"]},
        "reddit": {"limits": ["5/s burst 20"]},
        "weather": {"limits": ["4/s burst 40"], "breaker": {"failures": 4, "open_for": "90s"}},
    },
    "inbound": {"chat": {"limits": ["3/s burst 30"], "paths": ["/api/v1/chat"]}},
}
#: Calls per second to each scope, on average.
PACE: Final = {
    ("github", "get"): 0.8,
    ("github", "post"): 0.2,
    ("maps", "get"): 1.5,
    ("openai", "post"): 2.1,
    ("reddit", "get"): 3.5,
    ("search", "get"): 5.0,
    ("translate", "post"): 2.0,
    ("weather", "get"): 2.2,
}
LASTS: Final = 290.0
STEP: Final = 0.05
#: When providers are down: from and until which part of the whole.
DOWN: Final = {"weather": (0.87, 1.0), "maps": (0.45, 0.53)}


@asynccontextmanager
async def served(governor: Governor) -> AsyncIterator[str]:
    """The daemon of a governor that runs, at any port."""
    server = uvicorn.Server(uvicorn.Config(create_app(governor), port=0, log_level="warning", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(STEP)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
        server.should_exit = True


class Traffic:
    """What a program with many connectors does, step by step."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._random = Random(7)
        self._clients = [governor.inbound.pseudonyms.actor(str(number).encode()) for number in range(14)]
        self._address = governor.inbound.pseudonyms.address(b"127.0.0.1")

    async def step(self, share: float) -> None:
        """The calls and inbound requests of a moment, when this share of the whole is over."""
        swell = 1 + 0.25 * math.sin(24 * share) + 0.15 * math.sin(67 * share)
        for scope, pace in PACE.items():
            if self._random.random() < pace * swell * STEP:
                self._call(scope, share)
        loud = 8 if share > 0.6 else 1
        for client in self._clients:
            if self._random.random() < (loud if client is self._clients[0] else 0.5) * STEP:
                await self._request("chat", client)

    def _call(self, scope: tuple[str, str], share: float) -> None:
        permit = self._governor.try_permit(*scope)
        if isinstance(permit, Permit):
            begins, ends = DOWN.get(scope[0], (2.0, 2.0))
            permit.record(status=503 if begins < share < ends else 404 if self._random.random() < 0.03 else 200)

    async def _request(self, group: str, client: bytes) -> None:
        admission = await self._governor.inbound.admit(group, InboundRequest(client, self._address))
        if admission.granted:
            admission.end(200)


async def main(path: str, lasts: float = LASTS) -> None:
    """Makes the picture."""
    async with Governor(Config.from_mapping(CONFIG)) as governor, served(governor) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 1280, "height": 1180}, color_scheme="light", device_scale_factor=1.5)
        await page.goto(url)
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        traffic, began = Traffic(governor), anyio.current_time()
        while (passed := anyio.current_time() - began) < lasts:
            await traffic.step(passed / lasts)
            await anyio.sleep(STEP)
        await page.screenshot(path=path, full_page=True)
        await browser.close()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else LASTS)
