"""Follow every link of the site that was built: a file that is missing, or an anchor, is a warning.

Sphinx checks the links that it resolves itself; this reads the pages as a browser does. Links to
other hosts are not followed.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


class Page(HTMLParser):
    """The anchors of a page, and where it leads."""

    def __init__(self, file: Path):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each element."""
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.links |= {given[name] for name in ("href", "src") if name in given}


def broken(site: Path) -> list[str]:
    """Every link of a site that leads nowhere, with its page."""
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    found = []
    for file, page in pages.items():
        for link in sorted(page.links):
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            anchors = pages[target].anchors if target in pages else set()
            if not target.is_file() or (url.fragment and unquote(url.fragment) not in anchors):
                found.append(f"{file.relative_to(site)}: {link}")
    return found


def follow(app: Sphinx, error: Exception | None) -> None:
    """Warn of broken links, once the pages are there."""
    if error is None and app.builder.name == "html":
        for link in broken(Path(app.outdir).resolve()):
            logger.warning("broken link: %s", link)


def setup(app: Sphinx) -> dict[str, Any]:
    """Follow the links after the theme has written its files."""
    app.connect("build-finished", follow, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
