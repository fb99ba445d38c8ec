"""The command `channels`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import commands, run, tables
from extremal_jax.cli.console import output

if TYPE_CHECKING:
    from extremal_jax import ChannelResult

_COUNTS = commands.Several(int, 1, math.inf, "numbers of channels, such as 1,5,25", "count,count,...")
_MOST_NAMED = 12  # channels in a row of the table


@commands.command(short_help="Find the channels of a layer that excite a class most.")
@commands.images
@click.option("--at", metavar="LAYER", type=tables.Layer(), required=True, help="The layer, by the name of its activation.")
@click.option("--areas", type=_COUNTS, default="1,5,25", show_default=True, help="Numbers of channels to keep.")
@commands.model
@commands.weights
@commands.target
@commands.game
@commands.reward
@commands.steps
@commands.chunk_size
@commands.out
@commands.figure_format
@commands.report
def channels(
    images: tuple[Path, ...],
    at: str,
    areas: tuple[int, ...],
    model_name: str,
    weights: str | None,
    target: str,
    chunk_size: int | None,
    out: Path,
    figure_format: str,
    report: str | None,
    **settings: Any,
) -> dict[str, Any]:
    """Find the channels of a layer that excite a class most, and write a figure and a result for each image.

    \b
    Examples:
      extremal-jax channels photo.png --at blocks.2 --report
      extremal-jax channels photo.png --at inception4d --model googlenet --weights hub --areas 1,5,25,100
    """
    import extremal_jax as ej

    page = commands.report_page(report, out)
    job = run.start(images, model_name, weights, out, figure_format)
    result = ej.channel_perturbation(
        job.model,
        job.images,
        job.targets(target),
        areas,
        at=at,
        config=ej.ChannelConfig(**{name: value for name, value in settings.items() if value is not None}),
        progress=output.shows_progress(),
        chunk_size=chunk_size,
    )

    def tell(path: Path, one: ChannelResult) -> dict[str, Any]:
        name, whole = job.model.classes[int(one.targets)], float(one.image_rewards)
        output.say(f"{path}: {name}, response {whole:.2f} to {one.masks.shape[-1]} channels of {at}", bold=True)
        kept = [one.channels(int(count)) for count in one.requested_areas]
        named = [" ".join(map(str, some[:_MOST_NAMED])) + (" ..." if len(some) > _MOST_NAMED else "") for some in kept]
        counts = [str(int(count)) for count in one.requested_areas]
        found = run.responses(one)
        output.table({"channels": counts} | found.columns("of the full") | {"which": named}, text="which")
        sets = zip(one.requested_areas, kept, found.values, found.shares, strict=True)
        return {
            "target": job.named(one.targets),
            "response": whole,
            "sets": [dict(count=int(count), channels=some, response=value, share=share) for count, some, value, share in sets],
        }

    document = job.report(result, tell, lambda _, one: ej.plots.channels(one), page)
    job.write_page(page, result, chunk_size=chunk_size)
    return {"at": at} | document
