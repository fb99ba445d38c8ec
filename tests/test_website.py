"""The documentation site: links and lists of pages become the site's, the reference lacks nothing, and checks find what is wrong."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

import extremal_jax as ej

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://example.org/repository"


@pytest.fixture
def website(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts of the site, by name."""
    monkeypatch.syspath_prepend(ROOT / "website")
    return importlib.import_module


@pytest.mark.parametrize(
    ("source", "link", "becomes"),
    [
        ("README.md", "docs/axes.md#clips", "axes.md#clips"),
        ("docs/axes.md", "../CONTRIBUTING.md", "contributing.md"),
        ("docs/methods/rise.md", "../pictures/methods/rise.png", "../pictures/methods/rise.png"),
        ("docs/performance.md", "../benchmarks/results/speed.md", "measured/speed.md"),
        ("docs/methods/rise.md", "README.md", "index.md"),
        ("README.md", "examples", f"{REPOSITORY}/tree/main/examples"),
        ("README.md", "LICENSE", f"{REPOSITORY}/blob/main/LICENSE"),
        ("README.md", "https://jax.dev", "https://jax.dev"),
        ("README.md", "#ten-lines", "#ten-lines"),
    ],
)
def test_links_lead_to_pages_or_to_the_repository(website: Any, source: str, link: str, becomes: str) -> None:
    pages = website("pages")
    moved = pages.destinations()
    assert pages.convert(f"A [link]({link}).", source, moved[source], moved, REPOSITORY) == f"A [link]({becomes})."


def test_links_to_nothing_are_refused(website: Any) -> None:
    pages = website("pages")
    with pytest.raises(ValueError, match=r"README\.md links to docs/no\.md, which is neither a page nor a file"):
        pages.convert("[link](docs/no.md)", "README.md", "index.md", pages.destinations(), REPOSITORY)


def test_code_stays_and_lists_are_indented(website: Any) -> None:
    pages = website("pages")
    text = "1. One\n   - inner\n     more\n\n```python\n  - [a](b.md)\n```\n<!-- not run: slow -->\n```python\n1\n```\n"
    expected = "1. One\n    - inner\n        more\n\n```python\n  - [a](b.md)\n```\n```python\n1\n```\n"
    assert pages.convert(text, "README.md", "index.md", {}, REPOSITORY) == expected


def test_every_public_name_is_in_the_reference(website: Any) -> None:
    reference = website("reference")
    texts = "\n".join(reference.pages().values())
    namespaces = {name for name in ej.__all__ if hasattr(getattr(ej, name), "__file__")}
    assert {f"extremal_jax.{name}" for name in namespaces} <= set(reference.NAMESPACES)
    wanted = {f"extremal_jax.{name}" for name in set(ej.__all__) - namespaces}
    for name in namespaces:
        wanted |= {f"extremal_jax.{name}.{inner}" for inner in reference.public(getattr(ej, name))}
    described = reference.places()
    assert wanted <= set(described)
    assert [name for name in wanted if f"::: {described[name]}\n" not in texts] == []
    assert all(texts.count(f"::: {place}\n") == 1 for place in set(described.values()))


def test_every_page_is_in_the_navigation(website: Any) -> None:
    def listed(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for inner in (entry.values() if isinstance(entry, dict) else entry) for page in listed(inner)]

    navigation = listed(tomllib.loads((ROOT / "website" / "zensical.toml").read_text())["project"]["nav"])
    pages = {page for page in website("pages").destinations().values() if page.endswith(".md")}
    pages |= {f"reference/{page}" for page in website("reference").pages()}
    pages |= {f"notebooks/{script.stem}.md" for script in (ROOT / "examples" / "notebooks").glob("*.py")}
    assert sorted(navigation) == sorted(pages)


@pytest.mark.parametrize(
    ("page", "style", "wrong"),
    [
        ('<a href="https://jax.dev">JAX</a><link rel="canonical" href="https://x.org">', "a { color: red }", []),
        ('<script src="https://x.org/a.js"></script>', "", ["index.html loads https://x.org/a.js"]),
        ('<link rel="stylesheet" href="//x.org/a.css">', "", ["index.html loads //x.org/a.css"]),
        ('<img srcset="https://x.org/a.png 2x" alt="">', "", ["index.html loads https://x.org/a.png"]),
        ("<style>@import 'https://x.org/a.css';</style>", "", ["index.html loads https://x.org/a.css"]),
        ("", "@font-face { src: url(https://x.org/a.woff2) }", ["site.css loads https://x.org/a.woff2"]),
        ('<a href="no.html">no</a>', "", ["index.html links to no.html, which does not exist"]),
        ('<h1 id="a">A</h1><a href="#a">a</a><a href="#b">b</a>', "", ["index.html links to #b, which does not exist"]),
    ],
)
def test_the_site_is_checked(website: Any, tmp_path: Path, page: str, style: str, wrong: list[str]) -> None:
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "site.css").write_text(style)
    assert website("check").check(tmp_path, []) == wrong


def test_names_without_a_place_are_found(website: Any, tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "a.html").write_text('<h2 id="a.b">b</h2>')
    assert website("check").check(tmp_path, ["a.b", "a.c"]) == ["the reference has no place for a.c"]
