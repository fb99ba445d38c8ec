"""The commands `models` and `convert`."""

from __future__ import annotations

from pathlib import Path

import click

from extremal_jax.cli import commands


@commands.command()
def models() -> None:
    """List the classifiers."""
    import extremal_jax as ej

    rows = [("name", "input", "parameters", "description")]
    rows += [
        (entry.name, "x".join(map(str, entry.input_size)), f"{entry.parameters:,}", entry.description) for entry in ej.models.available()
    ]
    names, *_ = zip(*rows, strict=True)
    for name, size, parameters, description in rows:  # one line each, however long, for searching
        click.echo(f"{name:{max(map(len, names))}}  {size:8}  {parameters:>11}  {description}".rstrip())


@commands.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def convert(source: Path, target: Path) -> None:
    """Write the tensors of a PyTorch file to a safetensors file. Nothing in it is executed.

    \b
    Example:
      extremal-jax convert resnet50.pth resnet50.safetensors
    """
    from extremal_jax.models.formats.pytorch import convert

    names = convert(source, target)
    click.echo(f"wrote {len(names)} tensors to {target}")
