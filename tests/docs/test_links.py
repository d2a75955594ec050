"""Every link in the documentation leads somewhere, and every page is in the navigation of the site."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
SITE: Final[dict[str, Any]] = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
OTHERS: Final = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES: Final = [*OTHERS, *sorted(DOCS.rglob("*.md"))]

CODE: Final = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"\[[^]]*\]\((?P<target>[^)\s]+)\)")
HEADING: Final = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
SNIPPET: Final = re.compile(r"^--8<-- \"(?P<file>[^\"]+)\"$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_on_the_page_leads_somewhere(page: Path) -> None:
    broken = [link for link, file, anchor in _links(page) if not file.exists() or (anchor and anchor not in _anchors(file))]

    assert [] == broken


@pytest.mark.parametrize("page", OTHERS, ids=[page.name for page in OTHERS])
def test_pages_outside_the_site_have_absolute_links_only(page: Path) -> None:
    relative = [link["target"] for link in LINK.finditer(_text(page)) if "://" not in link["target"]]

    assert [] == relative


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")) == sorted(_entries(SITE["nav"]))


def test_the_addresses_of_the_project_are_those_of_the_site() -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]

    assert [] == [url for url in urls.values() if not _file(url).is_file()]


def _entries(nav: object) -> Iterator[str]:
    match nav:
        case str(page):
            yield page
        case dict(sections):
            yield from (page for section in sections.values() for page in _entries(section))
        case list(items):
            yield from (page for item in items for page in _entries(item))
        case _:
            raise TypeError(nav)


def _links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each link inside the project as it is written, its file, and the heading that it names, if any."""
    for link in LINK.finditer(CODE.sub("", _text(page))):
        target = link["target"]
        path, _, anchor = target.partition("#")
        if target.startswith(SITE["site_url"]):
            yield target, _file(path), anchor
        elif "://" not in target and not target.startswith("mailto:"):
            yield target, (page.parent / path).resolve() if path else page, anchor


def _file(url: str) -> Path:
    """The source of a page or a file of the site."""
    path = url.partition("#")[0].removeprefix(SITE["site_url"])
    if path and not path.endswith("/"):
        return DOCS / path
    return DOCS / f"{path.rstrip('/') or 'index'}.md"


def _text(page: Path) -> str:
    """What is on the page, files that it includes among it."""
    text = page.read_text(encoding="utf-8")
    return SNIPPET.sub(lambda snippet: (ROOT / snippet["file"]).read_text(encoding="utf-8"), text)


def _anchors(file: Path) -> set[str]:
    """The names under which headings can be reached, as the usual renderers make them."""
    titles = (heading["title"].lower() for heading in HEADING.finditer(_text(file)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
