"""The command `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import commands, maps, run, tables
from extremal_jax.cli.console import output
from extremal_jax.cli.inputs import kinds, paths

if TYPE_CHECKING:
    from extremal_jax import ExtremalResult
    from extremal_jax.models import Classifier

_PERTURBATION = "extremal_perturbation"
_ITS_OWN = ("areas", "game", "perturbation", "reference", "reward", "preset", "num_steps")


@commands.command(short_help="Find the masks of given areas that excite a class most.")
@paths.inputs
@commands.any_model
@commands.weights
@kinds.axes
@kinds.frames
@commands.target
@maps.method
@maps.at
@maps.contrast_at
@commands.areas
@commands.game
@click.option("--perturbation", type=tables.PERTURBATIONS, help="How a mask removes pixels.  [default: blur, fade at a layer]")
@click.option(
    "--reference",
    type=paths.Input(),
    help="Image in place of removed pixels, for `--perturbation reference`.",
)
@commands.reward
@commands.preset
@commands.steps
@commands.seed
@commands.chunk_size
@commands.out
@commands.figure_format
@commands.report
def explain(
    images: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    axes_name: str | None,
    frames: int | None,
    target: str,
    methods: tuple[str, ...],
    at: str | None,
    contrast_at: str | None,
    areas: tuple[float, ...],
    reference: Path | None,
    preset: str,
    seed: int,
    chunk_size: int | None,
    out: Path,
    figure_format: str,
    report: str | None,
    **settings: Any,
) -> dict[str, Any]:
    """Find the masks of given areas that excite a class most, and write a figure and a result for each image.

    With --method, write the maps of one or several other methods instead. A classifier of clips or series takes arrays, FILE.npy or
    FILE.npz:NAME, and video files; volumes are read from NIfTI files, and from DICOM files and folders.

    \b
    Examples:
      extremal-jax explain photo.png
      extremal-jax explain a.png b.png --target dog --areas 0.02,0.1
      extremal-jax explain photo.png --game delete --preset torchray --out slow
      extremal-jax explain a.png b.png --report
      extremal-jax explain photo.png --method grad_cam --method rise --at blocks.3
      extremal-jax explain clip.mp4 --model moving_scenes --frames 24
      extremal-jax explain series.npz:first --model series --axes moments
    """
    import jax

    import extremal_jax as ej
    from extremal_jax.operators.axes import IMAGE

    key = jax.random.key(seed)
    if methods != (_PERTURBATION,):
        commands.refuse(_ITS_OWN, f"only when {_PERTURBATION} is the sole method")
        page = commands.report_page(report, out)
        job = run.start(images, model_name, weights, out, figure_format, axes_name, frames)
        _check_images("--method", job.model, axes_name, "the maps of other methods are of images")
        return maps.write(job, methods, job.targets(target), dict(at=at, contrast_at=contrast_at, key=key, chunk_size=chunk_size), page)
    if contrast_at is not None:
        raise click.BadParameter(f"applies only to contrastive methods, not to {_PERTURBATION}", param_hint="--contrast-at")
    page = commands.report_page(report, out)
    job = run.start(images, model_name, weights, out, figure_format, axes_name, frames, reference)
    axes = kinds.find_axes(job.model, axes_name, frames)
    other = None if reference is None else run.prepare(job.model, [reference], axes, frames)[0]
    result = ej.extremal_perturbation(
        job.model,
        job.images,
        job.targets(target),
        areas,
        at=at,
        axes=None if axes == IMAGE else axes,
        config=commands.config(preset, settings),
        key=key,
        reference=other,
        progress=output.shows_progress(),
        chunk_size=chunk_size,
    )

    document = job.report(
        result, lambda path, one: _tell(path, one, job), lambda picture, one: kinds.draw(picture, one, job.model.classes), page
    )
    job.write_page(page, result, reference=other, chunk_size=chunk_size)
    return document


def _check_images(option: str, model: Classifier, axes_name: str | None, reason: str) -> None:
    """Raise a `BadParameter` for an option that is for images alone."""
    from extremal_jax.operators.axes import IMAGE, names

    if (axes := kinds.find_axes(model, axes_name, None)) != IMAGE:
        raise click.BadParameter(f"{reason}, and the inputs are ({', '.join(names(axes))})", param_hint=option)


def _tell(path: Path, one: ExtremalResult, job: run.Run) -> dict[str, Any]:
    """Print the areas of an image's masks, and the responses to them."""
    target, whole, found = job.named(one.targets), float(one.image_rewards), run.responses(one)
    output.say(f"{path}: {target['name']}, response {whole:.2f}", bold=True)
    areas = {
        "area asked": [f"{area:.1%}" for area in one.requested_areas],
        "area reached": [f"{area:.1%}" for area in one.areas],
    }
    output.table(areas | found.columns("of the full image's"))
    masks = zip(one.requested_areas, one.areas, found.values, found.shares, strict=True)
    return {
        "target": target,
        "response": whole,
        "reading": found.name,
        "masks": [dict(area_asked=asked, area=area, response=value, share=share) for asked, area, value, share in masks],
    }
