"""The content of the report on one picture: what the page's script draws, as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from extremal_jax.extremal.config import Config
from extremal_jax.extremal.result import ChannelResult, ExtremalResult, SmallestArea
from extremal_jax.extremal.summary import summarize
from extremal_jax.ground.checks import find
from extremal_jax.ground.filters import resize
from extremal_jax.operators.axes import IMAGE, Axes, masked
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.optimise.status import Status
from extremal_jax.plots.panels import Names, as_numbers, names_of
from extremal_jax.report.encoding import number, numbers
from extremal_jax.report.forms import Shown, arranged, fitted, form
from extremal_jax.report.top_classes import TopClasses

_LISTED = 5  # classes
_REMOVED = {"blur": "Blurred", "fade": "Faded", "reference": "Replaced"}


class Subject(NamedTuple):
    """One picture to report on.

    Attributes:
      name: of the picture.
      image: (H, W, C), as it was explained, or what has other axes.
      result: of this image.
      classes: the names of the classes.
      smallest: its smallest sufficient area, if known.
      maps: of other methods, (h, w) each, or of the axes that masks have.
      reference: the image in place of removed pixels, if there is one.
      preprocessing: of the model, which knows the picture that an image was made of; None: scaled to its own range.
    """

    name: str
    image: Any
    result: ExtremalResult | SmallestArea
    classes: Names
    smallest: SmallestArea | None = None
    maps: Mapping[str, Any] = {}
    reference: Any = None
    preprocessing: Any = None

    @property
    def axes(self) -> Axes:
        """The axes of the image."""
        return self.result.config.input_axes

    @property
    def config(self) -> Config:
        """The settings of the run, with all lengths in pixels."""
        shape = tuple(side for side, axis in zip(np.shape(self.image), self.axes, strict=False) if axis.masked)
        return self.result.config.resolve(shape, inner=self.result.at is not None)


class Stop(NamedTuple):
    """A place of the slider over areas: a mask, with what the run says of it."""

    area: float  # the share of the image that it keeps
    asked: float
    mask: Any  # (h, w)
    response: float
    share: float  # of the response to the whole image
    smallest: bool = False  # whether this is a*, the smallest sufficient area


def stops_of(subject: Subject) -> list[Stop]:
    """The masks of a result, and the mask of the smallest sufficient area, by growing area."""
    result, smallest = subject.result, subject.smallest
    stops = []
    if isinstance(result, SmallestArea):
        smallest = result
    else:
        summary = summarize(result)
        columns = result.areas, result.requested_areas, result.masks, summary.values, summary.shares
        stops = [
            Stop(float(area), float(asked), mask, float(value), float(share))
            for area, asked, mask, value, share in zip(*map(np.asarray, columns), strict=True)
        ]
    if smallest is not None:
        area, whole = float(np.mean(smallest.masks)), float(smallest.image_responses)
        share = float(smallest.responses) / whole if whole > 0 else float("nan")
        stops.append(Stop(area, area, np.asarray(smallest.masks), float(smallest.responses), share, smallest=True))
    return sorted(stops, key=lambda stop: stop.asked)


def blank(name: str, target: str) -> dict[str, Any]:
    """The report on one picture of which nothing is known: all that the page's script asks for."""
    return dict(
        form="image",
        noun="image",
        name=name,
        target=target,
        labels=[],
        size=(0, 0),
        slices=[0],
        image=None,
        removed=None,
        removal="",
        layer=None,
        reading="response",
        whole=None,
        faults=[],
        stops=[],
        history=None,
        curve=None,
        classes=None,
        maps=[],
        found=[],
    )


def describe(subject: Subject, seen: TopClasses | None = None) -> dict[str, Any]:
    """The report on one picture, as the page's script reads it.

    Args:
      subject: the picture and its results.
      seen: the scores of its masks, in the order of `stops_of`.
    """
    result, stops = subject.result, stops_of(subject)
    shown = _shown(subject, stops)
    drawing = form(shown)
    game = find("game", subject.config.game, GAMES, Game)
    masks, maps = drawing.pop("masks"), drawing.pop("maps")
    return blank(subject.name, names_of(result.targets, subject.classes)) | dict(
        **drawing,
        removal=_REMOVED.get(str(subject.config.perturbation), "Perturbed"),
        layer=result.at,
        reading="response" if isinstance(result, SmallestArea) else game.reading,
        whole=number(result.image_responses if isinstance(result, SmallestArea) else result.image_rewards),
        faults=faults(result.status),
        stops=[_stop(stop) | dict(mask=mask) for stop, mask in zip(stops, masks, strict=True)],
        history=None if isinstance(result, SmallestArea) else history(result),
        curve=_curve(result if isinstance(result, SmallestArea) else subject.smallest),
        classes=None if seen is None else listed(seen, result.targets, subject.classes),
        maps=maps,
    )


def faults(status: Status) -> list[str]:
    """What went wrong, a line for each mask; none if nothing did."""
    return [] if status.ok else status.message.splitlines()


def _shown(subject: Subject, stops: list[Stop]) -> Shown:
    """The picture, its masks and its maps, with the axes that masks have first."""
    axes, removed = subject.axes, None
    image = as_numbers("images", subject.image)
    if np.issubdtype(np.asarray(subject.image).dtype, np.integer) and len(masked(axes)) > 1:
        image = image / np.float32(255)
    image = image[..., None] if image.ndim < len(axes) else image
    if subject.result.at is None:
        record = dataclasses.replace(subject.config, num_levels=2).perturbation_record()
        reference = None if subject.reference is None else jnp.asarray(subject.reference)[None]
        levels = record.levels(jnp.asarray(image.filled(0))[None], reference)
        removed = arranged(axes, np.ma.masked_array(np.asarray(levels[0, 0])))
    values = arranged(axes, image)
    shape = values.shape[:-1]
    masks = np.stack([fitted(axes, shape, stop.mask) for stop in stops])
    return Shown(axes, values, removed, masks, _maps(subject, shape), subject.preprocessing)


def _stop(stop: Stop) -> dict[str, Any]:
    return dict(
        area=number(stop.area), asked=number(stop.asked), response=number(stop.response), share=number(stop.share), smallest=stop.smallest
    )


def history(result: ExtremalResult | ChannelResult) -> dict[str, Any]:
    """The lines of the run, one for each mask, by growing area.

    The area of the masks that the model was shown is not recorded: where areas are exact, the settings say it.
    """
    config, asked = result.config, np.asarray(result.requested_areas)
    order = np.argsort(asked, kind="stable")
    responses = find("game", config.game, GAMES, Game).sign * np.asarray(result.history.rewards).T[order]
    shown = None
    if config.exact_area and config.num_steps == responses.shape[1]:
        whole = 1.0 if isinstance(result, ExtremalResult) else float(result.masks.shape[-1])
        shown = numbers(whole * (asked[order][:, None] / whole) ** config.schedules()["shrinkage"])
    losses = numbers(np.asarray(result.history.area_losses).T[order])
    return dict(areas=numbers(asked[order]), responses=numbers(responses), losses=losses, shown=shown)


def _curve(smallest: SmallestArea | None) -> dict[str, Any] | None:
    if smallest is None:
        return None
    return dict(
        areas=numbers(smallest.curve.areas),
        responses=numbers(smallest.curve.responses),
        wanted=number(smallest.wanted),
        area=number(smallest.areas) if smallest.reached else None,
    )


def listed(seen: TopClasses, targets: Any, names: Names) -> dict[str, Any]:
    """The classes of the highest scores of the image, of each part, and of what is left without it."""
    wanted = {int(index) for index in np.ravel(targets)}
    known = names if isinstance(names, Mapping) else dict(enumerate([] if names is None else names))
    labels = {int(index): str(name) for index, name in known.items()}

    def top(scores: np.ndarray) -> dict[str, Any]:
        order = np.argsort(-scores, kind="stable")
        rows = [
            dict(name=labels.get(int(index), f"class {index}"), score=number(scores[index]), target=int(index) in wanted)
            for index in order[:_LISTED]
        ]
        ranks = [int(np.flatnonzero(order == index)[0]) + 1 for index in sorted(wanted) if index < len(scores)]
        return dict(rows=rows, rank=min(ranks, default=None), count=len(scores))

    return dict(whole=top(seen.whole), kept=[top(scores) for scores in seen.kept], without=[top(scores) for scores in seen.without])


def _maps(subject: Subject, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The maps in the size of the picture, scaled to their highest value. The result's own comes first."""
    maps = dict(subject.maps)
    if maps and isinstance(subject.result, ExtremalResult):
        maps = {"extremal_perturbation": subject.result.saliency()} | maps
    return {name: heat(name, values, subject.axes, shape) for name, values in maps.items()}


def heat(name: str, values: Any, axes: Axes, shape: Any) -> np.ndarray:
    """A map in the size of a picture, from 0 to 1, its highest value. Negative values are 0."""
    positive = np.maximum(as_numbers(f"the map {name!r}", values).filled(0), 0)
    found = np.asarray(resize(jnp.asarray(positive)[..., None], shape))[..., 0] if axes == IMAGE else fitted(axes, shape, positive)
    return found / max(float(found.max()), 1e-6)
