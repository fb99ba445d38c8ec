"""Feature inversion: the picture that a layer's activation stands for.

    x* = argmax_x  O(Φ_l(x), t) − λ TV(x),    t = m · Φ_l(x₀)

The mask m keeps some of the channels of an image's activation, or all. The picture found shows what these channels see.
The picture is a sum of waves (`fourier`), moved a little at random before each step (`movements`), and found by the
solver that also finds masks.

Sources: Fong, Patrick and Vedaldi (2019), section 5; Mahendran and Vedaldi, "Understanding Deep Image Representations
by Inverting Them", CVPR 2015; Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from extremal_jax.boundary.meshes import laid_out_automatically
from extremal_jax.boundary.models import Model, check_differentiable_before, part_before
from extremal_jax.graph.contents import alike
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.checks import as_array, check_chunk_size, check_key, values_of
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.renamed import renamed
from extremal_jax.inversion.config import InversionConfig
from extremal_jax.inversion.fourier import spectrum_shape
from extremal_jax.inversion.movements import draw_movements
from extremal_jax.inversion.objective import InversionPlan, InversionProblem, InversionRecord, Weights
from extremal_jax.inversion.result import InversionResult, InversionStatus
from extremal_jax.optimise import solver
from extremal_jax.optimise.driver import drive
from extremal_jax.optimise.settings import check_settings

_MOVED = {
    old: f"{old} is now {new} of the config: config=InversionConfig({new}=...)"
    for old, new in {
        **{name: name for name in ("objective", "cosine_power", "prior", "learning_rate", "optimizer")},
        "steps": "num_steps",
    }.items()
}


@renamed(**_MOVED)
@laid_out_automatically
def invert_features(
    model: Model,
    activation: Any,
    mask: Any = None,
    *,
    at: str,
    shape: tuple[int, int] | None = None,
    normalize: tuple[Any, Any] | None = None,
    config: InversionConfig | None = None,
    key: Array | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> InversionResult:
    """Find the picture whose activation at a layer is most similar to a given one.

    Args:
      model: any function of images (B, H, W, C) that names its activation.
      activation: of one image at the layer, (h, w, channels) or (tokens, channels) or (channels,), or of a batch, (N,
        ...); `graph.capture` reads it.
      mask: what to keep of the activation: (channels,), or (N, channels), or anything of the activation's rank that
        broadcasts against it.
      at: the layer's name; `graph.cuts` lists the names that can be used.
      shape: (H, W) of the picture; None: the model's `input_size`.
      normalize: (mean, standard deviation) of the model's input, for values in [0, 1]: numbers, or one per channel.
        None: those of the model's `preprocessing`, or no change where it has none.
      config: the settings; None: `InversionConfig()`.
      key: of the initial noise and of the movements; None: `jax.random.key(0)`. All pictures of a batch start from the
        same noise, so that they can be compared.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most pictures that are shown to the model at a time, to bound memory; None: all of them.

    Returns:
      An `InversionResult`, with a leading axis N for a batch.

    Raises:
      TypeError, ValueError: for bad arguments, in a sentence that names the argument, what came and what is expected.

    Example:
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):
      ...     return checkpoint_name(images[:, ::4, ::4], "coarse")
      >>> seen = jnp.zeros((4, 4, 3)).at[:, :2].set(1.0)
      >>> config = InversionConfig(objective="l2", num_steps=30)
      >>> result = invert_features(model, seen, at="coarse", shape=(16, 16), config=config)
      >>> result.images.shape, bool(result.cosines > 0.99)
      ((16, 16, 3), True)
    """
    settings, key = check_settings(config, InversionConfig), check_key(key)
    check = functools.partial(_check_call, model, at, shape, normalize, chunk_size)
    target, count = _check_target(activation, mask, at, check(1).activation)
    call = check(len(target))
    return _solve(call, target, settings.objective, count, settings, key, progress)


@renamed(**_MOVED)
def maximize_channel(
    model: Model,
    channels: Any,
    *,
    at: str,
    shape: tuple[int, int] | None = None,
    normalize: tuple[Any, Any] | None = None,
    config: InversionConfig | None = None,
    key: Array | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> InversionResult:
    """Find the picture that excites a channel of a layer most, averaged over its positions: what the channel looks for.

    A rectified channel that the initial noise excites nowhere has no gradient, and the status says so. Another key, or
    a prior of more contrast, may help.

    Args:
      channels: the index of a channel, or several, (N,), with one picture for each.

    The other arguments, the result and the errors are those of `invert_features`.

    Example:
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> result = maximize_channel(lambda x: checkpoint_name(x, "pixels"), 2, at="pixels", shape=(8, 8))
      >>> bool(result.images[..., 2].mean() > 0.8)  # blue
      True
    """
    settings, key = check_settings(config, InversionConfig), check_key(key)
    if isinstance(channels, Tracer):
        raise TypeError("channels must be known numbers, not traced: they are part of what is compiled")
    indices = np.asarray(channels)
    if indices.ndim > 1 or not np.issubdtype(indices.dtype, np.integer) or indices.size == 0:
        raise ValueError(f"channels must be the index of a channel, or a list of them, got {channels!r}")
    several = np.atleast_1d(indices)
    call = _check_call(model, at, shape, normalize, chunk_size, len(several))
    num_channels = call.activation[-1]
    bad = several[(several < 0) | (several >= num_channels)]
    if bad.size:
        raise ValueError(f"channels must be from 0 to {num_channels - 1} at the layer {at!r}, got {bad[0]}")
    chosen = np.zeros((len(several), *call.activation), np.float32)
    for row, index in zip(chosen, several, strict=True):
        row[..., index] = 1
    return _solve(call, jnp.asarray(chosen), "mean", len(several) if indices.ndim else None, settings, key, progress)


class _Call(NamedTuple):
    """A checked call: the model up to a layer, ready for pictures."""

    head: Program  # (arrays, images) -> activation
    arrays: Arrays  # the model's
    at: str  # the layer
    shape: tuple[int, int, int]  # (H, W, C) of a picture
    activation: tuple[int, ...]  # the shape of one picture's activation
    mean: Array  # (C,), of the model's input
    std: Array  # (C,), likewise
    chunk_size: int | None  # the most pictures that are shown to the model at a time, or None


def _check_call(
    model: Model, at: str, shape: tuple[int, int] | None, normalize: tuple[Any, Any] | None, chunk_size: int | None, count: int
) -> _Call:
    """The checked call for so many pictures."""
    check_chunk_size(chunk_size)
    shape = shape or getattr(model, "input_size", None)
    if shape is None:
        raise ValueError("shape must be given, (height, width) of the picture: the model has no `input_size`")
    sides = np.asarray(shape)
    if sides.shape != (2,) or not np.issubdtype(sides.dtype, np.integer) or sides.min() < 1:
        raise ValueError(f"shape must be (height, width) of the picture, in whole pixels, got {shape!r}")
    size = int(sides[0]), int(sides[1]), 3
    mean, std = _check_normalize(model, normalize)
    example = jax.ShapeDtypeStruct((min(count, chunk_size or count), *size), jnp.float32)
    head, arrays, activation = part_before(model, at, example)
    check_differentiable_before(head, arrays, example)
    return _Call(head, arrays, at, size, activation.shape[1:], mean, std, chunk_size)


def _numbers(name: str, value: Any, at: Any) -> Array:
    if isinstance(value, str):
        raise TypeError(f"{name} must be an array of numbers, got {value!r}; the layer is given by its name, at={at!r}")
    array = as_array(name, value)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(f"{name} must be an array of numbers, got {value!r}")
    return jnp.asarray(array)


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


def _check_target(activation: Any, mask: Any, at: str, single: tuple[int, ...]) -> tuple[Array, int | None]:
    """The masked activations (N, ...), where `single` is the shape of one, and N for a batch or None."""
    activation, mask = _numbers("activation", activation, at), None if mask is None else _numbers("mask", mask, at)
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
    known = values_of(target)
    if known is not None:
        squares = np.square(known).reshape(len(known), -1).sum(axis=1)
        if not np.all(np.isfinite(squares)):
            raise ValueError("activation and mask must be finite, got NaN or infinity among the values")
        if not np.all(squares > 0):
            raise ValueError(f"the masked activation {np.argmin(squares)} is zero everywhere, so that no picture is similar to it")
    return target, count


def _solve(
    call: _Call,
    targets: Array,
    objective: str,
    count: int | None,
    settings: InversionConfig,
    key: Array,
    progress: bool | Watcher | None,
) -> InversionResult:
    """Run the solver on a checked call."""
    prior, (height, width, channels) = settings.prior, call.shape
    plan = InversionPlan(call.head, call.shape, objective, alike(settings.optimizer), call.chunk_size)
    weights = Weights(*map(jnp.float32, (prior.decay, prior.correlation, prior.total_variation, settings.cosine_power)))
    problem = InversionProblem(call.arrays, targets, call.mean, call.std, weights, plan)
    noise, movements = jax.random.split(key)
    moves = draw_movements(movements, settings.num_steps, prior.jitter * min(height, width), prior.rotation, prior.scale)
    start = prior.contrast * jax.random.normal(noise, spectrum_shape(height, width, channels), jnp.float32)
    state = solver.init(plan.optimizer.value, jnp.broadcast_to(start, (len(targets), *start.shape)))
    state, record = drive(jax.tree_util.Partial(_advance, problem), state, {**settings.schedules(), **moves}, progress)
    result = InversionResult(**_conclude(problem, state, record), config=settings, at=call.at)
    return result if count is not None else jax.tree.map(lambda x: x[0], result)


@jax.jit
def _advance(problem: InversionProblem, state: solver.State, schedule: solver.Now) -> tuple[solver.State, InversionRecord]:
    plan = problem.plan
    return solver.scan(problem, plan.optimizer.value, state, schedule, plan.chunk_size, lambda params: params)  # waves have no constraint


@jax.jit
def _conclude(problem: InversionProblem, state: solver.State, record: InversionRecord) -> dict[str, Any]:
    """The fields of the result."""

    def final(params: Array, elements: Array | None) -> tuple[Array, ...]:
        images = problem.images(params)
        return images, *problem.compare(images, elements)

    images, values, cosines = solver.in_chunks(final, problem.plan.chunk_size)(state.params)
    history = jnp.moveaxis(record.rewards, 0, -1)
    lost = ~jnp.isfinite(values) & (state.nonfinite_step == solver.NEVER)
    status = InversionStatus(state.nonfinite_step, state.no_gradient, nonfinite_reward=lost)
    return dict(images=images, values=values, cosines=cosines, params=state.params, history=history, status=status)
