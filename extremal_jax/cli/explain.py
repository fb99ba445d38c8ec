"""The command `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from extremal_jax.cli import commands, inputs, maps
from extremal_jax.ground.files import whole_file

if TYPE_CHECKING:
    from extremal_jax import Config, ExtremalResult
    from extremal_jax.models import Classifier


class _Areas(click.ParamType):
    name = "share,share,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        areas = commands.several(float, value)
        if areas is None:
            self.fail(f"expected numbers with commas between them, such as 0.05,0.1, got {value!r}", param, ctx)
        if not all(0 < area <= 1 for area in areas):
            self.fail(f"areas are shares of the image, above 0 and at most 1, got {value!r}", param, ctx)
        return areas


_PERTURBATION = "extremal_perturbation"
_ITS_OWN = {f"--{name}": name for name in ("areas", "game", "perturbation", "reward", "preset")} | {"--steps": "num_steps"}


@click.command(short_help="Find the masks of given areas that excite a class most.")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@commands.model
@commands.weights
@commands.target
@maps.method
@maps.at
@maps.contrast_at
@click.option("--areas", type=_Areas(), default="0.025,0.05,0.1,0.2", show_default=True, help="Shares of the image to keep.")
@commands.game
@click.option("--perturbation", type=click.Choice(["blur", "fade"]), help="What is done to masked pixels.  [default: blur]")
@commands.reward
@click.option(
    "--preset",
    type=click.Choice(["default", "torchray", "paper"]),
    default="default",
    show_default=True,
    help="The settings to start from.",
)
@commands.steps
@commands.seed
@commands.chunk_size
@commands.out
@commands.debug
def explain(
    images: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    target: str,
    methods: tuple[str, ...],
    at: str | None,
    contrast_at: str | None,
    areas: tuple[float, ...],
    preset: str,
    seed: int,
    chunk_size: int | None,
    out: Path,
    **settings: Any,
) -> None:
    """Find the masks of given areas that excite a class most, and write a figure and a result for each image.

    With --method, the maps of other methods, or of several side by side.

    \b
    Examples:
      extremal-jax explain photo.png
      extremal-jax explain a.png b.png --target dog --areas 0.02,0.1
      extremal-jax explain photo.png --game delete --preset torchray --out slow
      extremal-jax explain photo.png --method grad_cam --method rise --at blocks.3
    """
    import jax

    import extremal_jax as ej

    outputs = inputs.output_paths(images, out)
    model = inputs.load_classifier(model_name, weights)
    prepared = inputs.prepare(model, images)
    targets = inputs.target_indices(target, model, prepared)
    if methods != (_PERTURBATION,):
        source = click.get_current_context().get_parameter_source
        given = [option for option, name in _ITS_OWN.items() if source(name) is click.core.ParameterSource.COMMANDLINE]
        if given:
            raise click.BadParameter(f"is an option of {_PERTURBATION} by itself", param_hint=given[0])
        options = dict(at=at, contrast_at=contrast_at, key=jax.random.key(seed), chunk_size=chunk_size)
        maps.write(methods, model, images, prepared, targets, outputs, options)
        return
    if contrast_at is not None:
        raise click.BadParameter(f"is an option of contrastive methods, not of {_PERTURBATION}", param_hint="--contrast-at")
    result = ej.extremal_perturbation(
        model,
        prepared,
        targets,
        areas,
        at=at,
        config=_config(preset, settings),
        key=jax.random.key(seed),
        progress=inputs.is_terminal(),
        chunk_size=chunk_size,
    )
    for index, (path, output) in enumerate(zip(images, outputs, strict=True)):
        _print_table(path, result[index], model)
        result[index].save(f"{output}.npz")
        figure = ej.plots.overview(model.preprocessing.picture(prepared[index]), result[index], model.classes)
        with whole_file(f"{output}.png") as temporary:
            figure.savefig(temporary, dpi=150)
        click.echo(f"wrote {output}.png and {output}.npz")
    if not result.status.ok:
        broken = {path: result[index].status for index, path in enumerate(images)}
        lines = [f"{path}, {line}" for path, status in broken.items() if not status.ok for line in status.message.splitlines()]
        raise click.ClickException("\n".join(lines))


def _config(preset: str, settings: dict[str, Any]) -> Config:
    import extremal_jax as ej

    changes = {name: value for name, value in settings.items() if value is not None}
    presets: dict[str, Any] = {"default": ej.Config, "torchray": ej.Config.torchray, "paper": ej.Config.paper}
    return presets[preset](**changes)


def _print_table(path: Path, result: ExtremalResult, model: Classifier) -> None:
    import numpy as np

    from extremal_jax.extremal.summary import summarize

    summary = summarize(result)
    table = Table(box=None, header_style="bold")
    for column in ("area asked", "area reached", summary.name, "of the full image's"):
        table.add_column(column, justify="right")
    columns = result.requested_areas, result.areas, summary.values, summary.shares
    for asked, reached, value, share in zip(*(np.asarray(column).tolist() for column in columns), strict=True):
        table.add_row(f"{asked:.1%}", f"{reached:.1%}", f"{value:.2f}", "" if np.isnan(share) else f"{share:.0%}")
    click.secho(f"{path}: {model.classes[int(result.targets)]}, response {float(result.image_rewards):.2f}", bold=True)
    Console().print(table)
