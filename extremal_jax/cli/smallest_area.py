"""The command `smallest-area`."""

from __future__ import annotations

from pathlib import Path

import click

from extremal_jax.cli import commands, inputs
from extremal_jax.ground.files import whole_file


@click.command("smallest-area", short_help="Find the smallest area that excites a class enough.")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@commands.model
@commands.weights
@commands.target
@click.option("--threshold", type=float, default=1.0, show_default=True, help="What suffices, as a share of the full image's response.")
@click.option("--response", type=float, help="What suffices, as a number, in place of --threshold.")
@click.option("--resolution", type=float, default=0.1, show_default=True, help="How far above the smallest area the answer may lie.")
@commands.steps
@commands.seed
@commands.chunk_size
@commands.out
@commands.debug
def smallest_area(
    images: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    target: str,
    threshold: float,
    response: float | None,
    resolution: float,
    num_steps: int | None,
    seed: int,
    chunk_size: int | None,
    out: Path,
) -> None:
    """Find the least of an image that excites a class as much as all of it; write a figure and the result for each image.

    \b
    Examples:
      extremal-jax smallest-area photo.png
      extremal-jax smallest-area a.png b.png --target dog --threshold 0.9
    """
    import jax

    import extremal_jax as ej

    outputs = inputs.output_paths(images, out)
    model = inputs.load_classifier(model_name, weights)
    prepared = inputs.prepare(model, images)
    result = ej.smallest_area(
        model,
        prepared,
        inputs.target_indices(target, model, prepared),
        threshold=threshold,
        response=response,
        resolution=resolution,
        config=ej.Config() if num_steps is None else ej.Config(num_steps=num_steps),
        key=jax.random.key(seed),
        progress=inputs.is_terminal(),
        chunk_size=chunk_size,
    )
    for index, (path, output) in enumerate(zip(images, outputs, strict=True)):
        one = result[index]
        name, whole, answered = model.classes[int(one.targets)], float(one.image_responses), float(one.responses)
        found = f"{float(one.areas):.1%} of the image" if one.reached else "no area suffices; the best"
        click.echo(f"{path}: {name}, response {whole:.2f}; {found}: response {answered:.2f}")
        one.save(f"{output}.npz")
        figure = ej.plots.smallest_area(model.preprocessing.picture(prepared[index]), one, model.classes)
        with whole_file(f"{output}.png") as temporary:
            figure.savefig(temporary, dpi=150)
        click.echo(f"wrote {output}.png and {output}.npz")
    if not result.status.ok:
        raise click.ClickException(result.status.message)
