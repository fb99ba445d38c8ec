"""The table of standard tests: what each measures, on a batch of images and the maps of one method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.faithfulness.curves import deletion, insertion
from extremal_jax.evaluation.faithfulness.exact_areas import reward_at_areas
from extremal_jax.evaluation.faithfulness.road import road
from extremal_jax.evaluation.localisation.overlap import energy, iou, relevance_mass, relevance_rank
from extremal_jax.evaluation.localisation.pointing import highest_point, is_hit
from extremal_jax.evaluation.sanity.randomisation import parameter_randomisation
from extremal_jax.evaluation.sanity.robustness import max_sensitivity
from extremal_jax.evaluation.suite.cases import CELLS, CONFIDENT
from extremal_jax.evaluation.suite.contenders import Contender, Explanation
from extremal_jax.graph import Activation
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.models.classifier import Classifier

TOLERANCE = 15.0  # of the pointing game, in pixels of the original image
_PIECE = 128  # pixels; the sides of padded maps are multiples of it
_LARGEST = 512  # pixels along the shorter side of the image that transferred masks are laid on
_SAMPLES = 4
_ROAD_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
Scores = dict[str, np.ndarray]  # of each measure, (M,)
_TWINS = "grids as for grid-pointing, but with another image of the class in the opposite corner"
_RISE = "protocol rise, the softmax probability of the case's class, one image width of pixels a step, AUC = (Σ − first/2 − last/2) / n"


@dataclass(frozen=True)
class Trial:
    """A batch of images, a method's explanation of it, and what is known of the images.

    Attributes:
      model: the model that is explained.
      images: (N, H, W, C).
      targets: (N,).
      explanation: what the method makes of the images.
      contender: the method, for tests that call it again.
      regions: (M,), the object's pixels in each original image, (H', W').
      sizes: (M,), the sizes (H', W') of the original images.
      transfer: another model of the same classes, to which masks are transferred, and the images as it takes them; None
        for none.
      areas: the areas of masks.
      key: seeds whatever a test draws.
      layers: the model's, of which a method takes one where it needs one.
    """

    model: Classifier
    images: AnyArray
    targets: AnyArray
    explanation: Explanation
    contender: Contender
    regions: list[Any]
    sizes: list[tuple[int, int]]
    transfer: tuple[Classifier, AnyArray] | None
    areas: tuple[float, ...]
    key: Array
    layers: Sequence[Activation] | None = None

    def explain(self, model: Model, images: AnyArray, targets: AnyArray) -> AnyArray:
        """The method's maps of other images, or of another model."""
        return self.contender.explain(model, images, targets, self.areas, self.key, self.layers).maps

    @property
    def pointing(self) -> AnyArray:
        """(N, H, W), maps whose highest points are where the method points."""
        return self.explanation.maps if self.explanation.pointing is None else self.explanation.pointing

    def placed(self, maps: AnyArray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Maps laid on the original images, and regions: all at once, (N, H', W'), where their sizes are alike, or one by one.

        Both are padded to a multiple of `_PIECE` pixels a side, because tests compile for each size; the padding of a map is
        lower than all of its values. A batch that is not full repeats its last case.
        """
        pairs = []
        for saliency, region in zip(np.asarray(maps), self.regions, strict=False):
            placed = self.model.preprocessing.place(saliency, region.shape)
            more = [(0, -length % _PIECE) for length in region.shape]
            lowest = min(0, float(placed.min())) - 1
            pairs.append((np.pad(placed, more, constant_values=lowest)[None], np.pad(region, more)[None]))
        if len({region.shape for _, region in pairs}) > 1:
            return pairs
        pairs += pairs[-1:] * (len(self.images) - len(pairs))
        maps, regions = (np.concatenate(part) for part in zip(*pairs, strict=True))
        return [(maps, regions)]


@dataclass(frozen=True)
class Measure:
    """A number of a test.

    Attributes:
      name: the end of its column's name.
      higher: whether a higher value is better.
      by_class: whether the table gives the mean over classes, rather than over all cases.
    """

    name: str
    higher: bool = True
    by_class: bool = False


@dataclass(frozen=True)
class Test:
    """A standard test.

    Attributes:
      name: its name on the command line.
      description: what it measures, in one line.
      measures: its columns.
      score: computes a value of each measure for each image of a trial.
      settings: what determines its numbers, in words.
      needs_regions: whether the data must say where objects are.
      of: the images that it is run on: "images" of the dataset, "grids" of them; or, on grids with the class in two
        corners, "difull" and "dipart", whose maps explain such a model.
    """

    __test__ = False  # not pytest's

    name: str
    description: str
    measures: tuple[Measure, ...]
    score: Callable[[Trial], Scores]
    settings: str
    needs_regions: bool = False
    of: str = "images"


def _in_original(trial: Trial, maps: AnyArray, functions: Mapping[str, Callable[[Any, Any], Any]]) -> Scores:
    """The scores of functions of maps and regions (m, H', W'), in the original images."""
    placed = trial.placed(maps)
    found = {name: [np.asarray(function(*piece), np.float32) for piece in placed] for name, function in functions.items()}
    return {name: np.concatenate(pieces)[: len(trial.regions)] for name, pieces in found.items()}


def _hits(maps: Any, regions: Any) -> Array:
    return is_hit(highest_point(maps), regions, TOLERANCE)


def _pointing(trial: Trial) -> Scores:
    """Whether the method points at the object."""
    return _in_original(trial, trial.pointing, {"hit": _hits})


def _energy(trial: Trial) -> Scores:
    return _in_original(
        trial, trial.explanation.maps, {"energy": energy, "iou": iou, "relevance mass": relevance_mass, "relevance rank": relevance_rank}
    )


def _grid(trial: Trial) -> Scores:
    """The share of the positive part in the cell, and whether the method points at it."""
    regions = jnp.asarray(np.stack(trial.regions))
    maps, pointing = (jnp.asarray(part)[: len(regions)] for part in (trial.explanation.maps, trial.pointing))
    point = is_hit(highest_point(pointing), regions, 1)
    return {"share": np.asarray(energy(maps, regions)), "point": np.asarray(point, np.float32)}


def _curve(function: Any) -> Callable[[Trial], Scores]:
    def score(trial: Trial) -> Scores:
        return {"auc": np.asarray(function(trial.model, trial.images, trial.targets, trial.explanation.order).auc)}

    return score


def _road(trial: Trial) -> Scores:
    return {
        "road": np.asarray(road(trial.model, trial.images, trial.targets, trial.explanation.order, shares=_ROAD_SHARES, key=trial.key).mean)
    }


def _reward(trial: Trial) -> Scores:
    masks = trial.explanation.order if trial.explanation.masks is None else trial.explanation.masks
    arguments = trial.targets, masks, trial.areas
    found = {
        edge: np.asarray(reward_at_areas(trial.model, trial.images, *arguments, edge=edge)).mean(axis=-1) for edge in ("feathered", "sharp")
    }
    if trial.transfer is not None:
        model, images = trial.transfer
        laid = [
            model.preprocessing.cut(trial.model.preprocessing.place(one, _bounded(size)))
            for one, size in zip(np.asarray(masks), trial.sizes, strict=False)
        ]
        count = len(laid)
        found["transferred"] = np.asarray(reward_at_areas(model, images[:count], trial.targets[:count], np.stack(laid), trial.areas)).mean(
            axis=-1
        )
    return found


def _bounded(size: tuple[int, int]) -> tuple[int, int]:
    """The size of an image, or of a smaller one of its shape: masks are smooth, and need no more pixels."""
    scale = max(1.0, min(size) / _LARGEST)
    return round(size[0] / scale), round(size[1] / scale)


def _randomisation(trial: Trial) -> Scores:
    call = trial.explain, trial.model, trial.images, trial.targets
    found = parameter_randomisation(*call, num_depths=1, original=trial.explanation.maps, key=trial.key)
    return {"rank correlation": np.asarray(found.rank_correlation[-1]), "ssim": np.asarray(found.ssim[-1])}


def _sensitivity(trial: Trial) -> Scores:
    call = trial.explain, trial.model, trial.images, trial.targets
    found = max_sensitivity(*call, num_samples=_SAMPLES, original=trial.explanation.maps, key=trial.key)
    return {"max sensitivity": np.asarray(found)}


TESTS = {
    test.name: test
    for test in (
        Test(
            "pointing-game",
            "whether the method points at the object",
            (Measure("hit", by_class=True),),
            _pointing,
            f"{TOLERANCE:g} pixels of tolerance in the original image; the mean over classes",
            needs_regions=True,
        ),
        Test(
            "energy",
            "how much of the map lies on the object",
            tuple(map(Measure, ("energy", "iou", "relevance mass", "relevance rank"))),
            _energy,
            "in the original image; IoU of the highest pixels, as many as the object has",
            needs_regions=True,
        ),
        Test(
            "grid-pointing",
            "how much of the map lies in the class's cell of a grid of images",
            (Measure("share"), Measure("point")),
            _grid,
            f"{CELLS}x{CELLS} images of different classes, each recognised alone, at half of the input size, with a probability of at least"
            f" {CONFIDENT}",
            of="grids",
        ),
        Test(
            "difull",
            "how much of the map lies in the only cell that the scores depend on",
            (Measure("share"), Measure("point")),
            _grid,
            f"{_TWINS}; the cell goes through the network by itself",
            of="difull",
        ),
        Test(
            "dipart",
            "how much of the map lies in the only cell that the head sees",
            (Measure("share"), Measure("point")),
            _grid,
            f"{_TWINS}; the head begins after the last layer whose activation of a grid has twice the sides of a cell's",
            of="dipart",
        ),
        Test(
            "insertion",
            "the probability of the class as pixels appear",
            (Measure("auc"),),
            _curve(insertion),
            f"{_RISE}, from a blur of 11x11 pixels and σ 5",
        ),
        Test(
            "deletion",
            "the probability of the class as pixels vanish",
            (Measure("auc", higher=False),),
            _curve(deletion),
            f"{_RISE}, to zero of the normalised image",
        ),
        Test(
            "road",
            "the probability as pixels are imputed, least minus most important first",
            (Measure("road"),),
            _road,
            f"combined; {', '.join(f'{share:.0%}'[:-1] for share in _ROAD_SHARES)} % removed",
        ),
        Test(
            "reward",
            "the class's score of masks of exact areas",
            tuple(map(Measure, ("feathered", "sharp", "transferred"))),
            _reward,
            "the logit, where the rest is blurred by σ = 20/224 of the side, averaged over the areas",
        ),
        Test(
            "randomization",
            "how much of the map is left when the model's parameters are random",
            (Measure("rank correlation", higher=False), Measure("ssim", higher=False)),
            _randomisation,
            "all layers random",
        ),
        Test(
            "sensitivity",
            "how much the map changes with the image",
            (Measure("max sensitivity", higher=False),),
            _sensitivity,
            f"{_SAMPLES} draws of 0.02 in the model's units",
        ),
    )
}
