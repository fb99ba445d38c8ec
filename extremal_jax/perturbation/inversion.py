"""Feature inversion: the picture that a layer's activation stands for.

    x* = argmax_x  O(Φ_l(x), t) − λ TV(x),    t = m · Φ_l(x₀)

The mask m keeps some of the channels of an image's activation, or all; the picture found shows what these channels see. The picture is a
sum of waves (`fourier`), moved a little at random before each step (`transforms`), and found by the solver that also finds masks.

Objectives, with all places and channels of an activation as one vector:

    dot:      ⟨Φ_l(x), t⟩ / ‖t‖² · max(cos, 0.1)^p,    cos = ⟨Φ_l(x), t⟩ / (‖Φ_l(x)‖ ‖t‖)
    l2:       −‖Φ_l(x) − t‖² / ‖t‖²
    mean:     ⟨Φ_l(x), t⟩ / Σ t; for one channel, t = 1 there and 0 elsewhere, its mean

The dot product alone grows with any activation at all; weighted by the cosine, it must point where t does.

Sources: Fong, Patrick and Vedaldi (2019), section 5; Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them",
CVPR 2015; Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Int

from extremal_jax.errors import check_choice
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.perturbation import solver
from extremal_jax.perturbation.driver import drive
from extremal_jax.perturbation.fourier import pictures, spectrum_shape
from extremal_jax.perturbation.inputs import AnyArray
from extremal_jax.perturbation.model import Model
from extremal_jax.perturbation.optimizers import adam
from extremal_jax.perturbation.schedules import Cosine, Schedule, schedule_values
from extremal_jax.perturbation.solver import NEVER, Now
from extremal_jax.perturbation.storage import Saved
from extremal_jax.perturbation.tail import part_before
from extremal_jax.perturbation.transforms import draw_movements, move
from extremal_jax.progress import Watcher
from extremal_jax.pytrees import pytree

OBJECTIVES = ("dot", "l2")
_LEAST_COSINE = 0.1  # so that a picture that shows nothing yet has somewhere to go


@dataclass(frozen=True, kw_only=True)
class NaturalImages:
    """What a picture should look like, apart from what excites the layer: the prior of feature inversion.

    Attributes:
      decay: how fast the waves' amplitudes fall with their frequency, where the ascent moves all alike; 0 is white noise, 1 as in nature.
      correlation: of each pair of colour channels, at least 0 and below 1.
      contrast: of the noise to start from, in units of the sigmoid's argument.
      jitter: the most that the picture is shifted before a step, as a share of its shorter side.
      rotation: the most that it is turned, in degrees.
      scale: the most that it is enlarged or shrunk, as a share.
      total_variation: λ, the cost of the mean difference between neighbouring pixels, in units of the objective.
    """

    decay: float = 1.0
    correlation: float = 0.8
    contrast: float = 0.3
    jitter: float = 0.03
    rotation: float = 5.0
    scale: float = 0.05
    total_variation: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
                raise ValueError(f"{field.name} must be a number, not negative, got {value!r}")
        if self.correlation >= 1 or self.scale >= 1:
            raise ValueError(f"correlation and scale must be below 1, got {self.correlation} and {self.scale}")


@pytree()
class InversionStatus:
    """Whether a run went well.

    Attributes:
      nonfinite_step: (...), the first step at which the objective or its gradient was not finite, or −1. From then on the picture stayed.
    """

    nonfinite_step: Int[AnyArray, "*N"]

    @property
    def ok(self) -> bool:
        """Whether everything stayed finite."""
        return not np.any(np.asarray(self.nonfinite_step) != NEVER)

    @property
    def message(self) -> str:
        """What went wrong, where and when, a line for each picture; "finished" if nothing did."""
        steps = np.atleast_1d(np.asarray(self.nonfinite_step))
        lines = [
            f"picture {index}: the objective or its gradient was not finite at step {steps[index]}; it is that of the step before"
            for index in np.flatnonzero(steps != NEVER)
        ]
        return "\n".join(lines) or "finished"

    def __str__(self) -> str:
        return self.message


@pytree()
class InversionResult(Saved, mark="extremal_jax inversion 1", status=InversionStatus):
    """Pictures found by feature inversion: one, or a batch of N. A pytree.

    Attributes:
      images: (..., H, W, C), RGB in [0, 1].
      values: (...), the objective of each, not moved.
      cosines: (...), of the angle between each picture's activation and the one asked for.
      params: (..., 2, H, W // 2 + 1, C), the pictures' waves.
      history: (..., T), the objective step by step, of moved pictures.
      status: whether everything stayed finite.
    """

    images: Float[AnyArray, "*N H W C"]
    values: Float[AnyArray, "*N"]
    cosines: Float[AnyArray, "*N"]
    params: Float[AnyArray, "*N 2 H F C"]
    history: Float[AnyArray, "*N T"]
    status: InversionStatus


def invert_features(
    model: Model,
    activation: Any,
    at: str,
    mask: Any = None,
    *,
    key: Array,
    objective: str = "dot",
    steps: int = 200,
    shape: tuple[int, int] | None = None,
    normalize: tuple[Any, Any] | None = None,
    cosine_power: float = 2.0,
    prior: NaturalImages | None = None,
    learning_rate: Schedule | None = None,
    optimizer: optax.GradientTransformation = adam,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> InversionResult:
    """The picture whose activation at a layer is nearest to one that is given.

    Args:
      model: any function of images (B, H, W, C) that names its activation.
      activation: of one image at the layer, (h, w, channels) or (tokens, channels) or (channels,), or of a batch, (N, ...); `graph.capture`
        reads it.
      at: the layer's name; `graph.cuts` lists those that will do.
      mask: what to keep of the activation: (channels,), or (N, channels), or anything of the activation's rank that broadcasts against it.
      key: of the noise to start from and of the movements. All pictures of a batch start from the same, so that they can be compared.
      objective: "dot", the inner product weighted by the cosine, or "l2", the distance.
      steps: how many, each one forward and backward pass of the layers up to this one.
      shape: (H, W) of the picture; None: the model's `input_size`.
      normalize: (mean, standard deviation) of the model's input, for values in [0, 1]: numbers, or one per channel. None: those of the
        model's `preprocessing`, or no change where it has none.
      cosine_power: p, for the objective "dot".
      prior: what a picture should look like; None: `NaturalImages()`.
      learning_rate: a schedule. None: a cosine from 0.1 to 0 with the default optimizer, and 1 with another, whose own rate then stands.
      optimizer: any optax transformation of one picture's waves.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most pictures that are shown to the model at a time, to bound memory.

    Returns:
      An `InversionResult`, with a leading axis N for a batch.

    Raises:
      TypeError, ValueError: for arguments that do not fit, in a sentence that names the argument, what came and what is expected.

    Example:
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):
      ...     return checkpoint_name(images[:, ::4, ::4], "coarse")
      >>> seen = jnp.zeros((4, 4, 3)).at[:, :2].set(1.0)
      >>> result = invert_features(model, seen, "coarse", key=jax.random.key(0), objective="l2", shape=(16, 16), steps=30)
      >>> result.images.shape, bool(result.cosines > 0.99)
      ((16, 16, 3), True)
    """
    check_choice("objective", objective, OBJECTIVES)
    target, count, pose = _check_target(model, activation, at, mask, shape, normalize, chunk_size)
    prior = prior or NaturalImages()
    plan = _Plan(*pose.program, objective, optimizer, chunk_size)
    problem = _Inversion(pose.arrays, target, pose.mean, pose.std, _weights(prior, cosine_power), plan)
    return _solve(problem, prior, count, key, steps, learning_rate, progress)


def maximize_channel(
    model: Model,
    channels: Any,
    at: str,
    *,
    key: Array,
    steps: int = 200,
    shape: tuple[int, int] | None = None,
    normalize: tuple[Any, Any] | None = None,
    prior: NaturalImages | None = None,
    learning_rate: Schedule | None = None,
    optimizer: optax.GradientTransformation = adam,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> InversionResult:
    """The picture that excites a channel of a layer most, in the mean over its places: what the channel looks for.

    A rectified channel that the noise to start from excites nowhere has no slope, and its `value` stays 0; another key, or a prior of more
    contrast, may help.

    Args:
      channels: the index of a channel, or several, (N,), with one picture for each.

    The other arguments, the result and the errors are those of `invert_features`.

    Example:
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> result = maximize_channel(lambda x: checkpoint_name(x, "pixels"), 2, "pixels", key=jax.random.key(0), shape=(8, 8))
      >>> bool(result.images[..., 2].mean() > 0.8)  # blue
      True
    """
    indices = np.asarray(channels)
    if indices.ndim > 1 or not np.issubdtype(indices.dtype, np.integer) or indices.size == 0:
        raise ValueError(f"channels must be the index of a channel, or a list of them, got {channels!r}")
    several = np.atleast_1d(indices)
    pose = _pose(model, at, len(several), shape, normalize, chunk_size)
    num_channels = pose.activation[-1]
    bad = several[(several < 0) | (several >= num_channels)]
    if bad.size:
        raise ValueError(f"channels must be from 0 to {num_channels - 1} at the layer {at!r}, got {bad[0]}")
    chosen = np.zeros((len(several), *pose.activation), np.float32)
    for row, index in zip(chosen, several, strict=True):
        row[..., index] = 1
    prior = prior or NaturalImages()
    plan = _Plan(*pose.program, "mean", optimizer, chunk_size)
    problem = _Inversion(pose.arrays, jnp.asarray(chosen), pose.mean, pose.std, _weights(prior, 1.0), plan)
    return _solve(problem, prior, len(several) if indices.ndim else None, key, steps, learning_rate, progress)


@dataclass(frozen=True)
class _Plan:
    """What shapes the compiled program.

    Attributes:
      head: the model up to the layer, without its arrays.
      shape: (H, W, C) of the picture.
      objective: "dot", "l2" or "mean".
      optimizer: of one picture's waves.
      chunk_size: the most pictures that are shown to the model at a time, or None.
    """

    head: Program
    shape: tuple[int, int, int]
    objective: str
    optimizer: optax.GradientTransformation
    chunk_size: int | None


class _Weights(NamedTuple):
    """The numbers of an objective; arguments of the compiled program."""

    decay: Array
    correlation: Array
    total_variation: Array
    cosine_power: Array


def _weights(prior: NaturalImages, cosine_power: float) -> _Weights:
    return _Weights(*(jnp.float32(x) for x in (prior.decay, prior.correlation, prior.total_variation, cosine_power)))


class _Record(NamedTuple):
    """What is noted of a step, picture by picture: the objective, and the total variation."""

    rewards: Array
    total_variation: Array


@pytree(static=("plan",))
class _Inversion:
    """An objective over N pictures. A pytree.

    Attributes:
      arrays: the model's.
      targets: (N, ...), t.
      mean: (C,), of the model's input.
      std: (C,), likewise.
      weights: numbers.
      plan: what shapes the program.
    """

    arrays: Arrays
    targets: Array
    mean: Array
    std: Array
    weights: _Weights
    plan: _Plan

    def __call__(self, params: Array, elements: Array | None, now: Now) -> tuple[Array, _Record]:
        images = self.images(params)
        values, _ = self.compare(move(images, now["shift"], now["angle"], now["zoom"]), elements)
        down, across = (jnp.abs(jnp.diff(images, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2))
        variation = down + across
        return values - self.weights.total_variation * variation, _Record(values, variation)

    def images(self, params: Array) -> Array:
        """(R, H, W, C) in [0, 1]."""
        return pictures(params, self.plan.shape[1], decay=self.weights.decay, correlation=self.weights.correlation)

    def compare(self, images: Array, elements: Array | None) -> tuple[Array, Array]:
        """The objective and the cosine of pictures, (R,) each."""
        activation = self.plan.head(self.arrays, (images - self.mean) / self.std).astype(jnp.float32)
        targets = self.targets if elements is None else self.targets[elements]
        a, t = activation.reshape(len(images), -1), targets.reshape(len(images), -1)
        product, squared = (a * t).sum(axis=1), (t * t).sum(axis=1)
        # The root of a sum of squares has no slope at zero, where a picture excites nothing.
        cosine = product * jax.lax.rsqrt(jnp.maximum((a * a).sum(axis=1) * squared, 1e-12))
        if self.plan.objective == "l2":
            return -jnp.square(a - t).sum(axis=1) / squared, cosine
        if self.plan.objective == "mean":
            return product / t.sum(axis=1), cosine
        return product / squared * jnp.maximum(cosine, _LEAST_COSINE) ** self.weights.cosine_power, cosine


class _Pose(NamedTuple):
    """A model up to a layer, ready for pictures.

    Attributes:
      program: the head, and the shape (H, W, C) of a picture.
      arrays: the model's.
      activation: the shape of one picture's activation.
      mean: (C,), of the model's input.
      std: (C,), likewise.
    """

    program: tuple[Program, tuple[int, int, int]]
    arrays: Arrays
    activation: tuple[int, ...]
    mean: Array
    std: Array


def _pose(
    model: Model, at: str, count: int, shape: tuple[int, int] | None, normalize: tuple[Any, Any] | None, chunk_size: int | None
) -> _Pose:
    if not callable(model):
        raise TypeError(f"model must be a function of images (B, H, W, C), got {type(model).__name__}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    shape = shape or getattr(model, "input_size", None)
    if shape is None:
        raise ValueError("shape must be given, (height, width) of the picture: the model has no `input_size`")
    height, width = shape
    if normalize is None:
        preprocessing = getattr(model, "preprocessing", None)
        normalize = (0.0, 1.0) if preprocessing is None else (preprocessing.mean, preprocessing.std)
    mean, std = (jnp.broadcast_to(jnp.asarray(values, jnp.float32), (3,)) for values in normalize)
    example = jax.ShapeDtypeStruct((min(count, chunk_size or count), height, width, 3), jnp.float32)
    head, arrays = part_before(model, at, example)
    activation = jax.eval_shape(head, arrays, example).shape[1:]
    return _Pose((head, (height, width, 3)), arrays, activation, mean, std)


def _check_target(
    model: Model,
    activation: Any,
    at: str,
    mask: Any,
    shape: tuple[int, int] | None,
    normalize: tuple[Any, Any] | None,
    chunk_size: int | None,
) -> tuple[Array, int | None, _Pose]:
    """The masked activations (N, ...), N if there is a batch, and the model for as many pictures."""
    activation = jnp.asarray(activation)
    single = _pose(model, at, 1, shape, normalize, chunk_size).activation
    if activation.shape not in (single, (len(activation) if activation.ndim else 0, *single)) or not activation.size:
        raise ValueError(
            f"activation must have the shape {single} that the layer {at!r} has for a picture of this shape, or (N, ...) of it, got"
            f" {activation.shape}"
        )
    if not jnp.issubdtype(activation.dtype, jnp.floating):
        raise TypeError(f"activation must hold floats, got {activation.dtype}")
    count = len(activation) if activation.ndim > len(single) else None
    target = activation.astype(jnp.float32)
    if mask is not None:
        mask = jnp.asarray(mask)
        places = (1,) * (len(single) - 1)
        if mask.shape == single[-1:]:
            mask = mask.reshape(*places, -1)
        elif count is not None and mask.shape == (count, single[-1]):
            mask = mask.reshape(count, *places, -1)
        elif mask.ndim != target.ndim or any(m not in (1, n) for m, n in zip(mask.shape, target.shape, strict=True)):
            raise ValueError(
                f"mask must have the shape {single[-1:]}, a value for each channel, or one that broadcasts against the activation's"
                f" {target.shape}, got {mask.shape}"
            )
        target = target * mask
    target = target if count is not None else target[None]
    if not isinstance(target, Tracer):
        squares = np.square(np.asarray(target)).reshape(len(target), -1).sum(axis=1)
        if not np.all(np.isfinite(squares)):
            raise ValueError("activation and mask must be finite, got NaN or infinity among the values")
        if not np.all(squares > 0):
            raise ValueError(f"the masked activation {np.argmin(squares)} is zero everywhere: there is nothing to look for")
    return target, count, _pose(model, at, len(target), shape, normalize, chunk_size)


def _solve(
    problem: _Inversion,
    prior: NaturalImages,
    count: int | None,
    key: Array,
    steps: int,
    learning_rate: Schedule | None,
    progress: bool | Watcher | None,
) -> InversionResult:
    """The run, as that of masks: `init`, `step` and the driver."""
    plan = problem.plan
    if not isinstance(steps, numbers.Integral) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps must be a whole number, at least 1, got {steps!r}")
    if learning_rate is None:
        learning_rate = Cosine(0.1) if plan.optimizer is adam else 1.0
    noise, movements = jax.random.split(key)
    height, width, channels = plan.shape
    schedule = {
        "step": np.arange(steps, dtype=np.int32),
        "learning_rate": schedule_values("learning_rate", learning_rate, steps),
        **draw_movements(movements, steps, prior.jitter * min(height, width), prior.rotation, prior.scale),
    }
    start = prior.contrast * jax.random.normal(noise, spectrum_shape(height, width, channels))
    state = solver.init(plan.optimizer, jnp.broadcast_to(start, (len(problem.targets), *start.shape)))
    state, record = drive(jax.tree_util.Partial(_advance, problem), state, schedule, progress)
    result = _conclude(problem, state, record)
    return result if count is not None else jax.tree.map(lambda x: x[0], result)


@jax.jit
def _advance(problem: _Inversion, state: solver.State, schedule: Now) -> tuple[solver.State, _Record]:
    plan = problem.plan
    return solver.scan(problem, plan.optimizer, state, schedule, plan.chunk_size, solver.everywhere)


@jax.jit
def _conclude(problem: _Inversion, state: solver.State, record: _Record) -> InversionResult:
    def final(params: Array, elements: Array | None) -> tuple[Array, ...]:
        images = problem.images(params)
        return images, *problem.compare(images, elements)

    images, values, cosines = solver.in_chunks(final, problem.plan.chunk_size)(state.params)
    history = jnp.moveaxis(record.rewards, 0, -1)
    return InversionResult(images, values, cosines, state.params, history, InversionStatus(state.nonfinite_step))
