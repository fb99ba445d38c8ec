"""What an input is, an image or something of other axes: how its file is read, made ready for the classifier, and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import tables
from extremal_jax.cli.inputs.paths import parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from extremal_jax.models import Classifier
    from extremal_jax.operators.axes import Axes

axes = click.option("--axes", "axes_name", type=tables.AXES_NAMES, help="What the inputs are.  [default: what the classifier takes]")
frames = click.option(
    "--frames",
    type=click.IntRange(min=2),
    help="Most frames of a clip or slices of a volume, evenly spaced.  [default: all; of a video file, as many as the classifier was"
    " trained on]",
)
_ARRAYS = (".npy", ".npz")


def find_axes(model: Classifier, name: str | None, frames: int | None) -> Axes:
    """The axes of the inputs: those of the option `--axes`, or the classifier's."""
    from extremal_jax.operators.axes import AXES, names

    found = model.axes if name is None else AXES[name]
    if len(found) != len(model.axes):
        raise click.BadParameter(
            f"{model.name} takes {_shape(model.axes)}, and {name} is {_shape(found)}; choose another classifier, by --model",
            param_hint="--axes",
        )
    if frames is not None and not _has_frames(found):
        raise click.BadParameter(f"applies only to clips and volumes, not to {', '.join(names(found))}", param_hint="--frames")
    return found


def prepare(model: Classifier, path: Path, axes: Axes, frames: int | None) -> Any:
    """Read an input and make it ready for the classifier."""
    from extremal_jax.data import load_image
    from extremal_jax.operators.axes import IMAGE

    file, _ = parts(path)
    if axes == IMAGE and _kind(file) == "image":
        return model.preprocess(load_image(file))
    values = _read(model, path, axes, frames)
    wanted = (len(axes), len(axes) - 1) if axes[-1].name == "channel" else (len(axes),)
    if values.ndim not in wanted:
        raise ValueError(f"{path} has the shape {values.shape}, and {_shape(axes)} is expected; explain the inputs of a batch one by one")
    if _has_frames(axes) and frames is not None:
        from extremal_jax.data.files.videos import evenly

        values = values[evenly(len(values), frames)]
    try:
        return model.preprocess(values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error


def draw(picture: Any, result: Any, classes: Any) -> Figure:
    """The figure of a result: an overview of an image, curves of a series, slices of a clip or volume."""
    import extremal_jax as ej
    from extremal_jax.operators.axes import masked

    axes = result.config.input_axes
    if _has_frames(axes):
        return ej.plots.slices(picture, result, classes)
    if len(masked(axes)) == 2 and axes[-1].name == "channel":
        return ej.plots.overview(picture, result, classes)
    return ej.plots.series(picture, result, classes)


def _read(model: Classifier, path: Path, axes: Axes, frames: int | None) -> Any:
    """The array in a file that is no image, or not read as one."""
    from extremal_jax.data import load_array, load_video, load_volume
    from extremal_jax.operators.axes import IMAGE

    file, name = parts(path)
    kind = _kind(file)
    if kind == "array":
        return load_array(file, name)
    if _has_frames(axes) and kind == "video":
        return load_video(file, frames=frames or model.input_size[0])
    if kind == "volume" and _has_frames(axes):
        return load_volume(file)
    what = {"video": "a video", "volume": "a folder or a volume"}.get(kind, f"a file {file.suffix or 'without an ending'}")
    instead = ", a video file, or a NIfTI or DICOM file or folder of its slices" if _has_frames(axes) else ""
    instead = " or an image file" if axes == IMAGE else instead
    raise ValueError(f"{path} is {what}, and {model.name} takes {_shape(axes)}; give a .npy or .npz file{instead}, or another --model")


def _kind(file: Path) -> str:
    """What a file holds, by its ending: "array", "video", "volume" or "image"."""
    from extremal_jax.data.files import videos, volumes

    name = file.name.lower()
    if file.is_dir() or name.endswith(volumes.SUFFIXES):
        return "volume"
    if name.endswith(_ARRAYS):
        return "array"
    return "video" if name.endswith(tuple(videos.SUFFIXES)) else "image"


def _has_frames(axes: Axes) -> bool:
    """Whether these are the axes of a clip or a volume."""
    from extremal_jax.operators.axes import masked

    return len(masked(axes)) == 3


def _shape(axes: Axes) -> str:
    from extremal_jax.operators.axes import names

    return f"({', '.join(names(axes))})"
