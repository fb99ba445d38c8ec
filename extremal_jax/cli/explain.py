"""The command `explain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import commands, maps, run, tables
from extremal_jax.cli.inputs import kinds, paths
from extremal_jax.ground.files import check_writable

if TYPE_CHECKING:
    from extremal_jax import ExtremalResult
    from extremal_jax.models import Classifier

_PERTURBATION = "extremal_perturbation"
_ITS_OWN = ("areas", "game", "perturbation", "reference", "reward", "preset", "num_steps", "report")
_IN_OUT = ""  # the value of --report without a file: report.html in the output folder


class Page(click.ParamType):
    """The path of an HTML page, and not an image, which an option without a value would take for one."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value != _IN_OUT and Path(value).suffix.lower() not in (".html", ".htm"):
            self.fail(f"the report is a page, FILE.html, got {str(value)!r}; without a FILE, give the option last", param, ctx)
        return value


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
@click.option(
    "--report",
    type=Page(),
    is_flag=False,
    flag_value=_IN_OUT,
    metavar="[FILE.html]",
    help="Also write an HTML page to look through all images.  [without a FILE: report.html in the output folder]",
)
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
    report: str | None,
    **settings: Any,
) -> None:
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
        _check_options_of_other_methods()
        job = run.start(images, model_name, weights, out, axes_name, frames)
        _check_images("--method", job.model, axes_name, "the maps of other methods are of images")
        maps.write(job, methods, job.targets(target), dict(at=at, contrast_at=contrast_at, key=key, chunk_size=chunk_size))
        return
    if contrast_at is not None:
        raise click.BadParameter(f"applies only to contrastive methods, not to {_PERTURBATION}", param_hint="--contrast-at")
    page = None if report is None else out / "report.html" if report == _IN_OUT else Path(report)
    if page is not None:
        check_writable(page)
    job = run.start(images, model_name, weights, out, axes_name, frames)
    axes = kinds.find_axes(job.model, axes_name, frames)
    if page is not None:
        _check_images("--report", job.model, axes_name, "a report is of images")
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
        progress=run.is_terminal(),
        chunk_size=chunk_size,
    )

    if page is not None:
        names = [path.name for path in job.paths]
        ej.report.write(page, job.images, result, model=job.model, names=names, reference=other, chunk_size=chunk_size)
        click.echo(f"wrote {page}")
    classes = job.model.classes
    job.report(result, lambda path, one: _tell(path, one, classes), lambda picture, one: kinds.draw(picture, one, classes))


def _check_images(option: str, model: Classifier, axes_name: str | None, reason: str) -> None:
    """Raise a `BadParameter` for an option that is for images alone."""
    from extremal_jax.operators.axes import IMAGE, names

    if (axes := kinds.find_axes(model, axes_name, None)) != IMAGE:
        raise click.BadParameter(f"{reason}, and the inputs are ({', '.join(names(axes))})", param_hint=option)


def _check_options_of_other_methods() -> None:
    """Raise a `BadParameter` for an option that only extremal perturbation has."""
    source = click.get_current_context().get_parameter_source
    for name in _ITS_OWN:
        if source(name) is click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.BadParameter(f"applies only when {_PERTURBATION} is the sole method", param_hint=option)


def _tell(path: Path, one: ExtremalResult, classes: Sequence[str]) -> None:
    """Print the areas of an image's masks, and the responses to them."""
    click.secho(f"{path}: {classes[int(one.targets)]}, response {float(one.image_rewards):.2f}", bold=True)
    areas = {
        "area asked": [f"{area:.1%}" for area in one.requested_areas],
        "area reached": [f"{area:.1%}" for area in one.areas],
    }
    commands.print_table(areas | run.responses(one, "of the full image's"))
