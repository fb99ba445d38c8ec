"""What a command prints: text for people, or with --json one JSON document, and with --quiet only what was asked for."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from extremal_jax.cli.console import exits

_QUIET, _JSON = "extremal_jax.quiet", "extremal_jax.json"


def options() -> list[click.Option]:
    """The options of this file, which all commands have."""

    def remember(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
        return lambda context, _, value: context.meta.__setitem__(name, value)

    return [
        click.Option(["--json"], is_flag=True, expose_value=False, callback=remember(_JSON), help="Print the results as JSON."),
        click.Option(
            ["--quiet", "-q"], is_flag=True, expose_value=False, callback=remember(_QUIET), help="Print no progress and no remarks."
        ),
    ]


def say(text: str, **style: Any) -> None:
    """Print a remark for people."""
    if not (_given(_QUIET) or is_json()):
        click.secho(_unicode(text), **style)


def answer(text: str) -> None:
    """Print what was asked for, which --json prints as a document instead."""
    if not is_json():
        click.echo(_unicode(text))


def table(columns: Mapping[str, Iterable[str]], text: str = "") -> None:
    """Print, as a remark, columns of numbers by their headers; the column `text` is aligned to the left."""
    from rich.console import Console
    from rich.table import Table

    if _given(_QUIET) or is_json():
        return
    shown = Table(box=None, header_style="bold")
    for header in columns:
        shown.add_column(header, justify="left" if header == text else "right")
    for row in zip(*columns.values(), strict=True):
        shown.add_row(*row)
    Console().print(shown)


def is_json() -> bool:
    """Whether the command prints a document instead of text."""
    return _given(_JSON)


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr.isatty()


def shows_progress() -> bool:
    """Whether somebody sees progress, and wants it."""
    return is_terminal() and not _given(_QUIET)


def documented(function: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """A command whose function returns a document, which is printed with --json.

    Faults of the document's images end the command with the exit code 3.
    """

    @functools.wraps(function)
    def run(*arguments: Any, **given: Any) -> None:
        finish(function(*arguments, **given))

    return run


def finish(document: Mapping[str, Any]) -> None:
    """Print a document with --json, and raise an error for the faults of its images."""
    if is_json():
        import extremal_jax as ej

        head = {"command": click.get_current_context().info_name, "version": ej.__version__}
        click.echo(json.dumps(plain(head | dict(document)), indent=1, allow_nan=False))
    if faults := [f"{image['image']}, {fault}" for image in document.get("images", ()) for fault in image.get("faults", ())]:
        raise exits.Meaningless("\n".join(faults))


def plain(value: Any) -> Any:
    """A value in JSON's types: paths become text, records objects, arrays lists, and numbers that are not finite null.

    Example:
      >>> from pathlib import Path
      >>> plain({"file": Path("a.png"), "share": float("nan"), "size": (2, 3)})
      {'file': 'a.png', 'share': None, 'size': [2, 3]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "tolist"):  # an array, or a scalar of NumPy
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _unicode(text: str) -> str:
    """Text that every terminal takes: names of files need not be Unicode."""
    return text.encode(errors="replace").decode()


def _given(name: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(name))
