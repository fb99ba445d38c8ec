"""`write`: from results to a file, with the checks of what the caller gives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model, check_model
from extremal_jax.extremal.result import ExtremalResult, SmallestArea
from extremal_jax.ground.checks import check_chunk_size
from extremal_jax.ground.files import check_writable, whole_file
from extremal_jax.plots.panels import Names
from extremal_jax.report.contents import Subject, describe, settings, stops_of
from extremal_jax.report.page import page
from extremal_jax.report.subjects import check_result, check_title, subjects
from extremal_jax.report.top_classes import Viewer, viewer


def write(
    path: str | os.PathLike[str],
    images: Any,
    result: ExtremalResult | SmallestArea,
    classes: Names = None,
    *,
    model: Model | None = None,
    names: Any = None,
    smallest: SmallestArea | None = None,
    maps: Mapping[str, Any] | None = None,
    reference: Any = None,
    title: str = "Extremal perturbations",
    chunk_size: int | None = None,
) -> None:
    """Write a report on results: one HTML file that a browser shows without a network.

    A slider over the areas reveals the part of the picture that each mask keeps, or what is left without it. Beside it
    are the response to each mask, the history of the run, and the settings. Several pictures make a gallery, which can
    be searched and sorted.

    Args:
      path: of the file, whole or absent; its folder is created where it is missing.
      images: (H, W, C), or (N, H, W, C) for a batch, as in `ej.plots.overview`; with `model`, as the model takes them.
      result: of the same image or batch, of one or of several targets.
      classes: the names of the classes, as in `ej.plots.overview`; None: the model's own, if it has any.
      model: the model that was explained. With it, the report lists the classes that it sees in each part, and in what
        is left; the model is shown 2 K + 1 images for each picture.
      names: of the pictures, one for each; None: they are numbered.
      smallest: the smallest sufficient areas of the same images and targets, from `ej.smallest_area`: a further place of
        the slider, and a mark in the curve.
      maps: by name, maps of other methods, (h, w) or (N, h, w), of any size and range, to show beside the result's own.
      reference: the reference images of the run, as in `extremal_perturbation`.
      title: of the page.
      chunk_size: the most masks shown to the model at once.

    Returns:
      None. A picture of 224 pixels with four masks takes about a tenth of a megabyte.

    Raises:
      TypeError: if the result is something else, or an image is not an array of numbers.
      ValueError: if images, masks, names or maps differ in number or size, or `classes` lacks a target.
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
    check_title(title)
    if model is not None:
        check_model(model)
        images = check_images("images", images)
        classes = getattr(model, "classes", None) if classes is None else classes
    preprocessing = getattr(model, "preprocessing", None)
    options: Any = dict(names=names, smallest=smallest, maps=maps, reference=reference, preprocessing=preprocessing)
    pictures = subjects(images, result, classes, **options)
    check_writable(path)
    looking = None if model is None else viewer(model, pictures[0].image[None], result.at, len(stops_of(pictures[0])), chunk_size)
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(page(title, _described(pictures, looking), settings(result.config)))


def _described(pictures: list[Subject], looking: Viewer | None) -> Iterator[dict[str, Any]]:
    """The content of one picture after the other."""
    for one in pictures:
        if looking is None:
            yield describe(one)
        else:
            masks = np.stack([stop.mask for stop in stops_of(one)])
            yield describe(one, looking.look(one.image, masks, one.config, one.reference))
