"""What a caller wants a report on, checked and taken apart into single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import jax
import numpy as np

from extremal_jax.boundary.images import check_reference
from extremal_jax.extremal.result import ChannelResult, ExtremalResult, SmallestArea
from extremal_jax.ground.checks import as_array
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import masked, names as axis_names
from extremal_jax.plots.panels import Names, as_numbers, names_of
from extremal_jax.report.contents import Subject

_RANKS = {ExtremalResult: 3, SmallestArea: 2}  # of the masks of a single image


def check_result(result: object) -> None:
    """Raise a TypeError or a ValueError unless a report can be written on a result."""
    if not isinstance(result, ExtremalResult | SmallestArea):
        hint = "; ej.plots.channels draws the channels of a layer" if isinstance(result, ChannelResult) else ""
        raise TypeError(f"result must be an ExtremalResult or a SmallestArea, got {type(result).__name__}{hint}")
    if len(along := axis_names(masked(result.config.input_axes))) != 2:
        raise ValueError(f"a report is of images, and masks have the axes {', '.join(along)}; plots.series and plots.slices draw them")


def check_title(title: object) -> None:
    """Raise a TypeError unless the title of a page is a text."""
    if not isinstance(title, str):
        raise TypeError(f"title must be a text, got {title!r}")


def subjects(
    images: Any,
    result: ExtremalResult | SmallestArea,
    classes: Names,
    *,
    names: Any = None,
    smallest: SmallestArea | None = None,
    maps: Mapping[str, Any] | None = None,
    reference: Any = None,
    preprocessing: Any = None,
) -> list[Subject]:
    """The pictures of a report. The arguments are those of `write`."""
    masks = np.shape(result.masks)
    batch = _batch(images, result, masks)
    count, single = len(batch), len(masks) == _RANKS[type(result)]
    if smallest is not None:
        _check_smallest(smallest, single, count, masks)
    references = [None] * count
    if result.config.perturbation == "reference" or reference is not None:
        given: Any = check_reference(reference, batch, result.config.perturbation == "reference")
        references = list(np.broadcast_to(np.asarray(given), batch.shape))
    titles = _names(names, count)
    each = _maps(maps or {}, count, single)
    found = []
    for index, one in enumerate(_singles(result, single)):
        names_of(one.targets, classes)  # an error now, before anything is written
        least = None if smallest is None else list(_singles(smallest, single))[index]
        found.append(Subject(titles[index], batch[index], one, classes, least, each[index], references[index], preprocessing))
    return found


def _singles(result: Any, single: bool) -> list[Any]:
    """The results of each image, of NumPy arrays."""
    result = jax.tree.map(np.asarray, result)
    return [result] if single else [result[index] for index in range(len(result))]


def _batch(images: Any, result: Any, masks: tuple[int, ...]) -> AnyArray:
    """(N, H, W, C) or (N, H, W): the images, if they fit the masks. Pillow images become arrays."""
    array = images if isinstance(images, np.ma.MaskedArray) else np.asarray(as_array("images", images))
    single = len(masks) == _RANKS[type(result)]
    if array.ndim not in ((2, 3) if single else (3, 4)) or array.size == 0:
        form = "(H, W, C)" if single else f"(N, H, W, C), of {masks[0]} images"
        raise ValueError(f"images must have the shape {form}, for masks of the shape {masks}, got {array.shape}")
    batch = array[None] if single else array
    if (not single and len(batch) != masks[0]) or (result.at is None and batch.shape[1:3] != masks[-2:]):
        raise ValueError(f"images and result must be of the same size, got images of {array.shape} and masks of {masks}")
    return batch


def _check_smallest(smallest: SmallestArea, single: bool, count: int, masks: tuple[int, ...]) -> None:
    """Raise an error unless the smallest areas are of the same images."""
    if not isinstance(smallest, SmallestArea):
        raise TypeError(f"smallest must be a SmallestArea, from ej.smallest_area, got {type(smallest).__name__}")
    wanted = masks[-2:] if single else (count, *masks[-2:])
    if np.shape(smallest.masks) != wanted:
        raise ValueError(f"smallest must be of the same images as the result, with masks of {wanted}, got {np.shape(smallest.masks)}")


def _names(names: Any, count: int) -> list[str]:
    """A name for each picture."""
    if names is None:
        return ["picture"] if count == 1 else [f"picture {index + 1}" for index in range(count)]
    if isinstance(names, str) and count == 1:
        return [names]
    if isinstance(names, str | bytes | Set | Mapping | Iterator) or not (isinstance(names, Sequence | np.ndarray)):
        raise TypeError(f"names must be a sequence with a name for each picture, got {type(names).__name__}")
    if len(names) != count:
        raise ValueError(f"names must name each picture, got {len(names)} for {count} picture{'s' if count > 1 else ''}")
    return [str(name) for name in names]


def _maps(maps: Mapping[str, Any], count: int, single: bool) -> list[dict[str, Any]]:
    """The maps of each picture, by name."""
    if not isinstance(maps, Mapping):
        raise TypeError(f"maps must be a mapping from names to arrays, such as {{'grad_cam': map}}, got {type(maps).__name__}")
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, values in maps.items():
        numbers = as_numbers(f"the map {name!r}", values)
        wanted = "(h, w)" if single else f"({count}, h, w)"
        if numbers.ndim != (2 if single else 3) or numbers.size == 0 or (not single and len(numbers) != count):
            raise ValueError(f"maps must be of shape {wanted}, one for each image, got {name!r} of shape {numbers.shape}")
        for one, part in zip(found, numbers[None] if single else numbers, strict=True):
            one[str(name)] = part
    return found
