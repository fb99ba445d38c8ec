"""Curves of the score while pixels change in the order of a map: insertion, deletion and pixel flipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.evaluations import SCORES, responses
from extremal_jax.boundary.baselines import rise_blur as rise_blur, substitute  # `as` marks what is exported
from extremal_jax.boundary.layouts import Layout, check_inputs
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.faithfulness.altered import cells, for_each, nan_where_unknown, pixels, prepare_altered, ranks, scores_of
from extremal_jax.ground.checks import check_choice, check_count, find
from extremal_jax.operators.axes import Axes


class Curve(NamedTuple):
    """The score of images while they change.

    Attributes:
      shares: (T + 1,), the share of the pixels, or in pixel flipping of the cells, that have changed, or the area that is
        shown.
      scores: (N, T + 1), or (T + 1,) for a single image.
      auc: (N,), or a number: the area under the curve, in units of the score.
    """

    shares: Float[Array, " T"]
    scores: Float[Array, "*N T"]
    auc: Float[Array, "*N"]

    @property
    def aopc(self) -> Float[Array, "*N"]:
        """(N,): the area over the perturbation curve, the mean fall of the score; Samek et al. (2017)."""
        return self.scores[..., 0] - self.scores.mean(axis=-1)


def trapezoids(scores: Float[Array, "*N T"]) -> Float[Array, "*N"]:
    """The area under curves whose steps count alike: (Σ − first/2 − last/2) / n, for n steps.

    Example:
      >>> float(trapezoids(jnp.array([1.0, 0.5, 0.0])))
      0.5
    """
    return (scores.sum(axis=-1) - scores[..., 0] / 2 - scores[..., -1] / 2) / (scores.shape[-1] - 1)


def equal_counts(size: tuple[int, ...], num_steps: int) -> np.ndarray:
    """How many pixels have changed after each of so many steps, rounded down.

    Example:
      >>> equal_counts((3, 5), 4).tolist()
      [0, 3, 7, 11, 15]
    """
    return math.prod(size) * np.arange(num_steps + 1) // num_steps


def counts_of(size: tuple[int, ...], pixels_per_step: int) -> np.ndarray:
    """How many pixels have changed after each step of so many pixels; the last step takes the rest.

    Example:
      >>> counts_of((3, 5), 4).tolist()
      [0, 4, 8, 12, 15]
    """
    count = math.prod(size)
    return np.append(np.arange(0, count, pixels_per_step), count)


Baseline = float | str | Callable[[Array], Array]  # as `insertion` takes it, or a function of the images


@dataclass(frozen=True)
class Protocol:
    """The particulars of insertion and deletion, without which their numbers cannot be compared.

    Attributes:
      name: as in `PROTOCOLS`.
      help: one line.
      score: the function of the model's scores: "softmax", "sigmoid" or "logit".
      counts: the function from the size of a map, (H, W), to how many pixels have changed after each step, from 0.
      inserted_into: the images that insertion begins with: a number, the name of a baseline of `insertion`, or a function
        of the images.
      deleted_to: the images that deletion ends with, likewise.
      auc: the function from the scores (..., T + 1) to the area under the curve.
    """

    name: str
    help: str
    score: str
    counts: Callable[[tuple[int, ...]], np.ndarray]
    inserted_into: Baseline = 0.0
    deleted_to: Baseline = 0.0
    auc: Callable[[Array], Array] = trapezoids


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "rise",
            "probability; one row's worth of pixels per step; deletion to zero, insertion into RISE's blur; trapezoids",
            "softmax",
            lambda size: counts_of(size, math.prod(size[1:])),
            inserted_into="rise_blur",
        ),
        Protocol("xplique", "logit; 10 steps; from and to zero; trapezoids", "logit", lambda size: equal_counts(size, 10)),
    )
}


def insertion(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    *,
    axes: Axes | str | None = None,
    protocol: str | Protocol = "rise",
    pixels_per_step: int | None = None,
    num_steps: int | None = None,
    baseline: Any = None,
    score: str | None = None,
    chunk_size: int | None = None,
) -> Curve:
    """The score while the pixels of the image enter a blurred or empty one, the most important first; a high area under
    the curve is good.

    A protocol sets all options that are None. RISE's own numbers are of the class that the model predicts for the whole
    image, rather than of its label: targets None.

    Args:
      model: any function from images (B, H, W, C) to scores.
      images: (H, W, C), or a batch (N, H, W, C).
      targets: one class for all images or one per image; None: for each image the class that the model predicts, the
        one with the highest score.
      maps: (H, W), or (N, H, W), or with the masked axes of other inputs. Only the order of their values counts; ties, and
        so constant maps, are taken in reading order.
      axes: what `images` are, if they are something else, as in `extremal_perturbation`.
      protocol: one of `PROTOCOLS`, or a `Protocol`. "rise": the probability, as many pixels per step as a row has (of
        other axes, as many places as a time or a slice has), and an 11 × 11 blur of σ 5, along the smooth axes. "xplique":
        the logit, ten steps, and zeros.
      pixels_per_step: how many pixels enter at each step, all channels at once.
      num_steps: the number of equal steps, in place of `pixels_per_step`.
      baseline: the image to begin with: a number; an array of the shape of an image, of all of them or of their last axis,
        (H, W, C), (N, H, W, C) or (C,); "blur" for a Gaussian along the smooth axes, whose standard deviation is 9 % of
        the shorter side; "mean" for the mean along them; "past_mean" for the mean of the values up to each, along the
        first axis; or "rise_blur".
      score: the function of the model's scores: "softmax", "sigmoid" or "logit".
      chunk_size: the most images that the model gets at a time, to bound memory; None for 32.

    Returns:
      a `Curve` from no pixels to all of them. A map with NaN has scores of NaN.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.array([[[1.0], [5.0], [2.0], [0.0]]])
      >>> curve = insertion(lambda x: x.sum(axis=(1, 2)), image, 0, image[..., 0], baseline=0.0, num_steps=4, score="logit")
      >>> curve.shares.tolist(), curve.scores.tolist(), float(curve.auc)
      ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 5.0, 7.0, 8.0, 8.0], 6.0)

    Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.

    Differences from RISE's code: ties keep reading order. From Xplique's: there is a curve for each image, rather than
      the mean over images.
    """
    record = find("protocol", protocol, PROTOCOLS, Protocol)
    return _flip(model, images, targets, maps, axes, record, pixels_per_step, num_steps, baseline, score, chunk_size, inserting=True)


def deletion(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    *,
    axes: Axes | str | None = None,
    protocol: str | Protocol = "rise",
    pixels_per_step: int | None = None,
    num_steps: int | None = None,
    baseline: Any = None,
    score: str | None = None,
    chunk_size: int | None = None,
) -> Curve:
    """The score while the pixels of the image are deleted, the most important first; a low area under the curve is good.

    Args:
      model, images, targets, maps, axes, protocol, pixels_per_step, num_steps, score, chunk_size: as in `insertion`.
      baseline: the image to end with, as in `insertion`. Both protocols end with zeros, the mean colour of normalised
        images.

    Returns:
      a `Curve` from the whole image to none of it. A map with NaN has scores of NaN.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.array([[[1.0], [5.0], [2.0], [0.0]]])
      >>> curve = deletion(lambda x: x.sum(axis=(1, 2)), image, 0, image[..., 0], num_steps=4, score="logit")
      >>> curve.scores.tolist(), float(curve.auc)
      ([8.0, 3.0, 1.0, 0.0, 0.0], 2.0)

    Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.

    Differences from RISE's and Xplique's code: as for `insertion`.
    """
    record = find("protocol", protocol, PROTOCOLS, Protocol)
    return _flip(model, images, targets, maps, axes, record, pixels_per_step, num_steps, baseline, score, chunk_size, inserting=False)


def pixel_flipping(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    *,
    axes: Axes | str | None = None,
    cell: int | tuple[int, ...] = 9,
    cells_per_step: int = 1,
    num_steps: int | None = 100,
    baseline: Any = 0.0,
    score: str = "logit",
    chunk_size: int | None = None,
) -> Curve:
    """The score while square cells of the image are flipped to a baseline, those of the largest sum of the map first.

    `curve.aopc` is the mean fall of the score, the area over the perturbation curve; a high one is good. All channels
    of a pixel flip at once.

    Args:
      model, images, targets, axes, score, chunk_size: as in `insertion`.
      maps: (H, W), or (N, H, W), or with the masked axes of other inputs. Ties are taken in reading order, as are the whole
        cells of a constant map.
      cell: the side of the cells in pixels; 1 for pixels. The last cells end at the border. Of other axes, a number holds
        along the smooth ones, and along the others, such as features, cells have one place each; a tuple has a side for
        each masked axis.
      cells_per_step: how many cells flip at each step.
      num_steps: the number of steps, at most as many as there are cells to flip; None: until all are flipped.
      baseline: the content of flipped cells, as in `insertion`; the paper fills them with uniform noise.

    Returns:
      a `Curve` from the whole image on. A map with NaN has scores of NaN.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.array([[[1.0], [5.0], [2.0], [0.0]]])
      >>> curve = pixel_flipping(lambda x: x.sum(axis=(1, 2)), image, 0, image[..., 0], cell=1, num_steps=2)
      >>> curve.scores.tolist(), float(curve.aopc)
      ([8.0, 3.0, 1.0], 4.0)

    Source: Samek, Binder, Montavon, Lapuschkin and Müller, "Evaluating the Visualization of What a Deep Neural Network
      Has Learned", IEEE TNNLS 2017; for pixels, Bach et al., PLOS ONE 2015.
    """
    images, layout = check_inputs(images, axes, model)
    sides = _check_cell(cell, layout)
    check_count("cells_per_step", cells_per_step, 1)
    if num_steps is not None:
        check_count("num_steps", num_steps, 1)
    grid = tuple(-(-n // side) for n, side in zip(layout.size, sides, strict=True))
    flipped = counts_of(grid, cells_per_step)[: None if num_steps is None else num_steps + 1]
    call, length = prepare_altered(model, images, 0 if targets is None else targets, maps, len(flipped), score, chunk_size, layout.axes)
    baselines = substitute("baseline", baseline, call.images, layout)
    settings = dict(length=length, score=score, cell=sides, auc=trapezoids, predicted=targets is None)
    scores, auc = call.compute(_scores_of_steps, call.images, baselines, flipped.astype(np.int32), **settings)
    return Curve(jnp.asarray(flipped / math.prod(grid), jnp.float32), scores, auc)


def _check_cell(cell: Any, layout: Layout) -> tuple[int, ...]:
    """The sides of cells, one for each axis of a map."""
    if not isinstance(cell, tuple):
        check_count("cell", cell, 1)
        return layout.along(cell, 1)
    if len(cell) != len(layout.size):
        raise ValueError(f"cell must be a number of places, or {layout.sides}, got {cell!r}")
    for side in cell:
        check_count("cell", side, 1)
    return cell


def _flip(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    axes: Axes | str | None,
    protocol: Protocol,
    pixels_per_step: int | None,
    num_steps: int | None,
    baseline: Any,
    score: str | None,
    chunk_size: int | None,
    inserting: bool,
) -> Curve:
    """Insertion or deletion."""
    images, layout = check_inputs(images, axes, model)
    score = protocol.score if score is None else score
    check_choice("score", score, SCORES)
    counts = _counts(layout.size, protocol, pixels_per_step, num_steps)
    call, length = prepare_altered(model, images, 0 if targets is None else targets, maps, len(counts), score, chunk_size, layout.axes)
    usual = protocol.inserted_into if inserting else protocol.deleted_to
    if baseline is None and callable(usual):
        others = layout.fold(usual(jnp.asarray(layout.unfold(call.images))))
    else:
        others = substitute("baseline", usual if baseline is None else baseline, call.images, layout)
    starts, ends = (others, call.images) if inserting else (call.images, others)
    settings = dict(length=length, score=score, cell=(1,) * len(layout.size), auc=protocol.auc, predicted=targets is None)
    scores, auc = call.compute(_scores_of_steps, starts, ends, counts.astype(np.int32), **settings)
    return Curve(jnp.asarray(counts / math.prod(layout.size), jnp.float32), scores, auc)


def _counts(size: tuple[int, ...], protocol: Protocol, pixels_per_step: int | None, num_steps: int | None) -> np.ndarray:
    if pixels_per_step is not None and num_steps is not None:
        raise ValueError(f"pass either pixels_per_step or num_steps, got both, {pixels_per_step} and {num_steps}")
    if pixels_per_step is not None:
        check_count("pixels_per_step", pixels_per_step, 1)
        return counts_of(size, pixels_per_step)
    if num_steps is not None:
        check_count("num_steps", num_steps, 1)
        return equal_counts(size, num_steps)
    return protocol.counts(size)


def _scores_of_steps(
    model: Model,
    images: Float[Array, "N ... C"],
    targets: Int[Array, " N"],
    maps: Float[Array, "N ..."],
    starts: Float[Array, "N ... C"],
    ends: Float[Array, "N ... C"],
    counts: Int[Array, " T"],
    *,
    length: int,
    score: str,
    cell: tuple[int, ...],
    auc: Callable[[Array], Array],
    predicted: bool,
) -> tuple[Float[Array, "N T"], Float[Array, " N"]]:
    """The scores after each step, when so many cells of the starts have turned into the ends, and the area under them."""
    sums = maps if set(cell) == {1} else cells(maps, cell)
    places = ranks(sums.reshape(len(maps), -1, 1)).reshape(sums.shape)
    if predicted:
        targets = for_each(lambda of, _: responses(model, "logit", images[of], None).argmax(axis=-1), len(images), 1, length)[:, 0]

    def chunk(of: Array, step: Array) -> Array:
        turned = pixels(places[of] < jnp.expand_dims(counts[step], range(1, places.ndim)), cell, images.shape[1:-1])
        return scores_of(model, score, jnp.where(turned[..., None], ends[of], starts[of]), targets[of])

    scores = nan_where_unknown(for_each(chunk, len(images), len(counts), length), maps)
    return scores, auc(scores)
