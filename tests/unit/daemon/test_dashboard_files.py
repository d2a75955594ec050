"""Everything that the dashboard loads is there, wherever the page is mounted."""

import re
from typing import Final

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from governor import Config, Governor
from governor.daemon import routes
from governor.daemon.pages import FOLDER

pytestmark = pytest.mark.anyio

LINK: Final = re.compile(r"""(?:href|src)="(?P<target>[^"#]+)"|from "(?P<module>[^"]+)";""")
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


async def test_the_page_loads_all_of_its_files_also_beneath_another_path() -> None:
    governor = Governor(Config.from_mapping({}))
    app = Starlette(routes=[Mount("/deep/governor", routes=routes(governor))])
    found: dict[str, str] = {}
    async with governor, httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as client:
        left = [httpx2.URL("http://localhost/deep/governor/")]
        while left:
            page = left.pop()
            answer = await client.get(page)
            assert 200 == answer.status_code, page
            found[page.path] = answer.headers["content-type"]
            if answer.headers["content-type"] != "application/json":
                links = (page.join(link["target"] or link["module"]) for link in LINK.finditer(answer.text))
                left += [link for link in links if link.path not in found]

    files = {path.rpartition("/")[2]: kind for path, kind in found.items() if "/deep/governor/dashboard/" in path}
    assert {file.name: TYPES[file.suffix] for file in FOLDER.iterdir() if file.name != "index.html"} == files


@pytest.mark.promise("R33")
def test_no_file_of_the_page_names_another_origin_or_handles_markup() -> None:
    """The namespace of SVG looks like an address and is a name."""
    forbidden = re.compile(
        r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=|onclick"
    )

    assert {} == {
        file.name: found for file in FOLDER.iterdir() if (found := forbidden.findall(file.read_text(encoding="utf-8")))
    }


@pytest.mark.promise("R33")
def test_there_is_nothing_inline_on_the_page() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")

    assert [] == re.findall(r"<style|<script(?![^>]*src=)|\son\w+=", page)
