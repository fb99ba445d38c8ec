"""Commands that explain images: their classifier, images and targets, and the files that they write."""

from __future__ import annotations

import itertools
import math
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from extremal_jax.cli import commands
from extremal_jax.cli.console import output
from extremal_jax.cli.inputs import kinds, paths as input_paths
from extremal_jax.ground.files import check_writable, whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from extremal_jax.models import Classifier
    from extremal_jax.operators.axes import Axes


class Run(NamedTuple):
    """Images, or inputs of other axes, and the classifier to explain."""

    model: Classifier
    paths: tuple[Path, ...]  # of the image files
    images: Any  # (N, H, W, C), preprocessed
    outputs: list[Path]  # the path of each image's output files, without a suffix
    figure_format: str  # the suffix of its figure, such as "png"

    def targets(self, target: str) -> Any:
        """The index of the class `--target`, or of the class of the highest score of each image."""
        import numpy as np

        from extremal_jax.boundary.targets import class_index
        from extremal_jax.operators.rewards import image_scores

        classes = self.model.classes
        if target == "top":
            return image_scores(np.asarray(self.model(self.images))).argmax(axis=-1)
        if target.isdecimal():
            if int(target) >= len(classes):
                raise click.BadParameter(f"class indices go from 0 to {len(classes) - 1}, got {target}", param_hint="--target")
            return int(target)
        try:
            return class_index(target, classes)
        except ValueError as error:
            raise click.BadParameter(f"{error} (`top` is the class of the highest score)", param_hint="--target") from error

    def write_page(self, page: Path | None, result: Any, **options: Any) -> None:
        """Write a report on all images, if one is asked for; the options are those of `ej.report.write`."""
        import extremal_jax as ej

        if page is not None:
            names = [f"{stem.name}{path.suffix}" for path, stem in zip(self.paths, self.outputs, strict=True)]  # unique
            ej.report.write(page, self.images, result, model=self.model, names=names, **options)
            output.say(f"wrote {page}")

    def report(
        self, results: Any, tell: Callable[[Path, Any], dict[str, Any]], draw: Callable[[Any, Any], Figure], page: Path | None
    ) -> dict[str, Any]:
        """Print (by `tell`), save and draw the result of each image.

        Returns:
          The document of the command: the classifier, the page that was written, and of each image what `tell` returns,
          the files, and the faults of its run.
        """
        told = []
        for index, (path, stem, image) in enumerate(zip(self.paths, self.outputs, self.images, strict=True)):
            result = results[index]
            said = tell(path, result)
            result.save(f"{stem}.npz")
            figure = f"{stem}.{self.figure_format}"
            with whole_file(figure) as temporary:
                draw(self.model.preprocessing.picture(image), result).savefig(temporary)
            output.say(f"wrote {figure} and {stem}.npz")
            status = getattr(result, "status", None)  # maps have none
            faults = [] if status is None or status.ok else status.message.splitlines()
            told.append({"image": path, **said, "files": {"figure": figure, "result": f"{stem}.npz"}, "faults": faults})
        return {"model": self.model.name, "images": told, "report": page}

    def named(self, target: Any) -> dict[str, Any]:
        """A class in a document."""
        return {"index": int(target), "name": str(self.model.classes[int(target)])}


def start(
    paths: tuple[Path, ...],
    model_name: str,
    weights: str | None,
    out: Path,
    figure_format: str,
    axes_name: str | None = None,
    frames: int | None = None,
    reference: Path | None = None,
) -> Run:
    """Check the output folder, load the classifier, and read the inputs, which are images unless the classifier takes something
    else. The arguments are the values of the commands' options."""

    others = {"reference image": reference, "weights": None if weights is None or commands.is_hub(weights) else Path(weights)}
    outputs = output_paths(paths, out, figure_format, {name: path for name, path in others.items() if path is not None})
    model = commands.load(model_name, weights)
    axes = kinds.find_axes(model, axes_name, frames)
    return Run(model, paths, prepare(model, paths, axes, frames), outputs, figure_format)


def prepare(model: Classifier, paths: Sequence[Path], axes: Axes, frames: int | None = None) -> Any:
    """Read and preprocess files into one array with a leading axis, such as (N, H, W, C)."""
    import numpy as np

    prepared = [kinds.prepare(model, path, axes, frames) for path in paths]
    for path, image in zip(paths, prepared, strict=True):
        if image.shape != prepared[0].shape and image.ndim != 3:
            shapes = f"{prepared[0].shape} for {paths[0]} and {image.shape} for {path}"
            raise click.UsageError(f"all inputs must have one shape after preprocessing, got {shapes}; run them one by one")
        if image.shape != prepared[0].shape:
            (first_height, first_width), (height, width) = prepared[0].shape[:2], image.shape[:2]
            raise click.UsageError(
                f"all images must have one size after preprocessing, got {first_height}x{first_width} for {paths[0]} and"
                f" {height}x{width} for {path}; run them one by one, or choose a classifier that crops them to one size"
            )
    return np.stack(prepared)


class Responses(NamedTuple):
    """The responses to the masks of one result."""

    name: str  # the game's reading
    values: list[float]
    shares: list[float]  # of the response to the whole image; NaN where it is undefined

    def columns(self, share: str) -> dict[str, list[str]]:
        """Two columns of a table: the responses, and, under the header `share`, the shares that are defined."""
        shares = ["" if math.isnan(part) else f"{part:.0%}" for part in self.shares]
        return {self.name: [f"{value:.2f}" for value in self.values], share: shares}


def responses(result: Any) -> Responses:
    """The responses to the masks of a result of one image."""
    from extremal_jax.extremal.summary import summarize

    name, values, shares = summarize(result)
    return Responses(name, values.tolist(), shares.tolist())


def output_paths(images: tuple[Path, ...], out: Path, figure_format: str, others: Mapping[str, Path]) -> list[Path]:
    """The output path of each image without a suffix, once it is known to be writable and to overwrite no input.

    Args:
      images: the inputs that are explained.
      out: the output folder.
      figure_format: the suffix of figures.
      others: by name, further inputs.
    """
    outputs = [out / name for name in _stems(images)]
    for stem in outputs:
        for what, kind, written in (("figure", "image", Path(f"{stem}.{figure_format}")), ("result", "input", Path(f"{stem}.npz"))):
            given = [*((kind, image) for image in images), *others.items()]
            for name, path in given if written.exists() else []:
                if os.path.samefile(written, input_paths.parts(path)[0]):
                    raise click.BadParameter(f"the {what} would overwrite the {name} {written}; choose another folder", param_hint="--out")
            check_writable(written)
    return outputs


def _stems(paths: tuple[Path, ...]) -> list[str]:
    """A unique name for the files of each image: the image's own, numbered where several images share it.

    Names that differ only in case or in the Unicode form of their letters count as equal, since some file systems
    ignore such differences.
    """
    stems: list[str] = []
    taken = {_folded(_stem(path)) for path in paths}
    used: set[str] = set()
    for path in paths:
        stem = _stem(path)
        if _folded(stem) in used:
            stem = next(name for number in itertools.count(2) if _folded(name := f"{stem}-{number}") not in taken | used)
        used.add(_folded(stem))
        stems.append(stem)
    return stems


def _stem(path: Path) -> str:
    """The name of an input without its suffix; of a folder that is given as `.` or `..`, its own name."""
    return (path.resolve().name if path.name in ("", "..") else path.stem) or "input"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
