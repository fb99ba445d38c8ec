"""Reading a report as a browser does: its elements, its texts, and the data of its pictures."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import extremal_jax as ej
from plot_results import CLASSES, picture, result


class Page(HTMLParser):
    """The elements of a page with their attributes, its visible texts, and the JSON of its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.texts: list[str] = []
        self.pictures: list[Any] = []
        self.inside: list[Any] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: Any, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside = [dict(attrs).get("type", tag)]

    def handle_endtag(self, tag: Any) -> None:
        if tag in ("script", "style"):
            self.inside = []

    def handle_data(self, data: Any) -> None:
        if self.inside == ["application/json"]:
            self.pictures.append(json.loads(data))
        elif not self.inside and data.strip():
            self.texts.append(data.strip("\n"))

    def all(self, tag: Any, **attributes: Any) -> Any:
        """The attributes of the elements of a tag that have these among them."""
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


def written(path: Any, images: Any = None, one: Any = None, classes: Any = CLASSES, **options: Any) -> Page:
    """Write a report, of the invented result for which nothing else is given, and read it."""
    ej.report.write(path, picture() if images is None else images, result() if one is None else one, classes, **options)
    return Page(Path(path).read_text(encoding="utf-8"))


def pixels(address: str) -> Any:
    """The pixels of an image that a page holds itself."""
    head, data = address.split(",", 1)
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
