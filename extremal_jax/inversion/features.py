"""Feature inversion: the picture that a layer's activation stands for.

    x* = argmax_x  O(Φ_l(x), t) − λ TV(x),    t = m · Φ_l(x₀)

The mask m keeps some of the channels of an image's activation, or all; the picture found shows what these channels see. The picture is a
sum of waves (`fourier`), moved a little at random before each step (`transforms`), and found by the solver that also finds masks.

Sources: Fong, Patrick and Vedaldi (2019), section 5; Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them",
CVPR 2015; Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.core import Tracer

from extremal_jax.boundary.layers import part_before
from extremal_jax.boundary.models import Model, check_model
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.checks import check_choice
from extremal_jax.ground.progress import Watcher
from extremal_jax.inversion.fourier import spectrum_shape
from extremal_jax.inversion.movements import draw_movements
from extremal_jax.inversion.objective import InversionPlan, InversionProblem, InversionRecord, weights_of
from extremal_jax.inversion.prior import NaturalImages
from extremal_jax.inversion.result import InversionResult, InversionStatus
from extremal_jax.optimise import solver
from extremal_jax.optimise.driver import drive
from extremal_jax.optimise.optimizers import adam
from extremal_jax.optimise.schedules import Cosine, Schedule, schedule_values
from extremal_jax.optimise.settings import check_chunk_size, check_count, check_optimizer, check_positive
from extremal_jax.optimise.solver import Now

OBJECTIVES = ("dot", "l2")


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
    check_positive("cosine_power", cosine_power)
    target, count, pose = _check_target(model, activation, at, mask, shape, normalize, chunk_size)
    prior = _check_prior(prior)
    plan = InversionPlan(*pose.program, objective, optimizer, chunk_size)
    problem = InversionProblem(pose.arrays, target, pose.mean, pose.std, weights_of(prior, cosine_power), plan)
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
    if isinstance(channels, Tracer):
        raise TypeError("channels must be known numbers, not traced: what is excited is chosen before anything is compiled")
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
    prior = _check_prior(prior)
    plan = InversionPlan(*pose.program, "mean", optimizer, chunk_size)
    problem = InversionProblem(pose.arrays, jnp.asarray(chosen), pose.mean, pose.std, weights_of(prior, 1.0), plan)
    return _solve(problem, prior, len(several) if indices.ndim else None, key, steps, learning_rate, progress)


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
    check_model(model)
    check_chunk_size(chunk_size)
    shape = shape or getattr(model, "input_size", None)
    if shape is None:
        raise ValueError("shape must be given, (height, width) of the picture: the model has no `input_size`")
    height, width = _check_shape(shape)
    mean, std = _check_normalize(model, normalize)
    example = jax.ShapeDtypeStruct((min(count, chunk_size or count), height, width, 3), jnp.float32)
    head, arrays = part_before(model, at, example)
    activation = jax.eval_shape(head, arrays, example).shape[1:]
    return _Pose((head, (height, width, 3)), arrays, activation, mean, std)


def _array(name: str, value: Any) -> Array:
    array = value if hasattr(value, "dtype") else np.asarray(value)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(f"{name} must be an array of numbers, got {value!r}")
    return jnp.asarray(array)


def _check_prior(prior: NaturalImages | None) -> NaturalImages:
    if prior is not None and not isinstance(prior, NaturalImages):
        raise TypeError(f"prior must be a NaturalImages, such as NaturalImages(total_variation=1.0), got {type(prior).__name__}")
    return NaturalImages() if prior is None else prior


def _check_shape(shape: Any) -> tuple[int, int]:
    sides = np.asarray(shape)
    if sides.shape != (2,) or not np.issubdtype(sides.dtype, np.integer) or sides.min() < 1:
        raise ValueError(f"shape must be (height, width) of the picture, in whole pixels, got {shape!r}")
    return int(sides[0]), int(sides[1])


def _check_normalize(model: Model, normalize: Any) -> tuple[Array, Array]:
    """(mean, standard deviation) of the model's input, (3,) each."""
    if normalize is None:
        preprocessing = getattr(model, "preprocessing", None)
        normalize = (0.0, 1.0) if preprocessing is None else (preprocessing.mean, preprocessing.std)
    try:
        mean, std = (np.broadcast_to(np.asarray(values, np.float32), (3,)) for values in normalize)
    except (TypeError, ValueError) as error:
        raise ValueError(f"normalize must be (mean, standard deviation), numbers or one per channel each, got {normalize!r}") from error
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise ValueError(f"normalize must be finite, with a positive standard deviation, got {normalize!r}")
    return jnp.asarray(mean), jnp.asarray(std)


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
    activation, mask = _array("activation", activation), None if mask is None else _array("mask", mask)
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
    problem: InversionProblem,
    prior: NaturalImages,
    count: int | None,
    key: Array,
    steps: int,
    learning_rate: Schedule | None,
    progress: bool | Watcher | None,
) -> InversionResult:
    """The run, as that of masks: `init`, `step` and the driver."""
    plan = problem.plan
    check_count("steps", steps, 1)
    check_optimizer(plan.optimizer)
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
def _advance(problem: InversionProblem, state: solver.State, schedule: Now) -> tuple[solver.State, InversionRecord]:
    plan = problem.plan
    return solver.scan(problem, plan.optimizer, state, schedule, plan.chunk_size, solver.everywhere)


@jax.jit
def _conclude(problem: InversionProblem, state: solver.State, record: InversionRecord) -> InversionResult:
    def final(params: Array, elements: Array | None) -> tuple[Array, ...]:
        images = problem.images(params)
        return images, *problem.compare(images, elements)

    images, values, cosines = solver.in_chunks(final, problem.plan.chunk_size)(state.params)
    history = jnp.moveaxis(record.rewards, 0, -1)
    return InversionResult(images, values, cosines, state.params, history, InversionStatus(state.nonfinite_step))
