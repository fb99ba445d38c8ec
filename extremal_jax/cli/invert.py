"""The command `invert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from extremal_jax.cli import commands, inputs
from extremal_jax.ground.files import whole_file


class _Channels(click.ParamType):
    name = "index,index,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        channels = commands.several(int, value)
        if channels is None or min(channels) < 0:
            self.fail(f"expected channels with commas between them, such as 3,17, got {value!r}", param, ctx)
        return channels


@click.command(short_help="Find the picture that a layer's activation stands for.")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@commands.model
@commands.weights
@click.option("--at", required=True, help="The layer, by name, such as blocks.1.")
@click.option("--channels", type=_Channels(), help="Channels to keep; the figure then shows the kept and the dropped ones apart.")
@click.option("--objective", type=click.Choice(["dot", "l2"]), default="dot", show_default=True, help="What makes activations alike.")
@click.option("--steps", type=click.IntRange(min=1), default=200, show_default=True, help="Optimisation steps.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise to start from, and of the movements.")
@commands.chunk_size
@commands.out
@commands.debug
def invert(
    images: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    at: str,
    channels: tuple[int, ...] | None,
    objective: str,
    steps: int,
    seed: int,
    chunk_size: int | None,
    out: Path,
) -> None:
    """Find the picture that a layer's activation stands for; write a figure and the result for each image.

    \b
    Examples:
      extremal-jax invert photo.png --at blocks.1
      extremal-jax invert photo.png --at blocks.2 --channels 3,17,88 --steps 400
    """
    import jax
    import numpy as np

    import extremal_jax as ej

    outputs = inputs.output_paths(images, out)
    model = inputs.load_classifier(model_name, weights)
    prepared = inputs.prepare(model, images)
    try:
        activation = np.asarray(ej.graph.capture(model, [at])(prepared)[1][at])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from error
    count, size = activation.shape[0], activation.shape[-1]
    masks = {"all channels": np.ones(size, np.float32)}
    if channels is not None:
        if max(channels) >= size:
            raise click.BadParameter(f"the channels of {at} go from 0 to {size - 1}, got {max(channels)}", param_hint="--channels")
        kept = np.isin(np.arange(size), channels).astype(np.float32)
        masks |= {"kept channels": kept, "dropped channels": 1 - kept}
    result = ej.invert_features(
        model,
        np.concatenate([activation] * len(masks)),
        np.repeat(np.stack(list(masks.values())), count, axis=0),
        at=at,
        shape=prepared.shape[1:3],
        config=ej.InversionConfig(objective=objective, num_steps=steps),
        key=jax.random.key(seed),
        progress=inputs.is_terminal(),
        chunk_size=chunk_size,
    )
    found = np.asarray(result.images).reshape(len(masks), count, *result.images.shape[1:])
    cosines = np.asarray(result.cosines).reshape(len(masks), count)
    for index, (path, output) in enumerate(zip(images, outputs, strict=True)):
        click.echo(f"{path}: cosine " + ", ".join(f"{value:.2f} ({name})" for name, value in zip(masks, cosines[:, index], strict=True)))
        figure = ej.plots.inversion(model.preprocessing.picture(prepared[index]), dict(zip(masks, found[:, index], strict=True)))
        jax.tree.map(lambda leaf: leaf[index::count], result).save(f"{output}.npz")  # noqa: B023
        with whole_file(f"{output}.png") as temporary:
            figure.savefig(temporary, dpi=150)
        click.echo(f"wrote {output}.png and {output}.npz")
    if not result.status.ok:
        raise click.ClickException(result.status.message)
