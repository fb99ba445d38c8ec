"""Notebooks: scripts of cells in jupytext's percent format, run, and written as pages of the site and as files for Jupyter.

A cell of text begins with `# %% [markdown]`, and its lines are comments; a cell of code begins with `# %%`. The cell with
`tags=["parameters"]` names what can be set from outside. The value of a cell's last expression is shown: a figure as a picture, anything
else as text.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)
TITLE = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass
class Cell:
    """A cell, and once it has run, what it printed and showed.

    Attributes:
      source: its text or its code.
      is_text: whether it is text.
      is_parameters: whether it names what can be set from outside.
      printed: what it printed, and its value, unless that is a figure.
      picture: its figure, as the bytes of a PNG file.
    """

    source: str
    is_text: bool = False
    is_parameters: bool = False
    printed: str = ""
    picture: bytes = field(default=b"", repr=False)


def read(text: str) -> list[Cell]:
    """The cells of a script."""
    _, *parts = CELL.split(text)
    found = []
    for head, body in zip(parts[::2], parts[1::2], strict=True):
        is_text = "[markdown]" in head
        source = re.sub(r"^# ?", "", body.strip("\n"), flags=re.MULTILINE) if is_text else body.strip("\n")
        found.append(Cell(source, is_text, '"parameters"' in head))
    return found


def run(cells: list[Cell], name: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Run the cells of code in order, with shared names, and keep what they print and show.

    Args:
      cells: of one notebook, which are changed.
      name: of the script, for messages of errors.
      parameters: values for names of the cell of parameters.
    """
    names: dict[str, Any] = {"__name__": name}
    for cell in cells:
        if cell.is_text:
            continue
        tree = ast.parse(cell.source, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, name, "exec"), names)
            value = eval(compile(ast.Expression(last.value), name, "eval"), names) if isinstance(last, ast.Expr) else None
        if cell.is_parameters:
            unknown = set(parameters or {}) - set(names)
            if unknown:
                raise ValueError(f"{name} has no parameters {sorted(unknown)}")
            names |= parameters or {}
        cell.printed = printed.getvalue()
        if isinstance(value, Figure):
            cell.picture = png(value)
        elif value is not None:
            cell.printed += f"{value!r}\n"


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def page(cells: list[Cell], name: str, script: str) -> tuple[str, dict[str, bytes]]:
    """The text of a notebook's page, and its pictures by the names of their files.

    Args:
      cells: which have run.
      name: of the page and its pictures, without a suffix.
      script: the address of the script.
    """
    lines: list[str] = []
    pictures: dict[str, bytes] = {}
    title = name
    for cell in cells:
        if cell.is_text:
            title = (TITLE.findall(cell.source) or [title])[-1]
            lines += [cell.source, ""]
            continue
        lines += ["```python", cell.source, "```", ""]
        if cell.printed:
            lines += ["```text", cell.printed.rstrip("\n"), "```", ""]
        if cell.picture:
            file = f"{name}-{len(pictures)}.png"
            pictures[file] = cell.picture
            lines += [f"![{title}]({file})", ""]
    lines += [f"This page is [a script]({script}) that runs whenever the site is built; [as a notebook]({name}.ipynb).", ""]
    return "\n".join(lines), pictures


def jupyter(cells: list[Cell]) -> str:
    """The notebook as a file for Jupyter, with its outputs."""

    def outputs(cell: Cell) -> Iterator[dict[str, Any]]:
        if cell.printed:
            yield {"output_type": "stream", "name": "stdout", "text": cell.printed.splitlines(keepends=True)}
        if cell.picture:
            yield {"output_type": "display_data", "metadata": {}, "data": {"image/png": base64.b64encode(cell.picture).decode()}}

    def written(cell: Cell) -> dict[str, Any]:
        shared = {"metadata": {"tags": ["parameters"]} if cell.is_parameters else {}, "source": cell.source.splitlines(keepends=True)}
        if cell.is_text:
            return {"cell_type": "markdown", **shared}
        return {"cell_type": "code", "execution_count": None, "outputs": list(outputs(cell)), **shared}

    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": [written(cell) for cell in cells], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}, indent=1)


def stage(scripts: Path, folder: Path, repository: str, execute: bool) -> None:
    """Write the page, pictures and Jupyter file of each script to a folder; the scripts run first if `execute`."""
    folder.mkdir(parents=True, exist_ok=True)
    for script in sorted(scripts.glob("*.py")):
        cells = read(script.read_text("utf-8"))
        if execute:
            print(f"running {script.name}", flush=True)
            run(cells, script.name)
        text, pictures = page(cells, script.stem, f"{repository}/blob/main/examples/notebooks/{script.name}")
        (folder / f"{script.stem}.md").write_text(text, "utf-8")
        (folder / f"{script.stem}.ipynb").write_text(jupyter(cells), "utf-8")
        for file, picture in pictures.items():
            (folder / file).write_bytes(picture)
