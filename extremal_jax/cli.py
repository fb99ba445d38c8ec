"""The command line. It parses, calls the library, and reports; JAX is imported by the commands that need it, so that help is quick."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from extremal_jax.files import check_writable, whole_file

if TYPE_CHECKING:
    from extremal_jax import Config, ExtremalResult
    from extremal_jax.models import Classifier

_DEBUG = "extremal_jax.debug"


class _Commands(click.Group):
    """Commands that end in a sentence and exit code 1 when they fail, and in a traceback only with --debug."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if context.meta.get(_DEBUG):
                raise
            raise click.ClickException(" ".join(str(error).split()) or type(error).__name__) from error


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_DEBUG] = value


_debug = click.option("--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error.")
_out = click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out", show_default=True, help="Folder to write to.")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="extremal-jax")
def main() -> None:
    """Extremal perturbations: the parts of an image that excite a classifier most.

    \b
    Examples:
      extremal-jax explain photo.png
      extremal-jax scenes --count 10 --out scenes
      extremal-jax explain scenes/scene-0-000.png --areas 0.02,0.1
    """


class _Areas(click.ParamType):
    name = "share,share,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            areas = tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"expected numbers with commas between them, such as 0.05,0.1, got {value!r}", param, ctx)
        if not all(0 < area <= 1 for area in areas):
            self.fail(f"areas are shares of the image, above 0 and at most 1, got {value!r}", param, ctx)
        return areas


class _Weights(click.ParamType):
    """The name of a file that exists, or of a repository on the hub."""

    name = "file|hub[:...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "hub" or value.startswith("hub:"):
            return value
        return click.Path(exists=True, dir_okay=False).convert(value, param, ctx)


@main.command(short_help="Find the masks of given areas that excite a class most.")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", "model_name", default="scenes", show_default=True, help="A classifier; `extremal-jax models` lists them.")
@click.option(
    "--weights", type=_Weights(), help="A file, of safetensors or PyTorch; `hub`; or `hub:OWNER/NAME@REVISION`.  [default: packaged]"
)
@click.option("--target", default="top", show_default=True, help="A class by name or index, or `top`: the class of the highest score.")
@click.option("--areas", type=_Areas(), default="0.025,0.05,0.1,0.2", show_default=True, help="Shares of the image to keep.")
@click.option("--game", type=click.Choice(["preserve", "delete", "dual"]), help="What the mask does to the evidence.  [default: preserve]")
@click.option("--perturbation", type=click.Choice(["blur", "fade"]), help="What is done to masked pixels.  [default: blur]")
@click.option("--reward", type=click.Choice(["logit", "log_probability", "contrastive"]), help="What is excited.  [default: logit]")
@click.option(
    "--preset",
    type=click.Choice(["default", "torchray", "paper"]),
    default="default",
    show_default=True,
    help="The settings to start from.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimisation steps.  [default: the preset's]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random part: the mirroring of what is shown.")
@click.option("--chunk-size", type=click.IntRange(min=1), help="The most masks shown to the model at a time, to bound memory.")
@_out
@_debug
def explain(
    images: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    target: str,
    areas: tuple[float, ...],
    preset: str,
    seed: int,
    chunk_size: int | None,
    out: Path,
    **settings: Any,
) -> None:
    """Find the masks of given areas that excite a class most, and write a figure and a result for each image.

    \b
    Examples:
      extremal-jax explain photo.png
      extremal-jax explain a.png b.png --target dog --areas 0.02,0.1
      extremal-jax explain photo.png --game delete --preset torchray --out slow
    """
    import jax
    import numpy as np

    import extremal_jax as ej

    outputs = _outputs(images, out)
    _check_name("--model", model_name, [entry.name for entry in ej.models.available()])
    model = ej.models.load(model_name, weights="default" if weights is None else weights)
    prepared = np.stack([model.preprocess(ej.data.load_image(path)) for path in images])
    targets = _targets(target, model, prepared)
    result = ej.extremal_perturbation(
        model,
        prepared,
        targets,
        areas,
        config=_config(preset, settings),
        key=jax.random.key(seed),
        progress=_is_terminal(),
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


@main.command()
@_debug
def models() -> None:
    """List the classifiers."""
    import extremal_jax as ej

    rows = [("name", "input", "parameters", "what it is")]
    for entry in ej.models.available():
        height, width = entry.input_size
        rows.append((entry.name, f"{height}x{width}", f"{entry.parameters:,}", entry.description))
    names, *_ = zip(*rows, strict=True)
    for name, size, parameters, description in rows:  # a line each, however long, to be searched
        click.echo(f"{name:{max(map(len, names))}}  {size:7}  {parameters:>11}  {description}".rstrip())


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@_debug
def convert(source: Path, target: Path) -> None:
    """Write the tensors of a PyTorch file to a safetensors file. Nothing in it is executed.

    \b
    Example:
      extremal-jax convert resnet50.pth resnet50.safetensors
    """
    from extremal_jax.models.pytorch_files import convert

    names = convert(source, target)
    click.echo(f"wrote {len(names)} tensors to {target}")


@main.command(short_help="Write generated scenes and the exact masks of their objects.")
@click.option("--count", type=click.IntRange(min=1), default=4, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other scenes.")
@click.option("--size", type=click.IntRange(min=32), default=128, show_default=True, help="Pixels a side.")
@click.option("--objects", type=click.IntRange(1, 6), help="Objects in each scene.  [default: 1 to 3]")
@_out
@_debug
def scenes(count: int, seed: int, size: int, objects: int | None, out: Path) -> None:
    """Write generated scenes, the exact mask of each object, and a list of what they show.

    \b
    Example:
      extremal-jax scenes --count 10 --seed 7 --out scenes
    """
    from PIL import Image

    import extremal_jax as ej

    generated = ej.data.scenes.generate(seed, count, size, objects=objects or (1, 3))
    contents = {}
    for index, scene in enumerate(generated):
        name = f"scene-{seed}-{index:03d}"
        shown = [label for label, present in zip(scene.classes, scene.labels[0], strict=True) if present]
        files = {f"{name}.png": scene.images[0]}
        for label in shown:
            files[f"{name}-{label}.png"] = scene.masks[0, scene.classes.index(label)].astype("uint8") * 255
        for file, pixels in files.items():
            with whole_file(out / file) as temporary:
                Image.fromarray(pixels).save(temporary)
        contents[f"{name}.png"] = shown
    with whole_file(out / "labels.json") as temporary:
        temporary.write_text(json.dumps(contents, indent=1) + "\n")
    click.echo(f"wrote {count} scenes, their masks and labels.json to {out}")


def _check_name(option: str, value: str, known: list[str]) -> None:
    from extremal_jax.errors import nearest

    if value not in known:
        raise click.BadParameter(f"unknown name {value!r}; {nearest(value, known)}", param_hint=option)


def _targets(target: str, model: Classifier, images: Any) -> Any:
    """A class by name or index, or the best class of each image."""
    import numpy as np

    from extremal_jax.perturbation.inputs import class_index

    if target == "top":
        scores = np.asarray(model(images))
        return scores.reshape(len(images), -1, scores.shape[-1]).mean(axis=1).argmax(axis=-1)  # over places, if there are any
    if target.isdecimal():
        index = int(target)
        if index >= len(model.classes):
            raise click.BadParameter(f"class indices go from 0 to {len(model.classes) - 1}, got {index}", param_hint="--target")
        return index
    try:
        return class_index(target, model.classes)
    except ValueError as error:
        raise click.BadParameter(f"{error}, or `top`", param_hint="--target") from error


def _config(preset: str, settings: dict[str, Any]) -> Config:
    import extremal_jax as ej

    changes = {{"steps": "num_steps"}.get(name, name): value for name, value in settings.items() if value is not None}
    presets: dict[str, Any] = {"default": ej.Config, "torchray": ej.Config.torchray, "paper": ej.Config.paper}
    return presets[preset](**changes)


def _is_terminal() -> bool:
    return sys.stderr.isatty()


def _outputs(images: tuple[Path, ...], out: Path) -> list[Path]:
    """Where the files of each image go, without their suffix, once it is known that they can be written there and overwrite no image."""
    outputs = [out / stem for stem in _stems(images)]
    inputs = {path.resolve() for path in images}
    for output in outputs:
        if Path(f"{output}.png").resolve() in inputs:
            raise click.BadParameter(f"the figure would overwrite the image {output}.png; choose another folder", param_hint="--out")
        check_writable(f"{output}.png")
    return outputs


def _stems(paths: tuple[Path, ...]) -> list[str]:
    """A name for each image's files: the image's own, with a number from the second of a name on."""
    stems: list[str] = []
    own = [path.stem for path in paths]
    for stem in own:
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        stems.append(stem if stem not in stems else next(name for name in numbered if name not in [*own, *stems]))
    return stems


def _print_table(path: Path, result: ExtremalResult, model: Classifier) -> None:
    import numpy as np

    from extremal_jax.summary import summarize

    summary = summarize(result)
    table = Table(box=None, header_style="bold")
    for column in ("area asked", "area reached", summary.name, "of the full image's"):
        table.add_column(column, justify="right")
    columns = result.requested_areas, result.areas, summary.values, summary.shares
    for asked, reached, value, share in zip(*(np.asarray(column).tolist() for column in columns), strict=True):
        table.add_row(f"{asked:.1%}", f"{reached:.1%}", f"{value:.2f}", "" if np.isnan(share) else f"{share:.0%}")
    click.secho(f"{path}: {model.classes[int(result.targets)]}, response {float(result.image_rewards):.2f}", bold=True)
    Console().print(table)
