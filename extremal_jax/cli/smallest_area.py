"""The command `smallest-area`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import commands, run
from extremal_jax.cli.console import output

if TYPE_CHECKING:
    from extremal_jax import SmallestArea


@commands.command("smallest-area", short_help="Find the smallest area that excites a class enough.")
@commands.images
@commands.model
@commands.weights
@commands.target
@click.option("--threshold", type=float, default=1.0, show_default=True, help="Sufficient share of the response to the full image.")
@click.option("--response", type=float, help="Sufficient response, in place of --threshold.")
@click.option("--resolution", type=float, default=0.1, show_default=True, help="Tolerance of the area, relative.")
@commands.steps
@commands.seed
@commands.chunk_size
@commands.out
@commands.figure_format
@commands.report
def smallest_area(
    images: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    target: str,
    num_steps: int | None,
    seed: int,
    chunk_size: int | None,
    out: Path,
    figure_format: str,
    report: str | None,
    **search: Any,
) -> dict[str, Any]:
    """Find the smallest part of an image that excites a class as much as all of it.

    Write a figure and a result for each image.

    \b
    Examples:
      extremal-jax smallest-area photo.png
      extremal-jax smallest-area a.png b.png --target dog --threshold 0.9
    """
    import jax

    import extremal_jax as ej

    page = commands.report_page(report, out)
    job = run.start(images, model_name, weights, out, figure_format)
    result = ej.smallest_area(
        job.model,
        job.images,
        job.targets(target),
        config=ej.Config() if num_steps is None else ej.Config(num_steps=num_steps),
        key=jax.random.key(seed),
        progress=output.shows_progress(),
        chunk_size=chunk_size,
        **search,
    )

    def tell(path: Path, one: SmallestArea) -> dict[str, Any]:
        found = f"{float(one.areas):.1%} of the image" if one.reached else "no area suffices; the best"
        target, whole, response = job.named(one.targets), float(one.image_responses), float(one.responses)
        output.say(f"{path}: {target['name']}, response {whole:.2f}; {found}: response {response:.2f}")
        return {
            "target": target,
            "response": whole,
            "wanted": float(one.wanted),
            "reached": bool(one.reached),
            "area": float(one.areas),
            "response_of_area": response,
        }

    document = job.report(result, tell, lambda picture, one: ej.plots.smallest_area(picture, one, job.model.classes), page)
    job.write_page(page, result, chunk_size=chunk_size)
    return document
