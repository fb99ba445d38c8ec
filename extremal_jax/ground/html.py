"""HTML of texts, tables and small pictures, for notebooks and reports. Every text is escaped."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_CELL = "text-align: left; padding: 0.15em 1.2em 0.15em 0; border-bottom: 1px solid rgba(128, 128, 128, 0.35)"
_FRAME = "border: 1px solid rgba(128, 128, 128, 0.5)"
_FIGURE = "display: inline-block; margin: 0.3em 0.8em 0.3em 0; vertical-align: top; font-size: 0.9em"


def escaped(value: object) -> str:
    """A value as text that is no markup.

    Example:
      >>> escaped("<b>")
      '&lt;b&gt;'
    """
    return html.escape(str(value))


def data_uri(pixels: np.ndarray, form: str = "png", longest: int | None = None, **options: Any) -> str:
    """A picture as a data URI: an image that a page holds itself.

    Args:
      pixels: (H, W, 3), or (H, W) for grey, in [0, 1].
      form: "png" or "jpeg".
      longest: the most pixels of a side; larger pictures are scaled down. None: as it is.
      options: of Pillow's `save`.

    Example:
      >>> data_uri(np.zeros((8, 8)))[:22]
      'data:image/png;base64,'
    """
    from PIL import Image

    image = Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    if longest is not None:
        image.thumbnail((longest, longest))
    file = io.BytesIO()
    image.save(file, form, **options)
    return f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"


def table(rows: Iterable[Sequence[object]], header: Sequence[object] = (), marked: Iterable[int] = ()) -> str:
    """A table of texts.

    Args:
      rows: of the same length.
      header: of the columns; empty: none.
      marked: the numbers of the rows to print in bold.

    Example:
      >>> "<td" in table([("a", "<b>")]), "<b>" in table([("a", "<b>")])
      (True, False)
    """
    bold = set(marked)
    head = "".join(f'<th scope="col" style="{_CELL}">{escaped(cell)}</th>' for cell in header)
    lines = [f"<thead><tr>{head}</tr></thead>"] if header else []
    for index, row in enumerate(rows):
        style = f"{_CELL}; font-weight: 600" if index in bold else _CELL
        lines.append("<tr>" + "".join(f'<td style="{style}">{escaped(cell)}</td>' for cell in row) + "</tr>")
    return f'<table style="border-collapse: collapse">{"".join(lines)}</table>'


def figure(pixels: np.ndarray, label: str, *lines: object, longest: int = 96) -> str:
    """A small picture over lines of text.

    Args:
      pixels: as in `data_uri`.
      label: the picture in words, for those who do not see it.
      lines: under the picture.
      longest: the most pixels of a side.

    Example:
      >>> figure(np.zeros((8, 8)), "a mask", "10%").count("10%")
      1
    """
    scale = max(1, longest // (2 * max(pixels.shape[:2])))  # so that masks of few pixels can be seen
    image = data_uri(pixels.repeat(scale, axis=0).repeat(scale, axis=1), longest=longest)
    texts = "<br>".join(map(escaped, lines))
    return f'<span style="{_FIGURE}"><img alt="{escaped(label)}" style="{_FRAME}" src="{image}"><br>{texts}</span>'


def section(title: object, *parts: str) -> str:
    """A title over parts that are HTML already.

    Example:
      >>> section("a < b", "<p>text</p>")
      '<div><strong>a &lt; b</strong><p>text</p></div>'
    """
    return f"<div><strong>{escaped(title)}</strong>{''.join(parts)}</div>"


def paragraph(*lines: object) -> str:
    """Lines of text, one under the other.

    Example:
      >>> paragraph("a", "b")
      '<div>a<br>b</div>'
    """
    return f"<div>{'<br>'.join(map(escaped, lines))}</div>"
