"""The option `--method` of the command `explain`: maps of one or several methods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from extremal_jax.cli import tables
from extremal_jax.cli.console import output
from extremal_jax.cli.run import Run
from extremal_jax.ground.files import whole_file

method = click.option(
    "--method",
    "methods",
    multiple=True,
    type=tables.METHODS,
    default=["extremal_perturbation"],
    show_default=True,
    help="May be repeated, to compare methods.",
)
at = click.option(
    "--at",
    metavar="LAYER",
    type=tables.Layer(),
    help="The layer of a map.  [default: the image, or the last layer with more than one place]",
)
contrast_at = click.option(
    "--contrast-at", metavar="LAYER", type=tables.Layer(), help="The layer where contrastive methods subtract.  [default: the last]"
)


class _Maps(NamedTuple):
    """The maps of an image, by method."""

    target: int
    maps: dict[str, Any]

    def save(self, path: str | os.PathLike[str]) -> None:
        import numpy as np

        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, target=self.target, **self.maps)


def write(run: Run, methods: Sequence[str], targets: Any, options: Mapping[str, Any], page: Path | None) -> dict[str, Any]:
    """Compute the maps of some methods, and write a figure and the maps of each image, and a report if there is a page for it."""
    import numpy as np

    import extremal_jax as ej

    known = {name: ej.attribution.METHODS[name] for name in methods}
    for name in ("at", "contrast_at", "chunk_size"):
        if options[name] is not None and not any(name in method.options for method in known.values()):
            raise click.UsageError(f"--{name.replace('_', '-')} does not apply to {', '.join(known)}")
    layers = ej.graph.activations(run.model, run.images)
    maps = {
        name: np.asarray(method.function(run.model, run.images, targets, **method.complete(options, layers)))
        for name, method in known.items()
    }

    def tell(path: Path, one: _Maps) -> dict[str, Any]:
        target = run.named(one.target)
        output.say(f"{path}: {target['name']}", bold=True)
        return {"target": target, "maps": {name: {"size": values.shape} for name, values in one.maps.items()}}

    results = [
        _Maps(int(target), {name: values[index] for name, values in maps.items()})
        for index, target in enumerate(np.broadcast_to(targets, len(run.images)))
    ]
    document = run.report(results, tell, lambda picture, one: ej.plots.comparison(picture, one.maps), page)
    run.write_page(page, None, maps=maps, targets=targets)
    return document
