"""`write`: from results to a file, with the checks of what the caller gives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model, check_model
from extremal_jax.extremal.result import ChannelResult, ExtremalResult, SmallestArea
from extremal_jax.ground.checks import check_chunk_size
from extremal_jax.ground.files import check_writable, whole_file
from extremal_jax.inversion.result import InversionResult
from extremal_jax.optimise.settings import settings_table
from extremal_jax.plots.panels import Names
from extremal_jax.report.contents import Subject, describe, stops_of
from extremal_jax.report.page import page
from extremal_jax.report.subjects import Result, axes_of, check_options, check_result, check_title, subjects
from extremal_jax.report.top_classes import Viewer, viewer
from extremal_jax.report.unmasked import Channels, Comparison, Inversions, describe_channels, describe_comparison, describe_inversions


def write(
    path: str | os.PathLike[str],
    images: Any,
    result: Result | Mapping[str, InversionResult] | None = None,
    classes: Names = None,
    *,
    model: Model | None = None,
    names: Any = None,
    smallest: SmallestArea | None = None,
    maps: Mapping[str, Any] | None = None,
    inversions: Mapping[str, Any] | None = None,
    reference: Any = None,
    targets: Any = None,
    title: str | None = None,
    chunk_size: int | None = None,
) -> None:
    """Write a report on results: one HTML file that a browser shows without a network.

    A slider over the areas reveals the part of the picture that each mask keeps, or what is left without it. Beside it
    are the response to each mask, the history of the run, and the settings. Several pictures make a gallery, which can
    be searched and sorted. Clips and volumes have a second slider over their slices, and series are lines. Channels are
    a grid, of which a slider lights each set.

    Args:
      path: of the file, whole or absent; its folder is created where it is missing.
      images: (H, W, C), or (N, H, W, C) for a batch, or what has other axes, as they were explained; in the ranges of
        `ej.plots.overview`, and with `model` as the model takes them.
      result: of the same image or batch, of one or of several targets: the masks of images, clips, volumes, spectrograms
        or series, the smallest sufficient areas, the channels of a layer, or the pictures of feature inversion, of which
        there may be several by title. None: the report compares `maps`.
      classes: the names of the classes, as in `ej.plots.overview`; None: the model's own, if it has any.
      model: the model that was explained. With it, the report lists the classes that it sees in each part, and in what
        is left; the model is shown 2 K + 1 images for each picture. Beside inversions and maps alone it only has names.
      names: of the pictures, one for each; None: they are numbered.
      smallest: the smallest sufficient areas of the same images and targets, from `ej.smallest_area`: a further place of
        the slider, and a mark in the curve.
      maps: by name, maps of other methods, (h, w) or (N, h, w), or of the other axes that the masks have, of any size and
        range, to show beside the result's own.
      inversions: by title, pictures to show beside channels, (h, w, 3) or (N, h, w, 3) in [0, 1], or results of
        `ej.invert_features`; with a further axis (K, h, w, 3), one for each count, which follows the slider.
      reference: the reference images of the run, as in `extremal_perturbation`.
      targets: of `maps` without a result, to name: a class for each image, or one for all.
      title: of the page; None: says what it is on.
      chunk_size: the most masks shown to the model at once.

    Returns:
      None. A picture of 224 pixels with four masks takes about a tenth of a megabyte.

    Raises:
      TypeError: if the result is something else, or an image is not an array of numbers.
      ValueError: if images, masks, names or maps differ in number or size, `classes` lacks a target, or an argument does
        not apply to the result.
      OSError: if the file cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import jax.numpy as jnp
      >>> import extremal_jax as ej
      >>> def model(x):  # the light of the upper half, and of the lower
      ...     return jnp.stack([x[:, :16].sum((1, 2, 3)), x[:, 16:].sum((1, 2, 3))], axis=-1)
      >>> image, config = jnp.ones((32, 32, 3)), ej.Config(perturbation="fade", num_steps=2)
      >>> result = ej.extremal_perturbation(model, image, 1, areas=[0.1], config=config)
      >>> path = Path(tempfile.mkdtemp()) / "report.html"
      >>> ej.report.write(path, image, result, ["upper half", "lower half"], model=model)
      >>> "lower half" in path.read_text(encoding="utf-8")
      True
    """
    check_chunk_size(chunk_size)
    check_result(result)
    options: Any = dict(smallest=smallest, maps=maps, reference=reference, inversions=inversions, targets=targets)
    check_options(result, options)
    heading = _title(result) if title is None else title
    check_title(heading)
    if model is not None:
        check_model(model)
        images = check_images("images", images, axes_of(result))
        classes = getattr(model, "classes", None) if classes is None else classes
    pictures = subjects(images, result, classes, names=names, preprocessing=getattr(model, "preprocessing", None), **options)
    check_writable(path)
    looking = None
    if model is not None and isinstance(result, ExtremalResult | SmallestArea | ChannelResult):
        looking = viewer(model, pictures[0].image[None], result.at, len(_masks(pictures[0])), chunk_size)
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:  # names of files may be no Unicode
        file.writelines(page(heading, _described(pictures, looking), _settings(result)))


def _title(result: object) -> str:
    """What a page is on."""
    if result is None:
        return "Maps of several methods"
    if isinstance(result, InversionResult | Mapping):
        return "Feature inversion"
    return {ChannelResult: "Channels", SmallestArea: "Smallest sufficient areas"}.get(type(result), "Extremal perturbations")


def _settings(result: Any) -> list[tuple[str, str]]:
    """The settings of a run; none for maps, and for inversions that were saved without them."""
    one = next(iter(result.values())) if isinstance(result, Mapping) else result
    return [] if one is None or one.config is None else settings_table(one.config)


def _masks(subject: Subject | Channels) -> np.ndarray:
    """(K, ...): the masks of one picture, in the order of its content."""
    if isinstance(subject, Channels):
        return np.asarray(subject.result.binary_masks())
    return np.stack([stop.mask for stop in stops_of(subject)])


def _described(pictures: list[Any], looking: Viewer | None) -> Iterator[dict[str, Any]]:
    """The content of one picture after the other."""
    for one in pictures:
        if isinstance(one, Comparison):
            yield describe_comparison(one)
        elif isinstance(one, Inversions):
            yield describe_inversions(one)
        elif isinstance(one, Channels):
            yield describe_channels(one, None if looking is None else looking.look(one.image, _masks(one), one.result.config))
        else:
            yield describe(one, None if looking is None else looking.look(one.image, _masks(one), one.config, one.reference))
