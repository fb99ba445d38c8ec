"""The contents of a folder of pages: how many pictures there are, where each is, and which are missing and why."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from extremal_jax.report.encoding import json_text
from extremal_jax.report.page import assembled, rows, versions

_COUNTS = {"explained": "Explained", "faulty": "With faults", "skipped": "Skipped", "absent": "Not done yet", "unread": "Not shown"}
_ALWAYS = ("explained",)  # is counted also where there are none


class Entry(NamedTuple):
    """A picture in the contents.

    Attributes:
      name: of the picture.
      target: the name of its class; empty if it is on no page.
      state: "explained", "faulty", "skipped", "absent", or "unread" for a picture with a result that could not be shown.
      address: of its place on a page; None if it is on none.
      response: to the whole image.
      share: of it, that the best mask has.
      remark: why it is faulty or missing.
    """

    name: str
    target: str = ""
    state: str = "absent"
    address: str | None = None
    response: float | None = None
    share: float | None = None
    remark: str = ""


class Leaf(NamedTuple):
    """A page in the contents: its file, and the numbers of its first and last picture, from 1."""

    file: str
    first: int
    last: int


def index_page(title: str, entries: Sequence[Entry], leaves: Sequence[Leaf], about: str, settings: list[tuple[str, str]]) -> Iterator[str]:
    """The parts of the page of contents, one after the other.

    Args:
      title: of the page.
      entries: all pictures, in order.
      leaves: the pages.
      about: a line on the run.
      settings: the names and values of the table of settings.
    """
    values = dict(
        title=html.escape(title),
        counts=_counts(entries),
        about=html.escape(about),
        leaves="".join(map(_leaf, range(1, len(leaves) + 1), leaves)),
        settings=rows(settings),
        versions=rows(versions()),
    )
    yield from assembled("index.html", ["index.js"], values, "pictures", _listed(entries))


def _counts(entries: Sequence[Entry]) -> str:
    """The number of pictures, and of those in each state that occurs."""
    found = Counter(entry.state for entry in entries)
    numbers = {"Pictures": len(entries)} | {name: found[state] for state, name in _COUNTS.items() if found[state] or state in _ALWAYS}
    return "".join(f"<div><dt>{name}</dt><dd>{number:,}</dd></div>" for name, number in numbers.items())


def _leaf(number: int, leaf: Leaf) -> str:
    places = f"{leaf.first}" if leaf.first == leaf.last else f"{leaf.first}–{leaf.last}"
    return f'<li><a href="{html.escape(leaf.file)}">Page {number}<span>{places}</span></a></li>\n'


def _listed(entries: Iterable[Entry]) -> Iterator[str]:
    """The entries as the content of a JSON array."""
    separator = ""
    for entry in entries:
        content: list[Any] = list(entry)
        yield separator + json_text(content)
        separator = ",\n"
