"""The command `channels`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from extremal_jax.cli import commands, inputs
from extremal_jax.ground.files import whole_file

if TYPE_CHECKING:
    from extremal_jax import ChannelResult

_MOST_NAMED = 12  # channels in a row of the table


class _Counts(click.ParamType):
    name = "count,count,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        counts = commands.several(int, value)
        if counts is None or min(counts) < 1:
            self.fail(f"expected whole numbers of channels with commas between them, such as 1,5,25, got {value!r}", param, ctx)
        return counts


@click.command(short_help="Find the channels of a layer that excite a class most.")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--at", metavar="LAYER", required=True, help="The layer, by the name of its activation.")
@click.option("--areas", type=_Counts(), default="1,5,25", show_default=True, help="Numbers of channels to keep.")
@commands.model
@commands.weights
@commands.target
@commands.game
@commands.reward
@commands.steps
@commands.chunk_size
@commands.out
@commands.debug
def channels(
    images: tuple[Path, ...],
    at: str,
    areas: tuple[int, ...],
    model_name: str,
    weights: str | None,
    target: str,
    chunk_size: int | None,
    out: Path,
    **settings: Any,
) -> None:
    """Find the channels of a layer that excite a class most, and write a figure and a result for each image.

    \b
    Examples:
      extremal-jax channels photo.png --at blocks.2
      extremal-jax channels photo.png --at inception4d --model googlenet --weights hub --areas 1,5,25,100
    """
    import extremal_jax as ej

    outputs = inputs.output_paths(images, out)
    model = inputs.load_classifier(model_name, weights)
    prepared = inputs.prepare(model, images)
    result = ej.channel_perturbation(
        model,
        prepared,
        inputs.target_indices(target, model, prepared),
        areas,
        at=at,
        config=ej.ChannelConfig(**{name: value for name, value in settings.items() if value is not None}),
        progress=inputs.is_terminal(),
        chunk_size=chunk_size,
    )
    for index, (path, output) in enumerate(zip(images, outputs, strict=True)):
        one = result[index]
        whole = float(one.image_rewards)
        click.secho(f"{path}: {model.classes[int(one.targets)]}, response {whole:.2f} to {one.masks.shape[-1]} channels of {at}", bold=True)
        _print_table(one)
        one.save(f"{output}.npz")
        with whole_file(f"{output}.png") as temporary:
            ej.plots.channels(one).savefig(temporary, dpi=150)
        click.echo(f"wrote {output}.png and {output}.npz")
    if not result.status.ok:
        raise click.ClickException(result.status.message)


def _print_table(result: ChannelResult) -> None:
    import numpy as np

    from extremal_jax.extremal.summary import summarize

    summary = summarize(result)
    table = Table("channels", summary.name, "of the full", "which", box=None, header_style="bold")
    for count, value, share in zip(result.requested_areas, summary.values, summary.shares, strict=True):
        kept = result.channels(int(count))
        named = " ".join(map(str, kept[:_MOST_NAMED])) + (" ..." if len(kept) > _MOST_NAMED else "")
        table.add_row(str(int(count)), f"{value:.2f}", "" if np.isnan(share) else f"{share:.0%}", named)
    Console().print(table)
