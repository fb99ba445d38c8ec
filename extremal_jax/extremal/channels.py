"""Channel attribution: which channels of a layer excite a class most.

    m_a = argmax { Φ(m · x) : m ∈ [0, 1]^C, Σ m = a }

x is the activation of an image at a layer, a mask value multiplies a whole channel of it, and Φ is the score of the
part of the network after the layer. Channels have no order, so masks need not be smooth. The part before the layer runs
once.

Source: Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", ICCV 2019,
  section 4.2.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from extremal_jax.boundary.areas import check_counts, num_areas
from extremal_jax.boundary.images import batch_size, check_images, check_params
from extremal_jax.boundary.meshes import laid_out_automatically
from extremal_jax.boundary.models import Model
from extremal_jax.extremal.mask_settings import ChannelConfig
from extremal_jax.extremal.problem import Problem
from extremal_jax.extremal.result import ChannelResult
from extremal_jax.extremal.run import Task, ascend, check_call, concluded, start
from extremal_jax.extremal.swaps import search
from extremal_jax.graph.activations import check_name
from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.checks import check_key
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.masks import ChannelMasks
from extremal_jax.operators.perturbations import Fade
from extremal_jax.optimise import solver
from extremal_jax.optimise.elements import Elements
from extremal_jax.optimise.settings import check_settings


@laid_out_automatically
def channel_perturbation(
    model: Model,
    images: Any,
    targets: Any,
    areas: Any = (1, 5, 10, 25, 50, 100),
    *,
    at: str,
    initial_params: Any = None,
    config: ChannelConfig | None = None,
    key: Array | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> ChannelResult:
    """Find, for each image and count, the channels of a layer that excite the target most.

    One compiled program solves for all images, targets and counts. A second call compiles nothing if its images have
    the same shape, it has as many counts, and its settings are the same up to schedules. Inside a caller's own `jit`,
    `vmap` or `shard_map` it works likewise.

    Args:
      model: any function from images (B, H, W, C) to scores, as in `extremal_perturbation`, that names the layer's
        activation with `jax.ad_checkpoint.checkpoint_name`; `model.activations` lists the names of this project's
        models.
      images: (H, W, C), or a batch (N, H, W, C).
      targets: as in `extremal_perturbation`.
      areas: (K,) numbers of channels, or shares of them below 1, which are rounded to whole channels, at least one; for
        a batch, (N, K) gives each image its own.
      at: the name of the layer's activation, of shape (B, h, w, C), (B, tokens, C) or (B, C). Everything must pass
        through it.
      initial_params: (..., K, C) in [0, 1], the parameters to start from: the `params` of an earlier result. None:
        ones, all channels.
      config: the settings; None: `ChannelConfig()`, the best settings known. `ChannelConfig.paper()` is the paper's.
      key: for the random part, a start with the config's `spread`; None: `jax.random.key(0)`.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most masks that are shown to the tail at a time, to bound memory; None: all N K of them.

    Returns:
      A `ChannelResult`, with leading axes (N, K) for a batch and (K,) for a single image.

    Raises:
      TypeError, ValueError: for bad arguments, in a sentence that names the argument, what came and what is expected.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):  # the second class adds two of three channels
      ...     x = checkpoint_name(images, "rgb").mean(axis=(1, 2))
      ...     return jnp.stack([x[:, 1], x[:, 0] + x[:, 2]], axis=1)
      >>> result = channel_perturbation(model, jnp.ones((8, 8, 3)), 1, areas=[2], at="rgb")
      >>> result.channels(2).tolist(), result.rewards.tolist()
      ([0, 2], [2.0])
    """
    settings, key = check_settings(config, ChannelConfig), check_key(key)
    images, targets, areas = varying_alike(images, targets, areas)
    task, counts = check_channels(model, images, targets, areas, settings, chunk_size, at)
    masks = ChannelMasks(task.parted.masked.shape[-1])
    shape = (*task.lead, counts.shape[-1], masks.channels)
    initial_params = random_start(settings, key, shape) if initial_params is None else check_params(initial_params, shape)
    return solve(task, pose_channels(task, masks, counts), settings, at, initial_params, progress)


def random_start(settings: ChannelConfig, key: Array, shape: tuple[int, ...]) -> Array | None:
    """Initial parameters a little below one, the same for all images and counts, or None where the settings have no spread."""
    if not settings.spread:
        return None
    return jnp.broadcast_to(1 - settings.spread * jax.random.uniform(key, shape[-1:], jnp.float32), shape)


def check_channels(
    model: Model, images: Any, targets: Any, areas: Any, settings: ChannelConfig, chunk_size: int | None, at: str, name: str = "areas"
) -> tuple[Task, AnyArray]:
    """The checked call of `channel_perturbation`, and the counts, (K,) or (N, K), which came as the argument `name`."""
    if isinstance(areas, str):
        raise TypeError(f"{name} must be numbers of channels, such as (1, 5, 25), got {areas!r}; give the layer by its name, at={areas!r}")
    check_name("at", at)
    images = check_images("images", images)
    task = check_call(model, images, targets, num_areas(areas), settings, chunk_size, at)
    masked = task.parted.masked
    if len(masked.shape) < 2 or not jnp.issubdtype(masked.dtype, jnp.floating):
        raise ValueError(
            f"at: the activation {at!r} has no channels: it must be floats of shape (B, ..., C), got {masked.dtype}{list(masked.shape)}"
        )
    return task, check_counts(areas, batch_size(images), masked.shape[-1], name)


def pose_channels(task: Task, masks: ChannelMasks, counts: AnyArray) -> Problem:
    """The problem of masking the channels of a layer: the head of the model runs here."""
    return task.pose(masks, Fade(), counts.astype(np.float32) / masks.channels)


def solve(
    task: Task, problem: Problem, settings: ChannelConfig, at: str, initial_params: Any = None, progress: bool | Watcher | None = None
) -> ChannelResult:
    """Run a checked call."""
    schedule = settings.schedules()
    state, record = ascend(problem, start(problem, initial_params), schedule, progress)
    fields = _conclude(problem, state, record, jnp.asarray(schedule["ramp"][-1]), task.count, settings.swap_rounds, settings.swaps)
    return ChannelResult(**fields, config=settings, at=at)


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _conclude(
    problem: Problem, state: solver.State, record: solver.Record, width: Array, count: int | None, swap_rounds: int, swaps: int
) -> dict[str, Any]:
    """The fields of the result: the masks of the last parameters, or the sets that the search makes of them, and their
    evaluation."""

    def final(params: Array, elements: Array | None) -> Array:
        if swap_rounds:
            return search(problem, params, elements, swap_rounds, swaps)
        return problem.final(params, elements, width)

    masks = canonical(solver.in_chunks(final, problem.plan.chunk_size))(state.params)
    counts = jnp.round(problem.areas * masks.shape[-1]).astype(jnp.int32)
    by_image = Elements(count, problem.plan.num_areas).by_image
    areas = dict(areas=by_image(masks.sum(axis=1)), requested_areas=by_image(counts))
    return concluded(problem, state, record, masks, state.params, count) | areas
