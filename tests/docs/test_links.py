"""Does every link in the documentation lead somewhere, and does some link lead to every page?"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
INDEX: Final = ROOT / "docs" / "README.md"
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

CODE: Final = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"\[[^]]*\]\((?P<target>[^)\s]+)\)")
HEADING: Final = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_on_the_page_leads_somewhere(page: Path) -> None:
    broken = [link for link, file, anchor in _links(page) if not file.exists() or (anchor and anchor not in _anchors(file))]

    assert [] == broken


def test_every_page_is_in_the_index() -> None:
    listed = {file for _, file, _ in _links(INDEX)}

    assert set() == set((ROOT / "docs").rglob("*.md")) - {INDEX} - listed


def _links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each link inside the project as it is written, its file, and the heading that it names, if any."""
    for link in LINK.finditer(CODE.sub("", page.read_text(encoding="utf-8"))):
        target = link["target"]
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield target, (page.parent / path).resolve() if path else page, anchor


def _anchors(page: Path) -> set[str]:
    """The names under which headings can be reached, as the usual renderers make them."""
    titles = (heading["title"].lower() for heading in HEADING.finditer(page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
