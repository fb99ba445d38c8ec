"""I-GOS and iGOS++: masks found by descent along the integrated gradient of the perturbed image's score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from extremal_jax.attribution.common import Maps, Model, Resize, Smooth, prepare, wide
from extremal_jax.attribution.evaluations import (
    GRADIENT_CHUNK,
    SCORES,
    blend,
    check_sides,
    chunk_length,
    draw_each,
    responses,
    sum_in_chunks,
)
from extremal_jax.attribution.method import Method, images_only
from extremal_jax.boundary.baselines import substitute
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.checks import check_choice, check_count, check_key, check_not_negative, check_positive
from extremal_jax.ground.filters import resize as resized

_USUAL_RESOLUTION = 28
_SLOPE = 1e-4  # the share of the promised descent that a step must keep
_SHRINK = 0.5  # from one length of a step to the next
_TRIALS = 6  # lengths of a step


class Term(NamedTuple):
    """A term of the objective: the score of the image under one mask.

    Attributes:
      mask: the index of the mask.
      inserts: False: the mask deletes, and the score counts; True: its complement inserts, and minus the score counts.
    """

    mask: int
    inserts: bool


class Weights(NamedTuple):
    """The numbers of a run, all of shape ().

    Attributes:
      area: of the mean of 1 − M.
      variation: of the total variation.
      similarity: the difference of colour, as a share of the image's range, over which the variation counts less;
        infinity: the same everywhere.
      noise: standard deviation, as a share of the image's range.
    """

    area: Float[Array, ""]
    variation: Float[Array, ""]
    similarity: Float[Array, ""]
    noise: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
    """The static settings of a run, as in `igos`.

    Attributes:
      terms: of the objective.
      length: the number of images that the model gets at a time.
    """

    num_steps: int
    num_points: int
    score: str
    length: int
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        check_count("num_steps", self.num_steps, 1)


_DELETION = (Term(0, inserts=False),)
_BILATERAL = (Term(0, inserts=False), Term(1, inserts=True), Term(2, inserts=False), Term(2, inserts=True))


@images_only
def igos(
    model: Model,
    images: Any,
    targets: Any,
    *,
    num_steps: int = 15,
    num_points: int = 20,
    resolution: int | tuple[int, int] | None = None,
    area_weight: float = 1.0,
    variation_weight: float = 20.0,
    noise: float = 0.02,
    baseline: Any = "blur",
    score: str = "softmax",
    key: Array | None = None,
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*N h w"]:
    """One minus the small mask whose deletion lowers the target's probability most, found by integrated gradients.

        min_M  p(Φ(x, M)) + λ₁ mean(1 − M) + λ₂ TV(M),   Φ(x, M) = M x + (1 − M) x̃

    The mask is coarse, and enlarged by bilinear interpolation. It starts as one everywhere. A step descends along the
    gradient, in which that of p is replaced by its mean over the line from M to the mask of zeros:

        (1 / S) Σ_s ∂p(Φ(x, m)) / ∂m  at  m = s/S M

    So the direction aims at the global change that full deletion makes, and does not vanish where p is saturated. A step
    is as long as Armijo's rule allows: of six lengths, the first of which changes one cell by one and each of the others
    is half as long, the first that lowers the objective, or else the last.

    Args:
      model, images, targets, resize, smooth: as in `gradient`, except that scores at several positions are averaged.
      num_steps: the steps of descent.
      num_points: S, of the sum that approximates the integral.
      resolution: the number of cells along each side of the mask, or (rows, columns); None: 28, or the side of the image
        where that is less.
      area_weight: λ₁.
      variation_weight: λ₂; TV is the sum of the squared differences of neighbouring cells, divided by the number of cells.
      noise: standard deviation of the noise that is added to the images of the integral, as a share of each image's
        range.
      baseline: x̃, as in `integrated_gradients`.
      score: the function p of the model's scores, as in `rise`.
      key: of the noise, which is the same for all images; None: `jax.random.key(0)`.
      chunk_size: the most images that the model gets at a time, to bound memory; None for 16.

    Returns:
      (N, H, W) in [0, 1], or (H, W) for a single image.

    Raises, Warns: as `gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of the upper half
      ...     return 10 * x[:, :8].mean((1, 2, 3))[:, None]
      >>> map = igos(model, jnp.ones((16, 16, 3)), 0, num_steps=5, resolution=8, baseline=0.0, score="logit")
      >>> bool(map[:8].mean() > 3 * map[8:].mean())
      True

    Source: Qi, Khorram and Li, "Visualizing Deep Networks by Optimizing with Integrated Gradients", AAAI 2020.

    Differences from the authors' implementation: its defaults 1 and 20 of the weights, 15 steps, 20 points and 28 cells
      are ours too; the lengths of a step and the amount of noise are ours. It differentiates by M rather than by m, so
      that the point s counts s/S, and the scores weigh half as much against the penalties. Its search for a step evaluates the
      mean score of the line, with noise, in place of the objective.
    """
    check_choice("score", score, SCORES)
    length = chunk_length("num_points", num_points, chunk_size, GRADIENT_CHUNK)
    weights = _weights(area_weight, variation_weight, math.inf, noise)
    settings = Settings(num_steps, num_points, score, length, _DELETION)
    task = prepare("igos", model, images, targets, resize, smooth, length)
    arrays = substitute("baseline", baseline, task.images, task.layout), check_key(key), weights
    return task.differentiate(_descend, *arrays, settings=settings, cells=_cells(resolution, task.images.shape))


@images_only
def igos_plus_plus(
    model: Model,
    images: Any,
    targets: Any,
    *,
    num_steps: int = 10,
    num_points: int = 10,
    resolution: int | tuple[int, int] | None = None,
    area_weight: float = 1.0,
    variation_weight: float = 20.0,
    similarity: float = 0.1,
    noise: float = 0.02,
    baseline: Any = "blur",
    score: str = "softmax",
    key: Array | None = None,
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*N h w"]:
    """One minus the product of a mask that deletes and one that inserts, found together by integrated gradients.

        min_{M, M'}  p(Φ(x, M)) − p(Φ(x, 1 − M')) + p(Φ(x, M M')) − p(Φ(x, 1 − M M')) + λ₁ mean(1 − M M') + λ₂ BTV(M M')

    What one mask deletes lowers the target's probability p, what the other one inserts into the blurred image raises it,
    and their product does both. BTV is the total variation, in which a difference of neighbouring cells counts less the
    more their colours differ: times exp(−d² / 2σ²). The descent is that of `igos`; the line of integration leads from
    the masks to masks of zeros, for insertion to the image itself.

    Args:
      model, images, targets, resize, smooth: as in `gradient`, except that scores at several positions are averaged.
      num_steps, num_points, resolution, area_weight, variation_weight, noise, baseline, score, key: as in `igos`; of a
        point of the integral, the model gets four images.
      similarity: σ, as a share of each image's range; d is the root mean square over channels.
      chunk_size: the most images that the model gets at a time, to bound memory; None for 16.

    Returns:
      (N, H, W) in [0, 1], or (H, W) for a single image.

    Raises, Warns: as `gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of the upper half
      ...     return 10 * x[:, :8].mean((1, 2, 3))[:, None]
      >>> options = dict(num_points=3, resolution=8, variation_weight=1.0, baseline=0.0, score="logit")
      >>> map = igos_plus_plus(model, jnp.ones((16, 16, 3)), 0, **options)
      >>> bool(map[:8].mean() > 3 * map[8:].mean())
      True

    Source: Khorram, Lawson and Li, "iGOS++: Integrated Gradient Optimized Saliency by Bilateral Perturbations", CHIL 2021.

    Differences from the authors' implementation: its defaults are 20 points and 15 steps, three times the cost; it halves
      the gradient of the scores once more, and takes the mean of plain and bilateral total variation; σ is a share of the
      image's range; otherwise as in `igos`.
    """
    check_choice("score", score, SCORES)
    check_positive("similarity", similarity, ", a share of the image's range")
    check_count("num_points", num_points, 1)
    length = chunk_length("num_points", num_points * len(_BILATERAL), chunk_size, GRADIENT_CHUNK)
    weights = _weights(area_weight, variation_weight, similarity, noise)
    settings = Settings(num_steps, num_points, score, length, _BILATERAL)
    task = prepare("igos_plus_plus", model, images, targets, resize, smooth, length)
    arrays = substitute("baseline", baseline, task.images, task.layout), check_key(key), weights
    return task.differentiate(_descend, *arrays, settings=settings, cells=_cells(resolution, task.images.shape))


def _weights(area: Any, variation: Any, similarity: float, noise: Any) -> Weights:
    """The checked numbers of a run."""
    check_not_negative("area_weight", area)
    check_not_negative("variation_weight", variation)
    check_not_negative("noise", noise, ", a share of the image's range")
    return Weights(*(jnp.float32(value) for value in (area, variation, similarity, noise)))


def _cells(resolution: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of a mask of images (N, H, W, C)."""
    size = shape[1], shape[2]
    if resolution is None:
        return min(_USUAL_RESOLUTION, size[0]), min(_USUAL_RESOLUTION, size[1])
    rows, columns = check_sides("resolution", resolution, "cells, or (rows, columns)", "the image's", size)
    return rows, columns


def _descend(
    model: Model,
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    baselines: Float[Array, "N H W C"],
    key: Array,
    weights: Weights,
    *,
    settings: Settings,
    cells: tuple[int, int],
) -> Maps:
    """The maps of all images, one after the other."""

    def descend(triple: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        objective = _Objective(model, *triple, weights, settings, cells)
        ones, _ = varying_alike(jnp.ones((1 if len(settings.terms) == 1 else 2, *cells), jnp.float32), triple[0])

        def step(masks: Float[Array, "K h w"], index: Array) -> tuple[Array, Array]:
            parts, back = jax.vjp(_parts, masks)
            sent = objective.integral(parts, jax.random.fold_in(key, index))
            gradient = back(sent)[0] + jax.grad(objective.penalty)(masks)
            return _search(objective, masks, gradient), jnp.abs(sent)

        masks, sent = lax.scan(step, ones, jnp.arange(settings.num_steps, dtype=jnp.int32))
        evidence = 1 - _parts(masks)[-1]
        return resized(evidence[..., None], (images.shape[1], images.shape[2]))[..., 0], sent.sum(axis=0)

    return Maps(*lax.map(descend, (images, targets, baselines)))


@dataclass(frozen=True)
class _Objective:
    """The objective of one image, (H, W, C), and its target, as a function of masks."""

    model: Model
    image: Array
    target: Array
    baseline: Array
    weights: Weights
    settings: Settings
    cells: tuple[int, int]

    def __call__(self, masks: Float[Array, "R K h w"]) -> Float[Array, " R"]:
        """The objectives of R sets of masks."""
        parts, terms = jax.vmap(_parts)(masks), self.settings.terms

        def chunk(elements: Array, counts: Array) -> Array:
            mask, inserts = self._terms(elements)
            values = self._losses(parts[elements // len(terms), mask], inserts)
            return jnp.zeros(len(masks), jnp.float32).at[elements // len(terms)].add(jnp.where(counts, values, 0))

        return sum_in_chunks(chunk, len(masks) * len(terms), self.settings.length, self.image) + jax.vmap(self.penalty)(masks)

    def penalty(self, masks: Float[Array, "K h w"]) -> Float[Array, ""]:
        """What the product of the masks costs, whatever the model."""
        product = _parts(masks)[-1]
        similar = _similar(wide(self.image), self.weights.similarity * self._span, self.cells)
        return self.weights.area * (1 - product).mean() + self.weights.variation * _variation(product, similar)

    def integral(self, parts: Float[Array, "J h w"], key: Array) -> Float[Array, "J h w"]:
        """The gradient of the scores, averaged over the line from masks to zeros."""
        terms, num_points = self.settings.terms, self.settings.num_points

        def chunk(elements: Array, counts: Array) -> Array:
            shares = ((elements // len(terms) + 1).astype(jnp.float32) / num_points)[:, None, None]
            mask, inserts = self._terms(elements)
            noise = self.weights.noise * self._span * draw_each(key, elements, self.image.shape)

            def total(change: Float[Array, "J h w"]) -> Float[Array, ""]:
                return jnp.where(counts, self._losses(shares * parts[mask] + change[mask], inserts, noise), 0).sum()

            return jax.grad(total)(jnp.zeros_like(parts))

        return sum_in_chunks(chunk, num_points * len(terms), self.settings.length, self.image) / num_points

    def _terms(self, elements: Int[Array, " m"]) -> tuple[Int[Array, " m"], Bool[Array, " m"]]:
        """The mask of each element, which belong to the terms in turn, and whether it inserts."""
        masks, inserts = zip(*self.settings.terms, strict=True)
        index = elements % len(masks)
        return jnp.asarray(masks, jnp.int32)[index], jnp.asarray(inserts)[index]

    def _losses(self, masks: Float[Array, "m h w"], inserts: Bool[Array, " m"], noise: Any = None) -> Float[Array, " m"]:
        """The scores of the image under masks, with the signs of their terms."""
        shown = resized(masks[..., None], (self.image.shape[0], self.image.shape[1]))
        shown = jnp.where(inserts[:, None, None, None], 1 - shown, shown)
        perturbed = blend(shown, self.image, self.baseline)
        perturbed = perturbed if noise is None else perturbed + noise
        scores = responses(self.model, self.settings.score, perturbed.astype(self.image.dtype), self.target)
        return jnp.where(inserts, -scores, scores)

    @property
    def _span(self) -> Float[Array, ""]:
        """The range of the image; 1 for a constant one."""
        span = wide(self.image.max() - self.image.min())
        return jnp.where(span > 0, span, 1)


def _parts(masks: Float[Array, "K h w"]) -> Float[Array, "J h w"]:
    """The masks that the terms show: the parameters' masks and, if there are several, their product."""
    return masks if len(masks) == 1 else jnp.concatenate([masks, masks.prod(axis=0, keepdims=True)])


def _search(objectives: Callable[[Array], Array], masks: Float[Array, "K h w"], gradient: Float[Array, "K h w"]) -> Float[Array, "K h w"]:
    """Take the longest step against the gradient that lowers the objective by a share of what the gradient promises.

    All lengths are tried at once, in place of one after the other; no length at all gives the present objective. The
    shortest is taken where none is good.
    """
    steepest = jnp.abs(gradient).max()
    rates = jnp.asarray([0, *(_SHRINK**trial for trial in range(_TRIALS))], jnp.float32) / jnp.where(steepest > 0, steepest, 1)
    moved = jnp.clip(masks[None] - rates[:, None, None, None] * gradient[None], 0, 1)
    found = objectives(moved)
    promised = (gradient[None] * (masks[None] - moved)).sum(axis=(1, 2, 3))
    good = found[1:] <= found[0] - _SLOPE * promised[1:]
    return moved[1:][jnp.where(good.any(), good.argmax(), _TRIALS - 1)]


def _similar(image: Float[Array, "H W C"], scale: Float[Array, ""], cells: tuple[int, int]) -> tuple[Array, Array]:
    """The similarity of the colours of neighbouring cells, down and across, in [0, 1]."""
    small = jax.image.resize(image, (*cells, image.shape[-1]), "bilinear")
    down, across = (jnp.square(jnp.diff(small, axis=axis)).mean(axis=-1) for axis in (0, 1))
    return jnp.exp(-down / (2 * scale**2)), jnp.exp(-across / (2 * scale**2))


def _variation(mask: Float[Array, "h w"], similar: tuple[Array, Array]) -> Float[Array, ""]:
    """The sum of squared differences of neighbouring cells, weighted by their similarity and divided by the number of cells."""
    down, across = (jnp.square(jnp.diff(mask, axis=axis)) for axis in (0, 1))
    return ((similar[0] * down).sum() + (similar[1] * across).sum()) / mask.size


METHODS = (
    Method("igos", "the small mask whose deletion lowers the score most, by integrated gradients", igos),
    Method("igos_plus_plus", "the small masks whose deletion lowers and whose insertion raises the score most", igos_plus_plus),
)
