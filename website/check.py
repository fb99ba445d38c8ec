"""Checks of the built site: it loads nothing from elsewhere, its links lead somewhere, and every public name has its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

LOADED = {"audio": "src", "embed": "src", "iframe": "src", "img": "src", "link": "href", "object": "data", "script": "src", "source": "src"}
MAY_LEAVE = {"canonical", "alternate", "license", "author", "next", "prev"}  # a link of these kinds loads nothing
ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
STYLES = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)", re.IGNORECASE)


class Page(HTMLParser):
    """The assets, links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.assets: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag in LOADED and LOADED[tag] in values and not MAY_LEAVE & set(values.get("rel", "").split()):
            self.assets.append(values[LOADED[tag]])
        self.assets += [candidate.split()[0] for candidate in values.get("srcset", "").split(",") if candidate.strip()]
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


def leaving(name: str, text: str) -> Iterator[str]:
    """The assets that a page or style sheet loads from elsewhere."""
    if name.endswith(".html"):
        yield from (asset for asset in Page(text).assets if ELSEWHERE.match(asset))
    yield from (first or second for first, second in STYLES.findall(text))


def broken(page: Path, parsed: dict[Path, Page]) -> Iterator[str]:
    """The links and assets of a page that lead to no file, or to no anchor of a page."""
    for link in parsed[page].links + parsed[page].assets:
        if re.match(r"[a-z]+:|//", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        target = target / "index.html" if target.is_dir() else target
        if not target.exists() or (anchor and target in parsed and anchor not in parsed[target].anchors and not anchor.startswith("__")):
            yield link


def check(folder: Path, names: Iterable[str]) -> list[str]:
    """What is wrong with the site in a folder, a sentence for each; `names` are the public ones that the reference describes."""
    texts = {path.resolve(): path.read_text("utf-8") for path in sorted(folder.rglob("*")) if path.suffix in (".html", ".css")}
    parsed = {path: Page(text) for path, text in texts.items() if path.suffix == ".html" and path.name != "404.html"}
    found = [f"{path.name} loads {asset}" for path, text in texts.items() for asset in leaving(path.name, text)]
    found += [f"{path.name} links to {link}, which does not exist" for path in parsed for link in broken(path, parsed)]
    anchors: set[str] = set().union(*(page.anchors for path, page in parsed.items() if path.parent.name == "reference"))
    return found + [f"the reference has no place for {name}" for name in names if name not in anchors]
