"""The contents of reports that mask no picture: on channels, on inversions, and on maps side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from extremal_jax.extremal.result import ChannelResult
from extremal_jax.extremal.summary import summarize
from extremal_jax.inversion.result import InversionResult
from extremal_jax.operators.axes import IMAGE
from extremal_jax.plots.panels import Names, as_numbers, names_of, rgb_pictures
from extremal_jax.report.contents import blank, faults, heat, history, listed
from extremal_jax.report.encoding import jpeg, number, numbers
from extremal_jax.report.forms import Shown, form
from extremal_jax.report.top_classes import TopClasses


class Channels(NamedTuple):
    """The channels of a layer for one picture.

    Attributes:
      name: of the picture.
      image: (H, W, C), as it was explained.
      result: of this image.
      classes: the names of the classes.
      inversions: by title, pictures in [0, 1], (h, w, 3), or (K, h, w, 3) with one for each count.
      preprocessing: as in `Subject`.
    """

    name: str
    image: Any
    result: ChannelResult
    classes: Names
    inversions: Mapping[str, Any] = {}
    preprocessing: Any = None


class Inversions(NamedTuple):
    """The pictures that feature inversion found for one picture.

    Attributes:
      name: of the picture.
      image: (H, W, C), whose activation was inverted.
      results: by title, of this image.
      preprocessing: as in `Subject`.
    """

    name: str
    image: Any
    results: Mapping[str, InversionResult]
    preprocessing: Any = None


class Comparison(NamedTuple):
    """The maps of several methods for one picture.

    Attributes:
      name: of the picture.
      image: (H, W, C).
      target: the name of the class; empty if it is not known.
      maps: by method, (h, w) each.
      preprocessing: as in `Subject`.
    """

    name: str
    image: Any
    target: str
    maps: Mapping[str, Any]
    preprocessing: Any = None


def describe_channels(subject: Channels, seen: TopClasses | None = None) -> dict[str, Any]:
    """The report on the channels of one picture; the counts grow.

    Args:
      subject: the picture and its result.
      seen: the scores of its sets of channels, in the order of the result.
    """
    result, summary = subject.result, summarize(subject.result)
    asked = np.asarray(result.requested_areas)
    order = np.argsort(asked, kind="stable")
    kept = np.asarray(result.binary_masks())
    stops = [
        dict(
            area=number(result.areas[k]),
            asked=int(asked[k]),
            response=number(summary.values[k]),
            share=number(summary.shares[k]),
            smallest=False,
            channels=np.flatnonzero(kept[k]).tolist(),
        )
        for k in order
    ]
    ordered = None if seen is None else TopClasses(seen.whole, seen.kept[order], seen.without[order])
    return (
        blank(subject.name, names_of(result.targets, subject.classes))
        | _picture(subject)
        | dict(
            form="channels",
            channels=int(kept.shape[-1]),
            layer=result.at,
            reading=summary.name,
            whole=number(result.image_rewards),
            faults=faults(result.status),
            stops=stops,
            history=history(result),
            classes=None if ordered is None else listed(ordered, result.targets, subject.classes),
            found=[_inversion(title, pictures, order) for title, pictures in subject.inversions.items()],
        )
    )


def describe_inversions(subject: Inversions) -> dict[str, Any]:
    """The report on the pictures that feature inversion found for one picture."""
    results = subject.results
    places = range(len(next(iter(results.values())).history))
    return (
        blank(subject.name, "")
        | _picture(subject)
        | dict(
            form="inversions",
            layer=next(iter(results.values())).at,
            reading="objective",
            faults=[f"{title}: {line}" for title, one in results.items() for line in faults(one.status)],
            found=[
                dict(title=title, pictures=[jpeg(np.asarray(one.images))], cosine=number(one.cosines), value=number(one.values))
                for title, one in results.items()
            ],
            history=dict(areas=[*places], responses=[numbers(one.history) for one in results.values()], losses=None, shown=None),
        )
    )


def describe_comparison(subject: Comparison) -> dict[str, Any]:
    """The report on the maps of several methods for one picture."""
    found = _picture(subject)
    maps = form(_only(subject, {name: heat(name, values, IMAGE, found["size"]) for name, values in subject.maps.items()}))["maps"]
    return blank(subject.name, subject.target) | found | dict(form="maps", maps=maps)


def _picture(subject: Channels | Inversions | Comparison) -> dict[str, Any]:
    """The picture itself, and its thumbnail."""
    drawing = form(_only(subject, {}))
    return {name: drawing[name] for name in ("size", "thumbnail", "image")}


def _only(subject: Channels | Inversions | Comparison, maps: Mapping[str, np.ndarray]) -> Shown:
    """A picture and its maps, without masks."""
    image = as_numbers("images", subject.image)
    if np.issubdtype(np.asarray(subject.image).dtype, np.integer):
        image = image / np.float32(255)
    image = image[..., None] if image.ndim == 2 else image
    return Shown(IMAGE, image, None, np.zeros((0, *image.shape[:2]), np.float32), maps, subject.preprocessing)


def _inversion(title: str, pictures: Any, order: np.ndarray) -> dict[str, Any]:
    """Pictures of one title: one, or one for each count, by growing count."""
    array = as_numbers(title, pictures).filled(1)
    several = array[order] if array.ndim == 4 else array[None]
    return dict(title=title, pictures=[jpeg(picture) for picture in rgb_pictures(several)], cosine=None, value=None)
