"""What the options of commands that explain images stand for: classifiers, classes, and files to write."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.ground.files import check_writable

if TYPE_CHECKING:
    from extremal_jax.models import Classifier


def load_classifier(name: str, weights: str | None) -> Classifier:
    """The classifier of `--model` and `--weights`."""
    import extremal_jax as ej
    from extremal_jax.ground.checks import nearest

    known = [entry.name for entry in ej.models.available()]
    if name not in known:
        raise click.BadParameter(f"unknown name {name!r}; {nearest(name, known)}", param_hint="--model")
    return ej.models.load(name, weights="default" if weights is None else weights)


def prepare(model: Classifier, paths: Sequence[Path]) -> Any:
    """The pictures of some files as the classifier takes them, in one array (N, H, W, C)."""
    import numpy as np

    from extremal_jax.data import load_image

    prepared = [model.preprocess(load_image(path)) for path in paths]
    for path, image in zip(paths, prepared, strict=True):
        if image.shape != prepared[0].shape:
            (first_height, first_width), (height, width) = prepared[0].shape[:2], image.shape[:2]
            raise click.UsageError(
                f"images of one run must have one size after preprocessing, got {first_height}x{first_width} of {paths[0]} and"
                f" {height}x{width} of {path}; run them one by one, or choose a classifier that crops them to one size"
            )
    return np.stack(prepared)


def target_indices(target: str, model: Classifier, images: Any) -> Any:
    """The class of `--target`, by name or index, or the best class of each image."""
    import numpy as np

    from extremal_jax.boundary.targets import class_index

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
        raise click.BadParameter(f"{error} (`top` is the class of the highest score)", param_hint="--target") from error


def is_terminal() -> bool:
    """Whether someone is watching."""
    return sys.stderr.isatty()


def output_paths(images: tuple[Path, ...], out: Path) -> list[Path]:
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
