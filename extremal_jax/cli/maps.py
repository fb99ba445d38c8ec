"""The option `--method` of the command `explain`: maps of other methods, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.ground.files import whole_file

if TYPE_CHECKING:
    from extremal_jax.attribution import Method
    from extremal_jax.models import Classifier


class _Methods(click.ParamType):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from extremal_jax.attribution import METHODS
        from extremal_jax.ground.checks import nearest

        if value not in METHODS:
            self.fail(f"unknown name {value!r}; {nearest(value, METHODS)}", param, ctx)
        return value


method = click.option(
    "--method", "methods", multiple=True, type=_Methods(), default=["extremal_perturbation"], show_default=True, help="May be repeated."
)
at = click.option("--at", metavar="LAYER", help="The layer at which a map is made.  [default: the image, or the last layer with places]")
contrast_at = click.option("--contrast-at", metavar="LAYER", help="Where contrastive methods subtract.  [default: the last layer]")


def write(
    methods: Sequence[str],
    model: Classifier,
    images: Sequence[Path],
    prepared: Any,
    targets: Any,
    outputs: Sequence[Path],
    options: dict[str, Any],
) -> None:
    """Compute the maps of some methods, and write a figure and the maps of each image."""
    import numpy as np

    import extremal_jax as ej

    known = {name: ej.attribution.METHODS[name] for name in methods}
    _check_taken(known, {name: options[name] for name in ("at", "contrast_at")})
    layers = ej.graph.activations(model, prepared)
    maps = {
        name: np.asarray(method.function(model, prepared, targets, **_given(method, options, layers))) for name, method in known.items()
    }
    targets = np.broadcast_to(targets, len(images))
    for index, (path, output) in enumerate(zip(images, outputs, strict=True)):
        of_image = {name: values[index] for name, values in maps.items()}
        figure = ej.plots.comparison(model.preprocessing.picture(prepared[index]), of_image)
        with whole_file(f"{output}.png") as temporary:
            figure.savefig(temporary, dpi=150)
        with whole_file(f"{output}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, target=targets[index], **of_image)
        click.secho(f"{path}: {model.classes[int(targets[index])]}", bold=True)
        click.echo(f"wrote {output}.png and {output}.npz")


def _check_taken(known: dict[str, Method], options: dict[str, Any]) -> None:
    """Raise a usage error for an option that was given and that no method takes."""
    for name, value in options.items():
        if value is not None and not any(name in method.options for method in known.values()):
            raise click.UsageError(f"--{name.replace('_', '-')} names a layer, and there is none to choose for {', '.join(known)}")


def _given(method: Method, options: dict[str, Any], layers: Sequence[Any]) -> dict[str, Any]:
    """What a method is given, of the options that it takes; what it needs and nobody gave is the last layer that serves."""
    given = {name: value for name, value in options.items() if name in method.options and value is not None}
    for name in sorted(method.needs - given.keys()):
        serves = [layer.name for layer in layers if name == "contrast_at" or _has_places(layer.shape)]
        if not serves:
            known = ", ".join(layer.name for layer in layers) or "none"
            raise click.UsageError(f"the method needs --{name.replace('_', '-')}: a layer, of {known}")
        given[name] = serves[-1]
    return given


def _has_places(shape: tuple[int, ...]) -> bool:
    """Whether a layer is a map, (N, h, w, channels), of more than one place."""
    return len(shape) == 4 and shape[1] * shape[2] > 1
