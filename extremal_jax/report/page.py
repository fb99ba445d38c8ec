"""The page: the template, the style and the script of the package, filled with content."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.metadata
import importlib.resources
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from extremal_jax.report.encoding import json_text

_SCRIPTS = ("pictures.js", "charts.js", "forms.js", "report.js")  # one script, in this order, with names of its own
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def page(
    title: str, pictures: Iterator[dict[str, Any]], settings: list[tuple[str, str]], links: Sequence[tuple[str, str]] = ()
) -> Iterator[str]:
    """The parts of a page, one after the other. Each picture is made when its turn comes, so that none stays in memory.

    Args:
      title: of the page.
      pictures: from `describe`.
      settings: the names and values of the table of settings.
      links: to other pages of the same folder, texts and addresses.
    """
    values = dict(title=html.escape(title), settings=rows(settings), versions=rows(versions()), pages=_links(links))
    yield from assembled("page.html", _SCRIPTS, values, "pictures", (_card(index, content) for index, content in enumerate(pictures)))


def assembled(template: str, scripts: Sequence[str], values: Mapping[str, str], place: str, parts: Iterable[str]) -> Iterator[str]:
    """A page of a template, in parts: the style and scripts of the package, values in their places, and many parts in one place.

    Args:
      template: the name of its file.
      scripts: the names of the files of its script, in order.
      values: HTML, by place.
      place: of the parts.
      parts: HTML, each taken when its turn comes.
    """
    style = _file("report.css")
    script = f'"use strict";\n{{\n{"".join(_file(name) for name in scripts)}}}\n'
    everywhere = dict(style=style, script=script, style_hash=_digest(style), script_hash=_digest(script))
    before, after = _file(template).replace("{{head}}", _file("head.html")).split(f"{{{{{place}}}}}")
    yield _filled(before, {**values, **everywhere})
    yield from parts
    yield _filled(after, {**values, **everywhere})


def versions() -> list[tuple[str, str]]:
    """The versions that made a report."""
    packages = [(name, importlib.metadata.version(name)) for name in ("extremal-jax", "jax", "numpy")]
    return [*packages, ("Python", platform.python_version())]


def _card(index: int, content: dict[str, Any]) -> str:
    """The card of a picture in the gallery, with all that the page shows of it as data inside."""
    thumbnail = content["thumbnail"]
    best = max((stop["share"] for stop in content["stops"] if stop["share"] is not None), default=None)
    least = content["curve"]["area"] if content["curve"] else None
    keys = dict(name=content["name"], target=content["target"], response=content["whole"], share=best, area=least)
    data = "".join(f' data-{key}="{html.escape(str(value))}"' for key, value in keys.items() if value is not None)
    details = [] if content["whole"] is None else [f"response {content['whole']:.2f}"]
    details += [] if best is None else [f"best mask {best:.0%}"]
    fault = '<span class="fault">the run has faults</span>' if content["faults"] else ""
    rest = {key: value for key, value in content.items() if key != "thumbnail"}
    return (
        f'<li class="card"{data}><a href="#picture-{index + 1}"><img alt="" src="{thumbnail}">'
        f'<span class="card-name">{html.escape(content["name"])}</span>'
        f'<span class="card-target">{html.escape(content["target"])}</span>'
        f'<span class="card-detail">{" · ".join(details)}</span>{fault}</a>'
        f'<script type="application/json">{json_text(rest)}</script></li>\n'
    )


def rows(pairs: Iterable[tuple[str, str]]) -> str:
    """The rows of a table of names and values."""
    return "".join(f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>' for name, value in pairs)


def _links(links: Sequence[tuple[str, str]]) -> str:
    """Links to the other pages of a folder; nothing if there are none."""
    if not links:
        return ""
    anchors = "\n".join(f'<a href="{html.escape(address)}">{html.escape(text)}</a>' for text, address in links)
    return f'<nav class="pages" aria-label="Pages">\n{anchors}\n</nav>'


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The template with a value in each place; values are not searched for places."""
    return _PLACE.sub(lambda place: values[place[1]], template)


def _file(name: str) -> str:
    return (importlib.resources.files("extremal_jax.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """The hash by which the page's policy admits its own style or script, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
