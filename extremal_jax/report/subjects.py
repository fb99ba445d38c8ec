"""What a caller wants a report on, checked and taken apart into single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import jax
import numpy as np

from extremal_jax.boundary.images import check_reference
from extremal_jax.boundary.targets import check_targets
from extremal_jax.extremal.result import ChannelResult, ExtremalResult, SmallestArea
from extremal_jax.ground.checks import as_array
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.inversion.result import InversionResult
from extremal_jax.operators.axes import IMAGE, Axes, masked, names as axis_names
from extremal_jax.plots.panels import Names, as_numbers, names_of
from extremal_jax.report.contents import Subject
from extremal_jax.report.unmasked import Channels, Comparison, Inversions

Result = ExtremalResult | SmallestArea | ChannelResult | InversionResult
AnySubject = Subject | Channels | Inversions | Comparison

_MOST_CLASSES = 2**31 - 1  # the names say which there are


def check_result(result: object) -> None:
    """Raise a TypeError or a ValueError unless a report can be written on a result, on several inversions, or, for None,
    on maps alone."""
    wanted = "an ExtremalResult, a SmallestArea, a ChannelResult, an InversionResult or a mapping from titles to several of these"
    if isinstance(result, Mapping):
        if not result:
            raise ValueError("result must not be empty: a mapping from titles to InversionResults")
        for title, one in result.items():
            if not isinstance(one, InversionResult):
                raise TypeError(f"result must be {wanted}, got a mapping with {title!r} of type {type(one).__name__}")
        if len(set(map(_count, result.values()))) > 1:
            counts = ", ".join(f"{title!r} of {_count(one) or 'a single picture'}" for title, one in result.items())
            raise ValueError(f"result must have inversions of the same pictures, got {counts}")
    elif result is not None and not isinstance(result, Result):
        raise TypeError(f"result must be {wanted}, or None for maps alone, got {type(result).__name__}")


_APPLY: dict[str, tuple[type, ...]] = dict(
    smallest=(ExtremalResult,),
    reference=(ExtremalResult, SmallestArea),
    maps=(ExtremalResult, SmallestArea, type(None)),
    inversions=(ChannelResult,),
    targets=(type(None),),
)


def check_options(result: object, options: Mapping[str, Any]) -> None:
    """Raise a ValueError for an argument that does not apply to a result of this kind, or if there is nothing to show."""
    for name, kinds in _APPLY.items():
        if options[name] is not None and not isinstance(result, kinds):
            known = " or ".join(
                "to maps without a result" if kind is type(None) else f"to a result of type {kind.__name__}" for kind in kinds
            )
            raise ValueError(f"{name} applies {known}, got it with {'none' if result is None else type(result).__name__}")
    if result is None and not options["maps"]:
        raise ValueError("without a result, maps must be given: a mapping from names to arrays, such as {'grad_cam': map}")


def check_title(title: object) -> None:
    """Raise a TypeError unless the title of a page is a text."""
    if not isinstance(title, str):
        raise TypeError(f"title must be a text, got {title!r}")


def axes_of(result: Any) -> Axes:
    """The axes of what a result explains."""
    return result.config.input_axes if isinstance(result, ExtremalResult | SmallestArea) else IMAGE


def subjects(
    images: Any,
    result: Result | Mapping[str, InversionResult] | None,
    classes: Names,
    *,
    names: Any = None,
    smallest: SmallestArea | None = None,
    maps: Mapping[str, Any] | None = None,
    reference: Any = None,
    targets: Any = None,
    inversions: Mapping[str, Any] | None = None,
    preprocessing: Any = None,
) -> list[Any]:
    """The pictures of a report. The arguments are those of `write`."""
    axes = axes_of(result)
    batch, single = _batch(images, result, axes)
    count = len(batch)
    titles, each = _names(names, count), _maps(maps or {}, count, single, axes)
    if result is None:
        chosen = _targets(targets, None if single else count, classes)
        return [Comparison(titles[i], batch[i], chosen[i], each[i], preprocessing) for i in range(count)]
    if isinstance(result, InversionResult | Mapping):
        given = {"picture found": result} if isinstance(result, InversionResult) else {str(title): one for title, one in result.items()}
        parted = {title: _singles(one, single) for title, one in given.items()}
        return [Inversions(titles[i], batch[i], {title: ones[i] for title, ones in parted.items()}, preprocessing) for i in range(count)]
    results = _singles(result, single)
    for one in results:
        names_of(one.targets, classes)  # an error now, before anything is written
    if isinstance(result, ChannelResult):
        pictures = _inversions(inversions or {}, count, single, np.shape(result.masks)[-2])
        return [Channels(titles[i], batch[i], results[i], classes, pictures[i], preprocessing) for i in range(count)]
    if smallest is not None:
        _check_smallest(smallest, single, count, np.shape(result.masks), len(masked(axes)))
    least = [None] * count if smallest is None else _singles(smallest, single)
    references = [None] * count
    if result.config.perturbation == "reference" or reference is not None:
        checked: Any = check_reference(reference, batch, result.config.perturbation == "reference", axes)
        references = list(np.broadcast_to(np.asarray(checked), batch.shape))
    return [Subject(titles[i], batch[i], results[i], classes, least[i], each[i], references[i], preprocessing) for i in range(count)]


def _count(result: Any) -> int | None:
    """N of the result of a batch; None for the result of one picture."""
    return None if result.is_single else len(result)


def _singles(result: Any, single: bool) -> list[Any]:
    """The results of each image, of NumPy arrays."""
    result = jax.tree.map(np.asarray, result)
    return [result] if single else [result[index] for index in range(len(result))]


def _batch(images: Any, result: Any, axes: Axes) -> tuple[AnyArray, bool]:
    """(N, H, W, C) or (N, H, W): the images, if they fit the result, and whether it is of one. Pillow images become arrays."""
    array = images if isinstance(images, np.ma.MaskedArray) else np.asarray(as_array("images", images))
    one = next(iter(result.values())) if isinstance(result, Mapping) else result
    count = (None if array.ndim == 3 else len(array) if array.ndim else 0) if one is None else _count(one)
    single = count is None
    ranks = (len(axes), len(axes) - 1) if axes == IMAGE else (len(axes),)  # channels may be missing
    masks: Any = None if one is None or isinstance(one, InversionResult) else np.shape(one.masks)
    if array.ndim - (not single) not in ranks or array.size == 0:
        form = "H, W, C" if axes == IMAGE else ", ".join(axis_names(axes))
        for_masks = "" if masks is None else f", for masks of the shape {masks}"
        raise ValueError(
            f"images must have the shape {f'({form})' if single else f'(N, {form}), of {count} images'}{for_masks}, got {array.shape}"
        )
    batch = array[None] if single else array
    fits = single or len(batch) == count
    if isinstance(one, ExtremalResult | SmallestArea) and one.at is None:
        own = tuple(side for side, axis in zip(batch.shape[1:], axes, strict=False) if axis.masked)
        fits = fits and own == masks[-len(own) :]
    if not fits:
        what = f"masks of {masks}" if masks is not None else f"a result of {count}"
        raise ValueError(f"images and result must be of the same size, got images of {array.shape} and {what}")
    return batch, single


def _check_smallest(smallest: SmallestArea, single: bool, count: int, masks: tuple[int, ...], rank: int) -> None:
    """Raise an error unless the smallest areas are of the same images."""
    if not isinstance(smallest, SmallestArea):
        raise TypeError(f"smallest must be a SmallestArea, from ej.smallest_area, got {type(smallest).__name__}")
    wanted = masks[-rank:] if single else (count, *masks[-rank:])
    if np.shape(smallest.masks) != wanted:
        raise ValueError(f"smallest must be of the same images as the result, with masks of {wanted}, got {np.shape(smallest.masks)}")


def _names(names: Any, count: int) -> list[str]:
    """A name for each picture. Names of files need not be Unicode, and a page must be."""
    if names is None:
        return ["picture"] if count == 1 else [f"picture {index + 1}" for index in range(count)]
    if isinstance(names, str) and count == 1:
        names = [names]
    if isinstance(names, str | bytes | Set | Mapping | Iterator) or not (isinstance(names, Sequence | np.ndarray)):
        raise TypeError(f"names must be a sequence with a name for each picture, got {type(names).__name__}")
    if len(names) != count:
        raise ValueError(f"names must name each picture, got {len(names)} for {count} picture{'s' if count > 1 else ''}")
    return [str(name).encode(errors="replace").decode() for name in names]


def _targets(targets: Any, count: int | None, classes: Names) -> list[str]:
    """The name of the class of each picture; empty where no targets are given."""
    if targets is None:
        return [""] * (count or 1)
    known: Any = classes
    return [names_of(one, classes) for one in np.asarray(check_targets(targets, count, _MOST_CLASSES, "logit", known))]


def _maps(maps: Mapping[str, Any], count: int, single: bool, axes: Axes) -> list[dict[str, Any]]:
    """The maps of each picture, by name."""
    if not isinstance(maps, Mapping):
        raise TypeError(f"maps must be a mapping from names to arrays, such as {{'grad_cam': map}}, got {type(maps).__name__}")
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    form = "h, w" if axes == IMAGE else ", ".join(axis_names(masked(axes)))
    for name, values in maps.items():
        numbers = as_numbers(f"the map {name!r}", values)
        wanted = f"({form})" if single else f"({count}, {form})"
        if numbers.ndim != len(masked(axes)) + (not single) or numbers.size == 0 or (not single and len(numbers) != count):
            raise ValueError(f"maps must be of shape {wanted}, one for each image, got {name!r} of shape {numbers.shape}")
        for one, part in zip(found, numbers[None] if single else numbers, strict=True):
            one[str(name)] = part
    return found


def _inversions(inversions: Mapping[str, Any], count: int, single: bool, num_areas: int) -> list[dict[str, Any]]:
    """The pictures that were found for each picture, by title."""
    if not isinstance(inversions, Mapping):
        raise TypeError(f"inversions must be a mapping from titles to pictures, got {type(inversions).__name__}")
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for title, given in inversions.items():
        pictures = as_numbers(f"the inversion {title!r}", given.images if isinstance(given, InversionResult) else given)
        each = pictures[None] if single else pictures
        if each.ndim not in (4, 5) or len(each) != count or (each.ndim == 5 and each.shape[1] != num_areas) or each.size == 0:
            lead = "" if single else f"{count}, "
            raise ValueError(
                f"inversions must be of shape ({lead}h, w, 3), or ({lead}{num_areas}, h, w, 3) with a picture for each count, got"
                f" {title!r} of shape {pictures.shape}"
            )
        for one, part in zip(found, each, strict=True):
            one[str(title)] = part
    return found
