"""The smallest area that suffices: how little of an image excites the target as much as all of it.

    a* = min { a : Φ(m_a ⊗ x) ≥ Φ₀ },    Φ₀ = threshold · Φ(x), or a number

A sweep of growing areas finds the first that suffices, and bisection narrows the gap to the one before it, in steps of equal ratio, for
all images at once. Each mask of the bisection starts from the parameters of the largest area that was not enough, which is near, so that it
needs fewer steps than the masks of the sweep.

Source: Fong, Patrick and Vedaldi (2019), section 4; how a* is searched is ours.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from extremal_jax.boundary.inputs import check_areas, check_images, check_reference, check_targets
from extremal_jax.boundary.models import Model, check_model
from extremal_jax.extremal.bisection import Search, Tried, answered, begin, curve_of, narrow, order_of, response_to_images
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation, masked_at, plan_for
from extremal_jax.extremal.problem import Problem, pose
from extremal_jax.extremal.smallest_result import SmallestArea
from extremal_jax.ground.checks import check_key
from extremal_jax.ground.progress import Progress, Watcher, watching
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.optimise.settings import check_chunk_size, check_settings, is_positive
from extremal_jax.optimise.status import Status

_SHARE = 0.4  # of a run's steps: what a mask needs that starts from a neighbour's parameters


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
    nested: bool = False,
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
      nested: whether all masks that are tried are made to contain one another, for the result's `ranking`.
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
    check_model(model)
    check_chunk_size(chunk_size)
    images = check_images("images", images)
    reference = check_reference(reference, images)
    count = len(images) if images.ndim == 4 else None
    batch = images if images.ndim == 4 else images[None]
    sweep = _check_sweep(areas)
    _check_number("threshold", threshold)
    _check_number("resolution", resolution)
    judge, targets, settings = _judge(model, at, batch, targets, count, check_settings(config, Config), reference, chunk_size)
    whole = response_to_images(judge)
    wanted = _wanted(whole, threshold, response, count)

    near = _from_neighbours(settings)
    rounds = _halvings(sweep, resolution)
    keys = jax.random.split(check_key(key), 1 + rounds)
    total = settings.num_steps + rounds * near.num_steps

    with watching(progress) as watcher:

        def solve(turn: int, areas: Array, initial_params: Array | None = None) -> list[Tried]:
            done = settings.num_steps + (turn - 1) * near.num_steps if turn else 0
            result = extremal_perturbation(
                model,
                batch,
                targets,
                areas,
                at=at,
                config=near if turn else settings,
                key=keys[turn],
                initial_params=initial_params,
                reference=reference,
                progress=_later(watcher, done, total),
                chunk_size=chunk_size,
            )
            fields = result.requested_areas, result.masks, result.params, result.status.nonfinite_step
            return [answered(judge, *(field[:, k] for field in fields)) for k in range(result.areas.shape[1])]

        tried = solve(0, jnp.asarray(sweep))
        search = begin(tried, wanted, whole, binary)
        for turn in range(1, rounds + 1):
            middle = jnp.sqrt(search.low * search.best.areas)
            [new] = solve(turn, middle[:, None], search.low_params[:, None])
            search = narrow(search, new, wanted, binary)
            tried.append(new)
    result = _concluded(search, tried, nested, image_responses=whole, wanted=wanted, targets=targets, config=settings, at=at)
    return result if count is not None else jax.tree.map(lambda x: x[0], result)


def _concluded(search: Search, tried: list[Tried], nested: bool, **known: Any) -> SmallestArea:
    """The result of a search that has come to its end; `known` are the fields that were there before it."""
    best = search.best
    return SmallestArea(
        areas=jnp.where(search.reached, best.areas, jnp.nan),
        reached=search.reached,
        masks=best.masks,
        params=best.params,
        responses=best.responses,
        binary_responses=best.binary_responses,
        curve=curve_of(tried),
        status=Status(jnp.stack([one.nonfinite_step for one in tried], axis=1)),
        order=order_of(tried) if nested else None,
        **known,
    )


def _check_number(name: str, value: Any) -> None:
    """Raise a ValueError unless a value is a positive number, or traced."""
    if not isinstance(value, Tracer) and not is_positive(value):
        raise ValueError(f"{name} must be a positive, finite number, got {value!r}")


def _check_sweep(areas: Any) -> np.ndarray:
    """(K,) growing."""
    if isinstance(areas, Tracer):
        raise TypeError("areas must be known numbers, not traced: how often the search halves its step depends on them")
    return np.unique(np.asarray(check_areas(areas, None)))


def _wanted(whole: Array, threshold: float, response: Any, count: int | None) -> Array:
    """(N,): Φ₀."""
    if response is not None:
        if not isinstance(response, Array) and np.asarray(response).dtype.kind not in "fiu":
            raise TypeError(f"response must be a number, or one for each image, got {response!r}")
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
                f" `response`, the one that suffices, in the place of `threshold`"
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
    masked, reference = masked_at(model, at, images, reference)
    shape = (masked.shape[1], masked.shape[2])
    settings = config.resolve(shape, inner=at is not None)
    preserve = dataclasses.replace(settings, game="preserve")
    plan, arrays, num_classes = plan_for(model, images, 1, preserve, chunk_size, at, shape)
    targets = check_targets(targets, count, num_classes, settings.reward, getattr(model, "classes", None))
    return pose(plan, arrays, masked, targets, jnp.ones((len(images), 1)), reference), targets, settings
