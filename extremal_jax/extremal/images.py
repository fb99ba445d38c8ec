"""Extremal perturbations of images: one image or a batch in, a result out.

    m_a = argmax { Φ(m ⊗ x) : m smooth, mean(m) = a }

solved by ascent on Φ(m ⊗ x) − λ R_a(m) over the parameters of the smooth masks, for all images and areas at once.

Source: Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", ICCV 2019.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from extremal_jax.boundary.inputs import check_areas, check_images, check_params, check_reference, check_targets
from extremal_jax.boundary.layers import activation_at, part_after
from extremal_jax.boundary.models import Model, check_model, take_apart
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.problem import Plan, Problem, pose, smooth_masks
from extremal_jax.extremal.result import ExtremalResult, History
from extremal_jax.graph.functional import Arrays
from extremal_jax.graph.varying import like, varying_alike
from extremal_jax.ground.checks import check_key
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.games import GAMES
from extremal_jax.optimise import solver
from extremal_jax.optimise.driver import drive
from extremal_jax.optimise.elements import Elements
from extremal_jax.optimise.settings import check_chunk_size, check_settings
from extremal_jax.optimise.status import Status


def extremal_perturbation(
    model: Model,
    images: Any,
    targets: Any,
    areas: Any = (0.05, 0.1, 0.2),
    *,
    at: str | None = None,
    config: Config | None = None,
    key: Array | None = None,
    initial_params: Any = None,
    reference: Any = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> ExtremalResult:
    """For each image and area, the smooth mask of that area that excites the target most.

    All images, targets and areas are solved for in one compiled program. A second call with images of the same shape, as many areas, and
    the same settings up to schedules and key compiles nothing. Inside a caller's own `jit`, `vmap` or `shard_map`, with images, targets and
    areas traced, it works likewise.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes): a Flax NNX or Equinox module,
        `functools.partial(linen_module.apply, variables)`, a closure. It is never changed; its arrays are arguments of the compiled
        program.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them; `model.preprocess` makes them for this project's models.
      targets: one class index for all images or one per image, (N,). Names serve as well where the model has `classes`. Where the reward
        takes several classes, a last axis holds them.
      areas: (K,) shares of the image in (0, 1]; for a batch, (N, K) gives each image its own.
      at: the name of a layer's activation, (B, h, w, C), through which everything passes: it is masked in the place of the images, and the
        masks have its (h, w). The part of the model before it runs once. None: the images.
      config: the settings; None: `Config()`, the best that is known. `Config.torchray()` reproduces TorchRay.
      key: for the random part (jitter); None: `jax.random.key(0)`.
      initial_params: (..., K, h, w) in [0, 1], where to start: the `params` of an earlier result. None: ones, the whole image.
      reference: the image that takes the place of what is masked, when the config's perturbation is "reference": (H, W, C), or one per
        image.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most masks that are shown to the model at a time, to bound memory; None: all N K of them.

    Returns:
      An `ExtremalResult`, with leading axes (N, K) for a batch and (K,) for a single image.

    Raises:
      TypeError, ValueError: for arguments that do not fit, in a sentence that names the argument, what came and what is expected; a model
        that raises is reported as a ValueError with its error as the cause. A reward that is not finite does not raise: `result.status`
        tells.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of the upper half, and of the lower
      ...     return jnp.stack([x[:, :16].sum((1, 2, 3)), x[:, 16:].sum((1, 2, 3))], axis=-1)
      >>> result = extremal_perturbation(model, jnp.ones((32, 32, 3)), 1, areas=[0.1], config=Config(perturbation="fade"))
      >>> result.masks.shape, f"{result.areas[0]:.3f}", bool(result.masks[0, 16:].sum() > 9 * result.masks[0, :16].sum())
      ((1, 32, 32), '0.100', True)

    Differences from TorchRay: NHWC images; a batch is one problem per image (TorchRay mixes its images); the defaults are other, better
      ones.
    """
    check_model(model)
    settings = check_settings(config, Config)
    images = check_images("images", images)
    count = len(images) if images.ndim == 4 else None
    areas = check_areas(areas, count)
    check_chunk_size(chunk_size)
    reference = check_reference(reference, images)

    images, targets, areas, reference = varying_alike(images, targets, areas, reference)
    batch = images if images.ndim == 4 else images[None]
    masked, reference = masked_at(model, at, batch, reference)
    shape = (masked.shape[1], masked.shape[2])
    settings = settings.resolve(shape, inner=at is not None)
    if (reference is None) == (settings.perturbation == "reference"):
        raise ValueError("reference must be given if, and only if, the config's perturbation is 'reference'")
    plan, arrays, num_classes = plan_for(model, batch, areas.shape[-1], settings, chunk_size, at, shape)
    targets = check_targets(targets, count, num_classes, settings.reward, getattr(model, "classes", None))
    if initial_params is not None:
        initial_params = check_params(initial_params, (*batch.shape[: images.ndim - 3], areas.shape[-1], *plan.smooth.lattice))
    problem = pose(plan, arrays, masked, targets, areas, reference)
    state = _start(problem, initial_params)
    schedule = {**settings.schedules(), **_mirroring(settings, key), "step": np.arange(settings.num_steps, dtype=np.int32)}

    state, record = drive(jax.tree_util.Partial(_advance, problem), state, schedule, progress)
    # The schedules are not part of the compiled program, and so not of its result.
    return dataclasses.replace(_conclude(problem, state, record, count), config=settings, at=at)


def masked_at(model: Model, at: str | None, images: AnyArray, reference: AnyArray | None) -> tuple[AnyArray, AnyArray | None]:
    """What is masked, (N, h, w, C), and what takes its place, if that is given: images, or their activations at a layer."""
    if at is None:
        return images, reference
    masked = activation_at(model, at, jnp.asarray(images))
    if masked.ndim != 4 or not jnp.issubdtype(masked.dtype, jnp.floating):
        raise ValueError(
            f"at: masks in space need an activation of shape (B, h, w, C), floats; {at!r} is {masked.dtype}{list(masked.shape)};"
            f" channel_perturbation takes any with channels"
        )
    if reference is None:
        return masked, None
    other = activation_at(model, at, jnp.asarray(reference if reference.ndim == 4 else reference[None]))
    return masked, other if reference.ndim == 4 else other[0]


def plan_for(
    model: Model,
    images: AnyArray,
    num_areas: int,
    config: Config,
    chunk_size: int | None,
    at: str | None = None,
    shape: tuple[int, int] | None = None,
) -> tuple[Plan, Arrays, int]:
    """The plan of a run, the model's arrays, and its number of classes; at a layer, for activations of (height, width) `shape`."""
    count, *size = images.shape
    shape = shape or (size[0], size[1])
    if min(smooth_masks(config, shape).lattice) < 2:
        masked = "images" if at is None else f"activations of {at!r}"
        raise ValueError(
            f"{masked} of {shape[0]}x{shape[1]} pixels are too small for a lattice of masks with step {config.step};"
            f" give larger images, or a smaller step"
        )
    masks = count * num_areas
    if chunk_size is not None and chunk_size >= masks:
        chunk_size = None  # the same program
    example = like(jax.ShapeDtypeStruct((len(GAMES[config.game].terms) * (chunk_size or masks), *size), images.dtype), images)
    program, arrays, num_classes = take_apart(model, example) if at is None else part_after(model, at, example)
    # Schedules are arguments of the compiled program; here they would only make equal plans differ.
    settings = dataclasses.replace(config, num_steps=1, learning_rate=0.0, area_weight=0.0, anneal=0.0)
    return Plan(program, settings, shape, num_areas, chunk_size), arrays, num_classes


@jax.jit
def _start(problem: Problem, initial_params: Array | None) -> solver.State:
    """Parameters of one, the whole image, or those given."""
    dtype = jnp.promote_types(problem.pyramid.dtype, jnp.float32)
    shape = (len(problem.areas), *problem.plan.smooth.lattice)
    params = jnp.ones(shape, dtype) if initial_params is None else initial_params.reshape(shape).astype(dtype)
    params, _ = varying_alike(params, problem.areas)
    return solver.init(problem.plan.config.optimizer, params)


@jax.jit
def _advance(problem: Problem, state: solver.State, schedule: solver.Now) -> tuple[solver.State, solver.Record]:
    plan = problem.plan
    return solver.scan(problem, plan.config.optimizer, state, schedule, plan.chunk_size)


@functools.partial(jax.jit, static_argnums=3)
def _conclude(problem: Problem, state: solver.State, record: solver.Record, count: int | None) -> ExtremalResult:
    """The result of the last parameters: their masks, and what the model answers to them."""
    plan = problem.plan
    parity = plan.config.parity
    params = state.shown if parity else state.params

    def final(params: Array, elements: Array | None) -> tuple[Any, ...]:
        shown = problem.shown(params, elements, jnp.ones(()), with_margin=True)
        owners = jnp.arange(len(problem.areas)) // plan.num_areas
        images = problem.pyramid[owners if elements is None else owners[elements], -1]
        whole = problem.responses(jnp.stack([images] * len(plan.game.terms)), elements)[0]
        return shown.masks, shown.masks_with_margin, problem.rewards(shown.masks, elements), whole

    masks, masks_with_margin, rewards, whole = solver.in_chunks(final, plan.chunk_size)(params)
    by_image, path = Elements(count, plan.num_areas).by_image, Elements(count, plan.num_areas).path
    return ExtremalResult(
        masks=by_image(masks),
        masks_with_margin=by_image(masks_with_margin),
        params=by_image(params),
        rewards=by_image(record.rewards[-1] if parity else rewards),
        image_rewards=by_image(whole)[..., 0],
        areas=by_image(masks.mean(axis=(1, 2))),
        requested_areas=by_image(problem.areas),
        targets=problem.targets if count is not None else problem.targets[0],
        history=History(path(record.rewards), path(record.area_losses)),
        status=Status(by_image(state.nonfinite_step)),
        config=plan.config,
    )


def _mirroring(config: Config, key: Array | None) -> dict[str, Any]:
    """(T,): at which steps what is shown is mirrored, where the config asks for that. One draw for all masks, so that a batch is a loop."""
    if not config.jitter:
        return {}
    if config.parity:
        return dict(mirrored=np.arange(config.num_steps) % 2 == 0)
    return dict(mirrored=jax.random.bernoulli(check_key(key), shape=(config.num_steps,)))
