"""The command `invert`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import commands, run, tables
from extremal_jax.cli.console import output

if TYPE_CHECKING:
    from extremal_jax import InversionResult

_CHANNELS = commands.Several(int, 0, math.inf, "indices of channels, such as 3,17", "index,index,...")


@commands.command(short_help="Reconstruct an image from a layer's activation.")
@commands.images
@commands.model
@commands.weights
@click.option(
    "--at", metavar="LAYER", type=tables.Layer(), required=True, help="The layer, by the name of its activation, such as blocks.1."
)
@click.option("--channels", type=_CHANNELS, help="Channels to keep; the figure then shows kept and dropped channels separately.")
@click.option("--objective", type=tables.OBJECTIVES, default="dot", show_default=True, help="The similarity of activations to maximise.")
@commands.steps
@commands.seed
@commands.chunk_size
@commands.out
@commands.figure_format
@commands.report
def invert(
    images: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    at: str,
    channels: tuple[int, ...] | None,
    objective: str,
    num_steps: int | None,
    seed: int,
    chunk_size: int | None,
    out: Path,
    figure_format: str,
    report: str | None,
) -> dict[str, Any]:
    """Reconstruct images from a layer's activations; write a figure and a result for each image.

    \b
    Examples:
      extremal-jax invert photo.png --at blocks.1
      extremal-jax invert photo.png --at blocks.2 --channels 3,17,88 --num-steps 400
    """
    import jax
    import numpy as np

    import extremal_jax as ej

    page = commands.report_page(report, out)
    job = run.start(images, model_name, weights, out, figure_format)
    try:
        activation = np.asarray(ej.graph.capture(job.model, [at])(job.images)[1][at])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from error
    count, size = activation.shape[0], activation.shape[-1]
    masks = {"all channels": np.ones(size, np.float32)}
    if channels is not None:
        if max(channels) >= size:
            raise click.BadParameter(f"the channels of {at} go from 0 to {size - 1}, got {max(channels)}", param_hint="--channels")
        kept = np.isin(np.arange(size), channels).astype(np.float32)
        masks |= {"kept channels": kept, "dropped channels": 1 - kept}
    steps: dict[str, Any] = {} if num_steps is None else {"num_steps": num_steps}
    result = ej.invert_features(
        job.model,
        np.concatenate([activation] * len(masks)),
        np.repeat(np.stack(list(masks.values())), count, axis=0),
        at=at,
        shape=job.images.shape[1:3],
        config=ej.InversionConfig(objective=objective, **steps),
        key=jax.random.key(seed),
        progress=output.shows_progress(),
        chunk_size=chunk_size,
    )

    def tell(path: Path, one: InversionResult) -> dict[str, Any]:
        cosines = dict(zip(masks, map(float, one.cosines), strict=True))
        output.say(f"{path}: cosine " + ", ".join(f"{cosine:.2f} ({name})" for name, cosine in cosines.items()))
        return {"cosines": cosines}

    each = [jax.tree.map(lambda leaf: leaf[index::count], result) for index in range(count)]  # noqa: B023
    document = job.report(each, tell, lambda picture, one: ej.plots.inversion(picture, dict(zip(masks, one.images, strict=True))), page)
    job.write_page(
        page,
        {name: jax.tree.map(lambda leaf: leaf[k * count :][:count], result) for k, name in enumerate(masks)},  # noqa: B023
    )
    return {"at": at} | document
