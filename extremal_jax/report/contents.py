"""The content of the report on one picture: what the page's script draws, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from extremal_jax.extremal.config import Config
from extremal_jax.extremal.result import ExtremalResult, SmallestArea
from extremal_jax.extremal.summary import summarize
from extremal_jax.ground.checks import find
from extremal_jax.ground.filters import resize
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.optimise.settings import Settings, to_json
from extremal_jax.plots.panels import Names, as_numbers, names_of, rgb_pictures
from extremal_jax.report.encoding import jpeg, number, numbers, png
from extremal_jax.report.top_classes import TopClasses

_LISTED = 5  # classes
_THUMBNAIL = 160  # pixels
_REMOVED = {"blur": "Blurred", "fade": "Faded", "reference": "Replaced"}


class Subject(NamedTuple):
    """One picture to report on.

    Attributes:
      name: of the picture.
      image: (H, W, C), as it was explained.
      result: of this image.
      classes: the names of the classes.
      smallest: its smallest sufficient area, if known.
      maps: of other methods, (h, w) each.
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
    def config(self) -> Config:
        """The settings of the run, with all lengths in pixels."""
        return self.result.config.resolve(np.shape(self.image)[:2], inner=self.result.at is not None)


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


def describe(subject: Subject, seen: TopClasses | None = None) -> dict[str, Any]:
    """The report on one picture, as the page's script reads it.

    Args:
      subject: the picture and its results.
      seen: the scores of its masks, in the order of `stops_of`.
    """
    result, stops = subject.result, stops_of(subject)
    picture, removed = _pictures(subject)
    whole = result.image_responses if isinstance(result, SmallestArea) else result.image_rewards
    game = find("game", subject.config.game, GAMES, Game)
    return dict(
        name=subject.name,
        target=names_of(result.targets, subject.classes),
        size=picture.shape[:2],
        thumbnail=jpeg(picture, _THUMBNAIL),
        image=jpeg(picture),
        removed=None if removed is None else jpeg(removed),
        removal=_REMOVED.get(str(subject.config.perturbation), "Perturbed"),
        layer=result.at,
        reading="response" if isinstance(result, SmallestArea) else game.reading,
        whole=number(whole),
        faults=[] if result.status.ok else result.status.message.splitlines(),
        stops=[_stop(stop, picture.shape[:2]) for stop in stops],
        history=None if isinstance(result, SmallestArea) else _history(result, game),
        curve=_curve(result if isinstance(result, SmallestArea) else subject.smallest),
        classes=None if seen is None else _classes(seen, result.targets, subject.classes),
        maps=_maps(subject, picture.shape[:2]),
    )


def settings(config: Settings) -> list[tuple[str, str]]:
    """The names and values of settings, as a table shows them.

    Example:
      >>> settings(Config(num_steps=7))[0]
      ('num_steps', '7')
    """
    fields: dict[str, Any] = json.loads(to_json(config))
    return [(name, _value(value)) for name, value in fields.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        [(kind, content)] = value.items()
        if not isinstance(content, dict):
            return str(content)
        return f"{kind}({', '.join(f'{name}={part:g}' if isinstance(part, float) else f'{name}={part}' for name, part in content.items())})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pictures(subject: Subject) -> tuple[np.ndarray, np.ndarray | None]:
    """The picture (H, W, 3) in [0, 1], and the picture with all pixels removed; None for masks of a layer."""
    image = as_numbers("images", subject.image)
    if np.issubdtype(np.asarray(subject.image).dtype, np.integer):
        image = image / np.float32(255)
    image = image[..., None] if image.ndim == 2 else image
    shown = [image]
    if subject.result.at is None:
        record = dataclasses.replace(subject.config, num_levels=2).perturbation_record()
        reference = None if subject.reference is None else jnp.asarray(subject.reference)[None]
        levels = record.levels(jnp.asarray(image.filled(0))[None], reference)
        shown.append(np.ma.masked_array(np.asarray(levels[0, 0])))
    if subject.preprocessing is not None:
        pictures = [subject.preprocessing.picture(part.filled(0)) / np.float32(255) for part in shown]
    else:
        pictures = list(rgb_pictures(np.ma.stack(shown)))
    return pictures[0], pictures[1] if len(pictures) > 1 else None


def _stop(stop: Stop, size: tuple[int, int]) -> dict[str, Any]:
    mask = np.asarray(stop.mask, np.float32)
    if mask.shape != size:  # of a layer
        mask = np.asarray(jax.image.resize(mask, size, "linear"))
    return dict(
        area=number(stop.area),
        asked=number(stop.asked),
        mask=png(mask),
        response=number(stop.response),
        share=number(stop.share),
        smallest=stop.smallest,
    )


def _history(result: ExtremalResult, game: Game) -> dict[str, Any]:
    """The lines of the run, one for each mask, by growing area."""
    order = np.argsort(np.asarray(result.requested_areas), kind="stable")
    return dict(
        areas=numbers(np.asarray(result.requested_areas)[order]),
        responses=numbers(game.sign * np.asarray(result.history.rewards).T[order]),
        losses=numbers(np.asarray(result.history.area_losses).T[order]),
    )


def _curve(smallest: SmallestArea | None) -> dict[str, Any] | None:
    if smallest is None:
        return None
    return dict(
        areas=numbers(smallest.curve.areas),
        responses=numbers(smallest.curve.responses),
        wanted=number(smallest.wanted),
        area=number(smallest.areas) if smallest.reached else None,
    )


def _classes(seen: TopClasses, targets: Any, names: Names) -> dict[str, Any]:
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


def _maps(subject: Subject, size: tuple[int, int]) -> list[dict[str, Any]]:
    """The maps, scaled to their highest value, each with the place of it. The result's own comes first."""
    maps = dict(subject.maps)
    if maps and isinstance(subject.result, ExtremalResult):
        maps = {"extremal_perturbation": subject.result.saliency()} | maps
    found = []
    for name, values in maps.items():
        positive = np.maximum(as_numbers(f"the map {name!r}", values).filled(0), 0)
        heat = np.asarray(resize(jnp.asarray(positive)[..., None], size))[..., 0]
        row, column = np.unravel_index(np.argmax(heat), heat.shape)
        found.append(dict(name=name, map=png(heat / max(float(heat.max()), 1e-6)), peak=(int(row), int(column))))
    return found
