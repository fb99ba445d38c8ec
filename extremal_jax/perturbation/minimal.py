"""The smallest area that suffices: how little of an image excites the target as much as all of it.

    a* = min { a : Φ(m_a ⊗ x) ≥ Φ₀ },    Φ₀ = threshold · Φ(x), or a number

A sweep of growing areas finds the first that suffices, and bisection narrows the gap to the one before it, in steps of equal ratio, for
all images at once. Each mask of the bisection starts from the parameters of the largest area that was not enough, which is near, so that it
needs fewer steps than the masks of the sweep.

Source: Fong, Patrick and Vedaldi (2019), section 4; how a* is searched is ours.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from extremal_jax.perturbation import solver
from extremal_jax.perturbation.area import area_threshold, binarize, ramp
from extremal_jax.perturbation.config import Config
from extremal_jax.perturbation.inputs import AnyArray, check_areas, check_images, check_targets
from extremal_jax.perturbation.model import Model
from extremal_jax.perturbation.problem import Problem, pose
from extremal_jax.perturbation.result import OfImages, Status
from extremal_jax.perturbation.spatial import extremal_perturbation, masked_at, plan_for
from extremal_jax.perturbation.storage import Saved
from extremal_jax.progress import Progress, Watcher, watching
from extremal_jax.pytrees import pytree

_SHARE = 0.4  # of a run's steps: what a mask needs that starts from a neighbour's parameters


@pytree()
class Curve:
    """The response as a function of the area: every area that was tried, in growing order.

    Attributes:
      areas: (..., M).
      responses: (..., M), to what the masks of exactly these areas keep.
      binary_responses: (..., M), to what the masks keep when they are cut to their round(a n) highest pixels.
    """

    areas: Float[AnyArray, "*N M"]
    responses: Float[AnyArray, "*N M"]
    binary_responses: Float[AnyArray, "*N M"]


@pytree(static=("config", "at"))
class SmallestArea(OfImages, Saved, mark="extremal_jax smallest area 1", settings=Config, curve=Curve, status=Status):
    """The smallest sufficient areas of one image, or of a batch of N. A pytree.

    Attributes:
      areas: (...), a*: the smallest area found whose mask excites the target enough. NaN where none does.
      reached: (...), whether any does.
      masks: (..., H, W), the mask of this area, exactly: in [0, 1], with the mean a*. The whole image's, ones, where nothing less suffices;
        where nothing does, the mask of the highest response.
      params: (..., h, w), the mask's parameters.
      responses: (...), Φ of what the mask keeps.
      binary_responses: (...), Φ of what it keeps when it is cut to its round(a* n) highest pixels.
      image_responses: (...), Φ of the image itself.
      wanted: (...), Φ₀.
      targets: (...) or (..., M), the classes.
      curve: the response at every area that was tried.
      status: whether everything stayed finite, in the order in which areas were tried.
      config: the settings, with all lengths in pixels.
      at: the name of the activation that is masked; None where it is the image.
    """

    areas: Float[AnyArray, "*N"]
    reached: Bool[AnyArray, "*N"]
    masks: Float[AnyArray, "*N H W"]
    params: Float[AnyArray, "*N h w"]
    responses: Float[AnyArray, "*N"]
    binary_responses: Float[AnyArray, "*N"]
    image_responses: Float[AnyArray, "*N"]
    wanted: Float[AnyArray, "*N"]
    targets: Int[AnyArray, ...]
    curve: Curve
    status: Status
    config: Config
    at: str | None = None

    _single_rank = 2


@pytree()
class _Tried:
    """One mask for each image, and what the model answers to it.

    Attributes:
      areas: (N,).
      masks: (N, H, W), of exactly these areas.
      params: (N, h, w).
      responses: (N,).
      binary_responses: (N,).
      nonfinite_step: (N,).
    """

    areas: Array
    masks: Array
    params: Array
    responses: Array
    binary_responses: Array
    nonfinite_step: Array


def smallest_area(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    threshold: float = 1.0,
    response: Any = None,
    areas: Any = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4),
    resolution: float = 0.1,
    binary: bool = False,
    config: Config | None = None,
    key: Array | None = None,
    reference: Any = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> SmallestArea:
    """The smallest area whose mask excites the target as much as the whole image does, or as much as asked.

    What decides is the response to what a mask of exactly this area keeps, whatever the game in which it was found: a soft mask that is
    larger than asked is cut down first.

    Args:
      model: any function from images (B, H, W, C) to scores, as for `extremal_perturbation`.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them.
      targets: one class index or name for all images, or one per image.
      at: the name of a layer's activation that is masked in the place of the images, as for `extremal_perturbation`.
      threshold: Φ₀ as a share of the response to the whole image: positive and finite; it may be above 1.
      response: Φ₀ itself, in the reward's unit: a number, or one per image, (N,). It takes the place of `threshold`.
      areas: (K,), the areas of the sweep, shares of the image in (0, 1]. No area below the smallest is tried: where it suffices, it is a*.
      resolution: how far a* may lie above an area that does not suffice, as a share of it. Each halving of the ratio between the two costs
        four tenths of the config's steps.
      binary: whether the response to the binary mask decides, the round(a n) highest pixels, rather than that to the mask itself.
      config: as for `extremal_perturbation`.
      key: for the random part (jitter); None: `jax.random.key(0)`.
      reference: as for `extremal_perturbation`.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most masks that are shown to the model at a time, to bound memory.

    Returns:
      A `SmallestArea`, with a leading axis N for a batch. Images for which no area suffices do not raise; they are not `reached`.

    Raises:
      TypeError, ValueError: for arguments that do not fit; for a threshold that is not finite or not positive; and for a share of a
        response that is not positive, which says nothing.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of the lower quarter
      ...     return x[:, 24:].sum((1, 2, 3))[:, None]
      >>> config = Config(perturbation="fade", step=2, sigma=4.0)
      >>> result = smallest_area(model, jnp.ones((32, 32, 3)), 0, threshold=0.9, areas=(0.1, 0.2, 0.4), config=config)
      >>> bool(result.reached), bool(0.2 < result.areas < 0.3), bool(result.masks[24:].sum() > 6 * result.masks[:24].sum())
      (True, True, True)
    """
    images = check_images("images", images)
    count = len(images) if images.ndim == 4 else None
    batch = images if images.ndim == 4 else images[None]
    sweep = _check_sweep(areas)
    _check_number("threshold", threshold)
    _check_number("resolution", resolution)
    judge, targets, settings = _judge(model, at, batch, targets, count, config or Config(), reference, chunk_size)
    whole = _response_to_images(judge)
    wanted = _wanted(whole, threshold, response, count)

    near = _from_neighbours(settings)
    rounds = _halvings(sweep, resolution)
    keys = jax.random.split(jax.random.key(0) if key is None else key, 1 + rounds)
    total = settings.num_steps + rounds * near.num_steps

    with watching(progress) as watcher:

        def solve(areas: Array, config: Config, turn: int, initial_params: Array | None = None) -> list[_Tried]:
            done = settings.num_steps + (turn - 1) * near.num_steps if turn else 0
            result = extremal_perturbation(
                model,
                batch,
                targets,
                areas,
                at=at,
                config=config,
                key=keys[turn],
                initial_params=initial_params,
                reference=reference,
                progress=_later(watcher, done, total),
                chunk_size=chunk_size,
            )
            fields = result.requested_areas, result.masks, result.params, result.status.nonfinite_step
            return [_tried(judge, *(field[:, k] for field in fields)) for k in range(result.areas.shape[1])]

        tried = solve(jnp.asarray(sweep), settings, 0)
        search = _begin(tried, wanted, whole, binary)
        for turn in range(1, rounds + 1):
            middle = jnp.sqrt(search.low * search.best.areas)
            [new] = solve(middle[:, None], near, turn, search.low_params[:, None])
            search = _narrow(search, new, wanted, binary)
            tried.append(new)
    best = search.best
    result = SmallestArea(
        areas=jnp.where(search.reached, best.areas, jnp.nan),
        reached=search.reached,
        masks=best.masks,
        params=best.params,
        responses=best.responses,
        binary_responses=best.binary_responses,
        image_responses=whole,
        wanted=wanted,
        targets=targets,
        curve=_curve(tried),
        status=Status(jnp.stack([one.nonfinite_step for one in tried], axis=1)),
        config=settings,
        at=at,
    )
    return result if count is not None else jax.tree.map(lambda x: x[0], result)


def monotone_fraction(responses: Float[Any, "*N K"], tolerance: float = 0.0) -> float:
    """The share of response curves that never fall as the area grows.

    Args:
      responses: (..., K), by growing area.
      tolerance: the fall from one area to the next that is let pass, in units of the response.

    Example:
      >>> monotone_fraction(np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.5]])), monotone_fraction(np.array([1.0, 3.0, 2.5]), tolerance=0.5)
      (0.5, 1.0)
    """
    return float(np.mean(np.all(np.diff(np.asarray(responses), axis=-1) >= -tolerance, axis=-1)))


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, Tracer):
        return
    if not np.ndim(value) == 0 or not math.isfinite(float(value)) or not float(value) > 0:
        raise ValueError(f"{name} must be a positive, finite number, got {value!r}")


def _check_sweep(areas: Any) -> np.ndarray:
    """(K,) growing."""
    if isinstance(areas, Tracer):
        raise TypeError("areas must be known numbers, not traced: how often the search halves its step depends on them")
    return np.unique(np.asarray(check_areas(areas, None)))


def _wanted(whole: Array, threshold: float, response: Any, count: int | None) -> Array:
    """(N,): Φ₀."""
    if response is not None:
        given = jnp.asarray(response, whole.dtype)
        if given.shape not in ((), whole.shape if count is not None else ()):
            raise ValueError(f"response must be one number, or one for each of the images, {whole.shape}, got the shape {given.shape}")
        if not isinstance(given, Tracer) and not np.isfinite(np.asarray(given)).all():
            raise ValueError(f"response must be finite, got {response!r}")
        return jnp.broadcast_to(given, whole.shape)
    if not isinstance(whole, Tracer):
        values = np.asarray(whole)
        [bad] = np.nonzero(~(values > 0))
        if len(bad):
            which = "the image" if count is None else f"image {bad[0]}"
            more = f" (and to {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise ValueError(
                f"the response to {which} is {values[bad[0]]:.4g}{more}, and a share of a response that is not positive says nothing; give"
                f" response=, the response that suffices, in its place"
            )
    return threshold * whole


def _from_neighbours(config: Config) -> Config:
    """The run of a mask that starts from the parameters of a neighbouring area: shorter, and at the area asked for from the first step."""
    steps = math.ceil(_SHARE * config.num_steps)
    chosen = np.linspace(0, config.num_steps - 1, steps).round().astype(int)
    values = config.schedules()
    return dataclasses.replace(
        config, num_steps=steps, anneal=0.0, learning_rate=values["learning_rate"][chosen], area_weight=values["area_weight"][chosen]
    )


def _halvings(sweep: np.ndarray, resolution: float) -> int:
    """How often the largest ratio between neighbouring areas must be halved (its logarithm) to be within the resolution."""
    ratios = np.diff(np.log([*sweep.astype(np.float64), 1.0]))
    widest = ratios.max()
    return max(0, math.ceil(math.log2(widest / math.log1p(resolution)) - 1e-9)) if widest > 0 else 0


def _later(watcher: Watcher | None, done: int, total: int) -> Watcher | None:
    """A watcher of one run among several, as steps of all of them."""
    return watcher and (lambda now: watcher(Progress(done + now.step, total, now.reward)))


def _judge(
    model: Model, at: str | None, images: AnyArray, targets: Any, count: int | None, config: Config, reference: Any, chunk_size: int | None
) -> tuple[Problem, AnyArray, Config]:
    """What answers to masks, one for each image, in the game of preservation; the targets as indices; and the settings, resolved."""
    if reference is not None:
        reference = check_images("reference", reference)
    masked, reference = masked_at(model, at, images, reference)
    shape = (masked.shape[1], masked.shape[2])
    settings = config.resolve(shape, inner=at is not None)
    preserve = dataclasses.replace(settings, game="preserve")
    plan, arrays, num_classes = plan_for(model, images, 1, preserve, chunk_size, at, shape)
    targets = check_targets(targets, count, num_classes, settings.reward, getattr(model, "classes", None))
    return pose(plan, arrays, masked, targets, jnp.ones((len(images), 1)), reference), targets, settings


@jax.jit
def _response_to_images(judge: Problem) -> Array:
    """(N,): Φ(x)."""
    images = judge.pyramid[:, -1]
    return solver.in_chunks(lambda rows, elements: judge.responses(rows[None], elements)[0], judge.plan.chunk_size)(images)


@jax.jit
def _tried(judge: Problem, areas: Array, masks: Array, params: Array, nonfinite_step: Array) -> _Tried:
    """One mask for each image, its area made exact, and the responses to it."""
    flat = masks.reshape(len(masks), -1)
    # A ramp of width 1 only shifts the values and clips them; masks of exact area stay what they are.
    flat = ramp(flat, area_threshold(flat, areas, 1.0), 1.0)
    exact, binary = flat.reshape(masks.shape), binarize(flat, areas).reshape(masks.shape)
    ask: Callable[[Array], Array] = solver.in_chunks(lambda rows, elements: judge.rewards(rows, elements), judge.plan.chunk_size)
    return _Tried(areas, exact, params, ask(exact), ask(binary), nonfinite_step)


@pytree()
class _Search:
    """Where the search stands.

    Attributes:
      low: (N,), the largest area that was not enough, next to the smallest that was.
      low_params: (N, h, w), its mask's parameters.
      best: the smallest area that was enough; where there is none, area 1, with the mask of the highest response.
      reached: (N,).
    """

    low: Array
    low_params: Array
    best: _Tried
    reached: Array


@functools.partial(jax.jit, static_argnums=3)
def _begin(tried: list[_Tried], wanted: Array, whole: Array, binary: bool) -> _Search:
    """The bracket that a sweep of growing areas leaves: the first that is enough, and the one before it, or itself if there is none."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *tried)
    responses = stacked.binary_responses if binary else stacked.responses
    enough = responses >= wanted[:, None]
    found, first, count = enough.any(axis=1), enough.argmax(axis=1), len(tried)

    def at(index: Array) -> _Tried:
        return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, index.reshape(-1, *[1] * (leaf.ndim - 1)), axis=1)[:, 0], stacked)

    below = at(jnp.where(found, jnp.maximum(first - 1, 0), count - 1))
    image = jax.tree.map(jnp.ones_like, below)
    image = dataclasses.replace(image, responses=whole, binary_responses=whole)
    suffices = whole >= wanted
    highest = dataclasses.replace(at(jnp.where(jnp.isnan(responses), -jnp.inf, responses).argmax(axis=1)), areas=jnp.ones_like(below.areas))
    best = _choose(found, at(first), _choose(suffices, image, highest))
    return _Search(below.areas, below.params, best, found | suffices)


@functools.partial(jax.jit, static_argnums=3)
def _narrow(search: _Search, new: _Tried, wanted: Array, binary: bool) -> _Search:
    """The half of the bracket that a new area leaves."""
    responses = new.binary_responses if binary else new.responses
    enough, best = responses >= wanted, search.best
    smaller = enough & (new.areas < best.areas)
    highest = ~search.reached & ~enough & (responses > (best.binary_responses if binary else best.responses))
    best = _choose(smaller, new, _choose(highest, dataclasses.replace(new, areas=best.areas), best))
    params = jnp.where(enough[:, None, None], search.low_params, new.params)
    return _Search(jnp.where(enough, search.low, new.areas), params, best, search.reached | enough)


def _choose(where: Array, a: _Tried, b: _Tried) -> _Tried:
    return jax.tree.map(lambda x, y: jnp.where(where.reshape(-1, *[1] * (x.ndim - 1)), x, y), a, b)


@jax.jit
def _curve(tried: list[_Tried]) -> Curve:
    areas, *responses = (jnp.stack([getattr(one, name) for one in tried], axis=1) for name in ("areas", "responses", "binary_responses"))
    order = jnp.argsort(areas, axis=1)
    return Curve(*(jnp.take_along_axis(values, order, axis=1) for values in (areas, *responses)))
