"""The pages of the repository as pages of the site: where each goes, and what its links become.

Pages are written for readers of the repository, so their links lead to files. On the site, links between pages lead to pages, and links to
other files lead to the repository on the web.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOVED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "measured/index.md",
    "docs/methods/README.md": "methods/index.md",
}
FOLDERS = {"benchmarks/results": "measured", "docs": ""}  # the folders whose pages and pictures become the site's
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?\[[^\]]*\]\()([^()\s]+)\)")
REASON = re.compile(r"^<!-- not run: .+ -->\n", re.MULTILINE)
NESTED = re.compile(r"^ {2,3}(?=[-*] )", re.MULTILINE)


def destinations() -> dict[str, str]:
    """The page of the site, or the picture, that each file of the repository becomes."""
    found = dict(MOVED)
    for folder, to in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            name = str(path.relative_to(ROOT))
            if path.suffix in (".md", ".png") and name not in found:
                found[name] = str(Path(to) / path.relative_to(ROOT / folder))
    return found


def relink(target: str, source: str, page: str, moved: dict[str, str], repository: str) -> str:
    """A link of the file `source` as a link of the site's page `page`."""
    if re.match(r"[a-z]+:|#", target):
        return target
    path, mark, section = target.partition("#")
    name = os.path.normpath(Path(source).parent / path)
    if name in moved:
        return os.path.relpath(moved[name], Path(page).parent) + mark + section
    if not (ROOT / name).exists():
        raise ValueError(f"{source} links to {target}, which is neither a page nor a file of the repository")
    return f"{repository}/{'tree' if (ROOT / name).is_dir() else 'blob'}/main/{name}{mark}{section}"


def outside_fences(text: str) -> Iterator[tuple[bool, str]]:
    """The parts of a page, in order: whether a part is prose, and its text."""
    end = 0
    for fence in FENCE.finditer(text):
        yield True, text[end : fence.start()]
        yield False, fence[0]
        end = fence.end()
    yield True, text[end:]


def convert(text: str, source: str, page: str, moved: dict[str, str], repository: str) -> str:
    """The text of a page of the repository as the site's text: links lead elsewhere, and nested lists are indented by four spaces, as
    Python's Markdown wants them."""

    def prose(part: str) -> str:
        part = LINK.sub(lambda link: f"{link[1]}{relink(link[2], source, page, moved, repository)})", REASON.sub("", part))
        if NESTED.search(part):
            part = re.sub(r"^ {2,5}(?=\S)", lambda spaces: "    " if len(spaces[0]) < 4 else spaces[0] + "   ", part, flags=re.MULTILINE)
        return part

    return "".join(prose(part) if is_prose else part for is_prose, part in outside_fences(text))


def stage(folder: Path, repository: str) -> None:
    """Write all pages and pictures of the repository to a folder, as the site's."""
    moved = destinations()
    for name, page in moved.items():
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            target.write_text(convert((ROOT / name).read_text("utf-8"), name, page, moved, repository), "utf-8")
        else:
            shutil.copy(ROOT / name, target)
