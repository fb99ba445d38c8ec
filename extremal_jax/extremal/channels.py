"""Channel attribution: which channels of a layer excite a class most.

    m_a = argmax { Φ(m · x) : m ∈ [0, 1]^C, Σ m = a }

x is the activation of an image at a layer, a mask value multiplies a whole channel of it, and Φ is answered by the part of the network
after the layer. There is no smoothness: channels have no order. The part before the layer runs once.

Source: Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", ICCV 2019, section 4.2.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Int

from extremal_jax.boundary.inputs import check_images, check_params, check_targets
from extremal_jax.boundary.layers import activation_at, part_after
from extremal_jax.boundary.models import Model, check_model
from extremal_jax.extremal.channel_config import ChannelConfig
from extremal_jax.extremal.channel_result import ChannelResult
from extremal_jax.extremal.result import History
from extremal_jax.extremal.swaps import ChannelPlan, ChannelProblem
from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.functional import Arrays
from extremal_jax.graph.varying import like, varying_alike
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.games import GAMES
from extremal_jax.optimise import solver
from extremal_jax.optimise.driver import drive
from extremal_jax.optimise.elements import Elements
from extremal_jax.optimise.settings import check_chunk_size, check_settings
from extremal_jax.optimise.status import Status

_SPREAD = 0.2  # of a random start, below one


def channel_perturbation(
    model: Model,
    images: Any,
    targets: Any,
    at: str,
    areas: Any = (1, 5, 10, 25, 50, 100),
    *,
    config: ChannelConfig | None = None,
    key: Array | None = None,
    initial_params: Any = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> ChannelResult:
    """For each image and count, the channels of a layer that excite the target most.

    All images, targets and counts are solved for in one compiled program. A second call with images of the same shape, as many counts, and
    the same settings up to schedules compiles nothing. Inside a caller's own `jit`, `vmap` or `shard_map` it works likewise.

    Args:
      model: any function from images (B, H, W, C) to scores, as in `extremal_perturbation`, that names the layer's activation with
        `jax.ad_checkpoint.checkpoint_name`; `model.activations` lists the names of this project's models.
      images: (H, W, C), or a batch (N, H, W, C).
      targets: as in `extremal_perturbation`.
      at: the name of the layer's activation, of shape (B, h, w, C), (B, tokens, C) or (B, C). Everything must pass through it.
      areas: (K,) numbers of channels, or shares of them below 1, which are rounded to channels, one at least; for a batch, (N, K) gives
        each image its own.
      config: the settings; None: `ChannelConfig()`, the best that is known. `ChannelConfig.paper()` is the paper's.
      key: for a random start, a little below all channels: another key, another local optimum where there are several. None: nothing is
        random.
      initial_params: (..., K, C) in [0, 1], where to start: the `params` of an earlier result. None: ones, all channels.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most masks that are shown to the tail at a time, to bound memory; None: all N K of them.

    Returns:
      A `ChannelResult`, with leading axes (N, K) for a batch and (K,) for a single image.

    Raises:
      TypeError, ValueError: for arguments that do not fit, in a sentence that names the argument, what came and what is expected.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):  # the second class adds two of three channels
      ...     x = checkpoint_name(images, "rgb").mean(axis=(1, 2))
      ...     return jnp.stack([x[:, 1], x[:, 0] + x[:, 2]], axis=1)
      >>> result = channel_perturbation(model, jnp.ones((8, 8, 3)), 1, at="rgb", areas=[2])
      >>> result.channels(2).tolist(), result.rewards.tolist()
      ([0, 2], [2.0])
    """
    check_model(model)
    images = check_images("images", images)
    count = len(images) if images.ndim == 4 else None
    settings = check_settings(config, ChannelConfig)
    check_chunk_size(chunk_size)

    images, targets, areas = varying_alike(images, targets, areas)
    batch = images if images.ndim == 4 else images[None]
    activations = activation_at(model, at, jnp.asarray(batch))
    if activations.ndim < 2 or not jnp.issubdtype(activations.dtype, jnp.floating):
        raise ValueError(
            f"at: the activation {at!r} has no channels: it must be floats of shape (B, ..., C), got"
            f" {activations.dtype}{list(activations.shape)}"
        )
    channels = activations.shape[-1]
    counts = check_counts(areas, count, channels)
    plan, arrays, num_classes = plan_for(model, at, batch, counts.shape[-1], settings, chunk_size)
    targets = check_targets(targets, count, num_classes, settings.reward, getattr(model, "classes", None))
    shape = (*batch.shape[: images.ndim - 3], counts.shape[-1], channels)
    if initial_params is not None:
        initial_params = check_params(initial_params, shape)
    elif key is not None:
        initial_params = 1 - _SPREAD * jax.random.uniform(key, shape)
    problem = pose(plan, arrays, activations, targets, counts)
    state = start(problem, initial_params)
    schedule = {**settings.schedules(), "step": np.arange(settings.num_steps, dtype=np.int32)}

    state, record = drive(jax.tree_util.Partial(advance, problem), state, schedule, progress)
    result = _conclude(problem, state, record, schedule["ramp"][-1], count, at)
    # The schedules are not part of the compiled program, and so not of its result.
    return dataclasses.replace(result, config=settings)


def check_counts(areas: Any, count: int | None, channels: int) -> AnyArray:
    """Numbers of channels as an int32 array, (K,) or (N, K), from 1 to C.

    Args:
      areas: numbers of channels, or shares of them below 1, which are rounded to channels, one at least.
      count: N, where there is a batch, else None.
      channels: C.

    Raises:
      TypeError: if they are no numbers.
      ValueError: if there are too many or too few, or one is out of range.

    Example:
      >>> check_counts((1, 5, 0.5), None, 12).tolist()
      [1, 5, 6]
    """
    if not isinstance(areas, Array):
        try:
            areas = np.asarray(areas, np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"areas must be numbers of channels, such as (1, 5, 25), got {areas!r}") from error
    areas = areas.reshape(1) if areas.ndim == 0 else areas
    if areas.ndim not in ((1,) if count is None else (1, 2)) or areas.size == 0 or (areas.ndim == 2 and areas.shape[0] != count):
        shapes = "(K,)" if count is None else f"(K,) or ({count}, K)"
        raise ValueError(f"areas must have the shape {shapes}, with at least one count, got {areas.shape}")
    if not isinstance(areas, Tracer):
        areas = np.asarray(areas, np.float64)
        bad = areas[~((areas > 0) & (areas <= channels) & ((areas < 1) | (areas == np.round(areas))))]
        if bad.size:
            raise ValueError(
                f"areas must be whole numbers of channels, from 1 to the layer's {channels}, or shares of them between 0 and 1, got"
                f" {bad.flat[0]:g}"
            )
    numbers = np if isinstance(areas, np.ndarray) else jnp
    return numbers.where(areas < 1, numbers.maximum(1, numbers.round(areas * channels)), areas).astype(np.int32)


def plan_for(
    model: Model, at: str, images: AnyArray, num_areas: int, config: ChannelConfig, chunk_size: int | None
) -> tuple[ChannelPlan, Arrays, int]:
    """The plan of a run, the model's arrays, and its number of classes."""
    masks = min(len(images) * num_areas, chunk_size or len(images) * num_areas)
    example = jax.ShapeDtypeStruct((len(GAMES[config.game].terms) * masks, *images.shape[1:]), images.dtype)
    tail, arrays, num_classes = part_after(model, at, like(example, images))
    # Schedules are arguments of the compiled program; here they would only make equal plans differ.
    settings = dataclasses.replace(config, num_steps=1, learning_rate=0.0, area_weight=0.0, ramp=1.0, anneal=0.0)
    return ChannelPlan(tail, settings, num_areas, chunk_size), arrays, num_classes


@functools.partial(jax.jit, static_argnums=0)
def pose(
    plan: ChannelPlan,
    arrays: Arrays,
    activations: Float[Array, "N *places C"],
    targets: Int[Array, "N ..."],
    counts: Int[Array, "*N K"],
) -> ChannelProblem:
    """The problem of a batch of activations."""
    counts = jnp.broadcast_to(counts, (len(activations), plan.num_areas)).reshape(-1)
    return ChannelProblem(arrays, activations, targets, counts, plan)


@jax.jit
def start(problem: ChannelProblem, initial_params: Array | None) -> solver.State:
    """The state before the first step: parameters of one, all channels, or those given."""
    dtype = jnp.promote_types(problem.activations.dtype, jnp.float32)
    shape = len(problem.counts), problem.activations.shape[-1]
    params = jnp.ones(shape, dtype) if initial_params is None else initial_params.reshape(shape).astype(dtype)
    params, _ = varying_alike(params, problem.counts)
    return solver.init(problem.plan.config.optimizer, params)


@jax.jit
def advance(problem: ChannelProblem, state: solver.State, schedule: solver.Now) -> tuple[solver.State, solver.Record]:
    """As many steps as the schedule has."""
    return solver.scan(problem, problem.plan.config.optimizer, state, schedule, problem.plan.chunk_size)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _conclude(
    problem: ChannelProblem, state: solver.State, record: solver.Record, width: Array, count: int | None, at: str
) -> ChannelResult:
    """The result of the last parameters: their masks, or the sets that the search makes of them, and what the model answers to them."""
    plan = problem.plan

    def final(params: Array, elements: Array | None) -> tuple[Array, ...]:
        if plan.config.swap_rounds:
            masks = problem.search(params, elements)
        else:
            masks, _ = problem.shown(params, elements, jnp.ones(()), width)
        owners = jnp.arange(len(problem.counts)) // plan.num_areas
        whole = problem.activations[owners if elements is None else owners[elements]]
        responses = problem.responses(jnp.stack([whole] * len(plan.game.terms)), elements)[0]
        return masks, problem.rewards(masks, elements), responses

    masks, rewards, whole = canonical(solver.in_chunks(final, plan.chunk_size))(state.params)
    by_image, path = Elements(count, plan.num_areas).by_image, Elements(count, plan.num_areas).path
    return ChannelResult(
        masks=by_image(masks),
        params=by_image(state.params),
        rewards=by_image(rewards),
        image_rewards=by_image(whole)[..., 0],
        areas=by_image(masks.sum(axis=1)),
        requested_areas=by_image(problem.counts),
        targets=problem.targets if count is not None else problem.targets[0],
        history=History(path(record.rewards), path(record.area_losses)),
        status=Status(by_image(state.nonfinite_step)),
        config=plan.config,
        at=at,
    )
