"""Extremal perturbations of images: one image or a batch in, a result out.

    m_a = argmax { Φ(m ⊗ x) : m smooth, mean(m) = a }

The solver ascends Φ(m ⊗ x) − λ R_a(m) over the parameters of the smooth masks, for all images and areas at once.

Source: Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", ICCV 2019.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from extremal_jax.boundary.areas import check_areas, check_cells, check_pixels
from extremal_jax.boundary.axes import find_axes
from extremal_jax.boundary.images import batch_size, check_images, check_params, check_reference
from extremal_jax.boundary.meshes import laid_out_automatically
from extremal_jax.boundary.models import Model
from extremal_jax.extremal.candidates import ascend_best
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.problem import Problem
from extremal_jax.extremal.result import ExtremalResult
from extremal_jax.extremal.run import Task, check_call, concluded
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.checks import check_key
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import IMAGE, SHIFTED, Axes, masked as masked_axes, names, places
from extremal_jax.operators.masks import SmoothMasks
from extremal_jax.operators.perturbations import Perturbation
from extremal_jax.optimise import solver
from extremal_jax.optimise.elements import Elements
from extremal_jax.optimise.settings import check_settings


@laid_out_automatically
def extremal_perturbation(
    model: Model,
    images: Any,
    targets: Any,
    areas: Any = (0.05, 0.1, 0.2),
    *,
    at: str | None = None,
    axes: Axes | str | None = None,
    initial_params: Any = None,
    reference: Any = None,
    config: Config | None = None,
    key: Array | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> ExtremalResult:
    """Find, for each image and area, the smooth mask of that area that excites the target most.

    One compiled program solves for all images, targets and areas. A second call compiles nothing if its images have the
    same shape, it has as many areas, and its settings are the same up to schedules and key. Inside a caller's own
    `jit`, `vmap` or `shard_map`, with images, targets and areas traced, it works likewise.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes): a Flax NNX or Equinox
        module in inference mode, `functools.partial(linen_module.apply, variables)`, a closure. It is never changed;
        its arrays are arguments of the compiled program.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them; `model.preprocess` makes them for this
        project's models.
      targets: one class index for all images or one per image, (N,). Names serve as well where the model has `classes`.
        Where the reward takes several classes, a last axis holds them.
      areas: (K,) shares of the image in (0, 1], at least a pixel; for a batch, (N, K) gives each image its own.
      at: the name of a layer's activation, (B, h, w, C), through which everything passes: it is masked instead of the
        images, and the masks have its (h, w). The part of the model before it runs once. None: the images are masked.
      axes: what `images` are, if they are something else: "video" (T, H, W, C), "volume" (D, H, W, C), "spectrogram"
        (T, F, C), "series" (T, F), "moments" (T, F) with masks of times alone, or a tuple of `Axis` records. It stands
        for the config's `axes`. None: those of the model, where it has `axes`, as this project's classifiers do.
      initial_params: (..., K, h, w) in [0, 1], the parameters to start from: the `params` of an earlier result. None:
        ones, the whole image.
      reference: the image that replaces masked pixels when the config's perturbation is "reference": (H, W, C), or one
        per image.
      config: the settings; None: `Config()`, the best settings known. `Config.torchray()` reproduces TorchRay.
      key: for the random part (jitter, and the starts of candidates); None: `jax.random.key(0)`.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most masks that are shown to the model at a time, to bound memory; None: all N K of them.

    Returns:
      An `ExtremalResult`, with leading axes (N, K) for a batch and (K,) for a single image.

    Raises:
      TypeError, ValueError: for bad arguments, in a sentence that names the argument, what came and what is expected.
        An error of the model is reported as a ValueError with that error as its cause. A run whose answer means nothing
        does not raise: `result.status` says so.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of the upper half, and of the lower
      ...     return jnp.stack([x[:, :16].sum((1, 2, 3)), x[:, 16:].sum((1, 2, 3))], axis=-1)
      >>> result = extremal_perturbation(model, jnp.ones((32, 32, 3)), 1, areas=[0.1], config=Config(perturbation="fade"))
      >>> result.masks.shape, f"{result.areas[0]:.3f}", bool(result.masks[0, 16:].sum() > 9 * result.masks[0, :16].sum())
      ((1, 32, 32), '0.100', True)

    Differences from TorchRay: images are NHWC; a batch is one problem per image (TorchRay mixes its images); the
      default settings differ.
    """
    settings = on_axes(check_settings(config, Config), axes, model)
    images, targets, areas, reference = varying_alike(images, targets, areas, reference)
    images = check_images("images", images, settings.input_axes)
    areas = check_areas(areas, batch_size(images, len(settings.input_axes)))
    task = check_call(model, images, targets, areas.shape[-1], settings, chunk_size, at)
    masking = check_masking(task, settings, at, reference)
    masking.check_smallest(areas)
    if initial_params is not None:
        initial_params = check_params(initial_params, (*task.lead, areas.shape[-1], *masking.masks.lattice))
    key = check_key(key)

    problem = masking.pose(areas)
    schedule = {**masking.settings.schedules(), **jitter(masking.settings, key)}
    state, record = ascend_best(masking.task, model, problem, initial_params, schedule, key, progress)
    settings = masking.settings
    fields = _conclude(
        problem, state, record, jnp.asarray(schedule["ramp"][-1]), task.count, settings.final_update, settings.final_evaluation
    )
    return ExtremalResult(**fields, config=settings, at=at)


@dataclasses.dataclass(frozen=True)
class Masking:
    """The smooth masks of a checked call, and the images or activations that they mask."""

    task: Task
    settings: Config  # resolved
    masks: SmoothMasks
    perturbation: Perturbation  # of the images or activations
    reference: AnyArray | None  # the reference image or images; None where the perturbation needs none

    @property
    def num_pixels(self) -> int:
        """h w."""
        return math.prod(self.masks.shape)

    def check_smallest(self, areas: AnyArray) -> None:
        """Raise a ValueError for areas that no mask can have: below a pixel, or a cell of the lattice where axes are given."""
        check_pixels(areas, self.num_pixels)
        if self.settings.axes is not None:
            check_cells(areas, self.num_pixels, math.prod(self.masks.pitches))

    def pose(self, areas: AnyArray) -> Problem:
        """The problem for areas, (K,) or (N, K). The head of the model runs here, if there is one."""
        return self.task.pose(self.masks, self.perturbation, areas, self.reference)


def check_masking(task: Task, config: Config, at: str | None, reference: Any) -> Masking:
    """Check what is masked, and resolve the settings for it."""
    masked, axes = task.parted.masked, config.input_axes
    if len(masked.shape) != len(axes) + 1 or not jnp.issubdtype(masked.dtype, jnp.floating):
        wanted = "(B, h, w, C)" if axes == IMAGE else f"(B, {', '.join(names(axes))})"
        raise ValueError(
            f"at: masks in space need an activation of shape {wanted}, floats; {at!r} is {masked.dtype}{list(masked.shape)};"
            f" channel_perturbation takes any with channels"
        )
    own = [place for place, axis in enumerate(axes, 1) if axis.masked]
    shape = tuple(masked.shape[place] for place in own)
    settings = config.resolve(shape, inner=at is not None)
    perturbation = settings.perturbation_record()
    images = task.images if task.count is not None else task.images[0]
    reference = check_reference(reference, images, perturbation.needs_reference, axes)
    for name in ("smoothing", "feather"):
        _check_width(name, getattr(settings, name), settings, shape)
    pitch, sigma = settings.pitch, settings.sigma
    assert pitch is not None, "the settings are resolved"
    assert sigma is not None, "the settings are resolved"
    masks = SmoothMasks(
        shape, pitch, sigma, settings.temperature, None if axes == IMAGE else tuple(place - len(masked.shape) for place in own)
    )
    if any(points < 2 for points, along in zip(masks.lattice, masks.sigmas, strict=True) if along):
        name = "images" if at is None else f"activations of {at!r}"
        raise ValueError(
            f"{name} of {'x'.join(map(str, shape))} pixels are too small for a lattice of masks with pitch {settings.pitch};"
            f" give larger images, or a smaller pitch"
        )
    return Masking(dataclasses.replace(task, settings=settings), settings, masks, perturbation, reference)


def on_axes(config: Config, axes: Axes | str | None, model: Model) -> Config:
    """The settings with the axes of a call.

    Raises:
      TypeError, ValueError: as `find_axes`.
    """
    found = find_axes(axes, config.axes, model)
    return config if found == config.axes else dataclasses.replace(config, axes=found)


def _check_width(name: str, width: Any, settings: Config, shape: tuple[int, ...]) -> None:
    """Raise a ValueError for a Gaussian that is wider than half of what it smooths."""
    axes, widths = masked_axes(settings.input_axes), width if isinstance(width, tuple) else (width,)
    limits = shape if isinstance(width, tuple) else (min(shape),)
    for axis, given, side in zip(axes, widths, limits, strict=False):
        if given > side / 2:
            what = f"the side along {axis.name}" if isinstance(width, tuple) else "the shorter side"
            raise ValueError(f"{name} must be at most {side / 2:g} pixels, half of {what}, got {given:g}")


def jitter(config: Config, key: Array) -> dict[str, Any]:
    """At which steps the images shown are flipped, (T,), how far they are shifted, (T, 2), how strongly they are
    perturbed, (T,), and the keys and scale of their noise, (T,) each, if at all. One draw for all masks, so that a
    batch is a loop."""
    flips = config.flips if config.jitter else None
    shifted = len(places(config.input_axes, *SHIFTED))
    drawn = _drawn(key, config.num_steps, flips == "random", config.shift, shifted, config.min_strength, bool(config.noise))
    if flips == "alternate":
        drawn["flipped"] = np.arange(config.num_steps) % 2 == 0
    if config.noise:
        drawn["noise_scale"] = np.full(config.num_steps, config.noise, np.float32)
    return drawn


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5, 6))
def _drawn(key: Array, num_steps: int, flips: bool, shift: int | None, shifted: int, min_strength: float, noise: bool) -> dict[str, Any]:
    """What `jitter` draws; the types of the bounds are such that the draws in 64 bits are the same."""
    drawn: dict[str, Any] = {}
    if flips:
        drawn["flipped"] = jax.random.bernoulli(key, jnp.float32(0.5), (num_steps,))
    if shift:
        drawn["shift"] = jax.random.randint(jax.random.fold_in(key, 1), (num_steps, shifted), -shift, shift + 1, dtype=jnp.int32)
    if min_strength < 1:
        bounds = jnp.float32(min_strength), jnp.float32(1)
        drawn["strength"] = jax.random.uniform(jax.random.fold_in(key, 3), (num_steps,), jnp.float32, *bounds)
    if noise:
        drawn["noise"] = jax.random.split(jax.random.fold_in(key, 4), num_steps)
    return drawn


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _conclude(
    problem: Problem,
    state: solver.State,
    record: solver.Record,
    width: Array,
    count: int | None,
    final_update: bool,
    final_evaluation: bool,
) -> dict[str, Any]:
    """The fields of the result: the masks of the last parameters, and their evaluation."""
    params = state.params if final_update else state.shown

    def shown(params: Array, elements: Array | None) -> tuple[Array, Any]:
        found = problem.shown(params, elements, jnp.ones((), params.dtype), width, with_margin=True)
        return found.masks, found.masks_with_margin

    masks, masks_with_margin = solver.in_chunks(shown, problem.plan.chunk_size)(params)
    by_image = Elements(count, problem.plan.num_areas).by_image
    areas = dict(areas=by_image(masks.mean(axis=tuple(range(1, masks.ndim)))), requested_areas=by_image(problem.areas))
    rewards = {} if final_evaluation else dict(rewards=by_image(record.rewards[-1]))
    fields = concluded(problem, state, record, masks, params, count)
    return fields | areas | rewards | dict(masks_with_margin=by_image(masks_with_margin))
