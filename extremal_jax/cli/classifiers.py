"""The commands `models` and `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from extremal_jax.cli import commands
from extremal_jax.cli.console import output


@commands.command()
def models() -> dict[str, Any]:
    """List the classifiers."""
    import extremal_jax as ej

    rows = [("name", "input", "parameters", "description")]
    rows += [
        (entry.name, "x".join(map(str, entry.input_size)), f"{entry.parameters:,}", entry.description) for entry in ej.models.available()
    ]
    names, *_ = zip(*rows, strict=True)
    for name, size, parameters, description in rows:  # one line each, however long, for searching
        output.answer(f"{name:{max(map(len, names))}}  {size:8}  {parameters:>11}  {description}".rstrip())
    fields = ("name", "description", "input_size", "parameters", "activations", "classes")
    return {"classifiers": [{name: getattr(entry, name) for name in fields} for entry in ej.models.available()]}


@commands.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def convert(source: Path, target: Path) -> dict[str, Any]:
    """Write the tensors of a PyTorch file to a safetensors file. Nothing in it is executed.

    \b
    Example:
      extremal-jax convert resnet50.pth resnet50.safetensors
    """
    from extremal_jax.models.formats.pytorch import convert

    names = convert(source, target)
    output.say(f"wrote {len(names)} tensors to {target}")
    return {"tensors": names, "file": target}
