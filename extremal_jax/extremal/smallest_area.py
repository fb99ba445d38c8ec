"""The smallest sufficient area: how little of an image excites the target as much as all of it.

    a* = min { a : Φ(m_a ⊗ x) ≥ Φ₀ },    Φ₀ = threshold · Φ(x), or a number

A sweep of growing areas finds the first that suffices. Bisection then narrows the gap to the one before it, in steps of
equal ratio, for all images at once. Each mask of the bisection starts from the parameters of the largest area that was
not enough, so that it needs fewer steps than the masks of the sweep.

Source: Fong, Patrick and Vedaldi (2019), section 4; the search is ours.
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
from jax.core import Tracer

from extremal_jax.boundary.areas import check_areas
from extremal_jax.boundary.images import batch_size, check_images
from extremal_jax.boundary.meshes import laid_out_automatically
from extremal_jax.boundary.models import Model
from extremal_jax.extremal.bisection import Search, Tried, begin, curve_of, cut, narrow, order_of, stack
from extremal_jax.extremal.candidates import ascend_best
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.evaluation import evaluate
from extremal_jax.extremal.images import Masking, check_masking, jitter, on_axes
from extremal_jax.extremal.problem import Problem
from extremal_jax.extremal.result import SmallestArea
from extremal_jax.extremal.run import ascend, check_call, start, unchanged
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.checks import check_flag, check_key, is_positive
from extremal_jax.ground.progress import Watcher, later, watching
from extremal_jax.operators.axes import Axes
from extremal_jax.operators.games import PRESERVE, Game
from extremal_jax.optimise import solver
from extremal_jax.optimise.elements import Elements
from extremal_jax.optimise.schedules import RunSchedule
from extremal_jax.optimise.settings import check_settings
from extremal_jax.optimise.status import Status

_SHARE = 0.4  # of a run's steps, for a mask that starts from a neighbour's parameters


@laid_out_automatically
def smallest_area(
    model: Model,
    images: Any,
    targets: Any,
    areas: Any = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4),
    *,
    at: str | None = None,
    axes: Axes | str | None = None,
    threshold: float = 1.0,
    response: Any = None,
    resolution: float = 0.1,
    binary: bool = False,
    nested: bool = False,
    reference: Any = None,
    config: Config | None = None,
    key: Array | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> SmallestArea:
    """Find the smallest area whose mask excites the target as much as the whole image does, or as much as asked.

    The response to a mask of exactly this area decides, whatever the game in which the mask was found. A soft mask that
    is larger than asked is cut down first.

    Args:
      model: any function from images (B, H, W, C) to scores, as for `extremal_perturbation`.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them.
      targets: one class index or name for all images, or one per image.
      areas: (K,), the areas of the sweep, shares of the image in (0, 1]. No area below the smallest is tried: if it
        suffices, it is a*.
      at: the name of a layer's activation that is masked instead of the images, as for `extremal_perturbation`.
      axes: what `images` are, if they are something else, as for `extremal_perturbation`.
      threshold: Φ₀ as a share of the response to the whole image: positive and finite; it may be above 1.
      response: Φ₀ itself, in the reward's unit: a number, or one per image, (N,). It replaces `threshold`.
      resolution: how far a* may lie above an area that does not suffice, as a share of it. Each halving of the ratio
        between the two costs four tenths of the config's steps.
      binary: whether the response to the binary mask, the round(a n) highest pixels, decides instead of the response to
        the mask itself.
      nested: whether all masks tried are made to contain one another, for the result's `ranking`.
      reference: as for `extremal_perturbation`.
      config: as for `extremal_perturbation`.
      key: for the random part (jitter); None: `jax.random.key(0)`.
      progress: True for a bar on standard error, or a function that is called with a `Progress` from time to time.
      chunk_size: the most masks that are shown to the model at a time, to bound memory.

    Returns:
      A `SmallestArea`, with a leading axis N for a batch. Images for which no area suffices do not raise; they are not
      `reached`.

    Raises:
      TypeError, ValueError: for bad arguments; for a threshold that is not finite or not positive; and for a threshold
        on a response that is not positive, of which a share is undefined.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of the lower quarter
      ...     return x[:, 24:].sum((1, 2, 3))[:, None]
      >>> config = Config(perturbation="fade", pitch=2, sigma=4.0)
      >>> result = smallest_area(model, jnp.ones((32, 32, 3)), 0, threshold=0.9, areas=(0.1, 0.2, 0.4), config=config)
      >>> bool(result.reached), bool(0.2 < result.areas < 0.3), bool(result.masks[24:].sum() > 6 * result.masks[:24].sum())
      (True, True, True)
    """
    settings, sweep = on_axes(check_settings(config, Config), axes, model), _check_sweep(areas)
    _check_positive(threshold=threshold, resolution=resolution)
    check_flag("binary", binary)
    images, targets, reference = varying_alike(images, targets, reference)
    images, key = check_images("images", images, settings.input_axes), check_key(key)
    count = batch_size(images, len(settings.input_axes))
    task = check_call(model, images, targets, len(sweep), settings, chunk_size, at)
    masking = check_masking(task, settings, at, reference)
    masking.check_smallest(sweep)
    response = None if response is None else _check_response(response, count, len(task.images))

    first, one, judge = _problems(masking, model, sweep)
    whole = _whole_responses(judge, settings)
    wanted = _wanted(whole, threshold, count) if response is None else response.astype(whole.dtype)
    rounds = _halvings(sweep, resolution)
    with watching(progress) as watcher:
        trials = _Trials(model, masking, judge, _from_neighbours(masking.settings), jax.random.split(key, 1 + rounds), watcher)
        tried = trials.of_sweep(first)
        search = begin(tried, wanted, whole, binary)
        for turn in range(1, rounds + 1):
            middle = jnp.sqrt(search.low * search.best.areas)
            new = trials.of_bisection(turn, dataclasses.replace(one, areas=middle), search.low_params)
            search = narrow(search, new, wanted, binary)
            tried.append(new)
    known = dict(image_responses=whole, wanted=wanted, targets=task.targets, config=masking.settings, at=at)
    result = _concluded(search, tried, nested, **known)
    return result if count is not None else jax.tree.map(lambda x: x[0], result)


@dataclasses.dataclass(frozen=True)
class _Trials:
    """The runs of a search. The first finds the masks of the sweep; each later one, a turn of the bisection, finds one mask
    for each image, from the parameters of a neighbour."""

    model: Model
    masking: Masking
    judge: Problem
    near_settings: Config  # of a turn
    keys: Array  # (1 + rounds,), of the sweep and of each turn
    watcher: Watcher | None

    def of_sweep(self, problem: Problem) -> list[Tried]:
        """The masks of all areas of the sweep."""
        schedule = self._schedule(self.masking.settings, 0)
        state, _ = ascend_best(self.masking.task, self.model, problem, None, schedule, self.keys[0], self._watched(0))
        return self._tried(problem, state, schedule)

    def of_bisection(self, turn: int, problem: Problem, params: Array) -> Tried:
        """The masks of a turn of the bisection, from 1, one for each image."""
        schedule = self._schedule(self.near_settings, turn)
        state, _ = ascend(problem, start(problem, params), schedule, self._watched(turn))
        [found] = self._tried(problem, state, schedule)
        return found

    def _schedule(self, config: Config, turn: int) -> dict[str, Any]:
        return {**config.schedules(), **jitter(config, self.keys[turn])}

    def _watched(self, turn: int) -> Watcher | None:
        steps = [0, self.masking.settings.num_steps, *[self.near_settings.num_steps] * (len(self.keys) - 1)]
        return later(self.watcher, sum(steps[: turn + 1]), sum(steps))

    def _tried(self, problem: Problem, state: solver.State, schedule: dict[str, Any]) -> list[Tried]:
        columns = _columns(problem, state, jnp.asarray(schedule["ramp"][-1]), self.masking.settings.final_update)
        return [_judged(self.judge, *column) for column in columns]


def _problems(masking: Masking, model: Model, sweep: np.ndarray) -> tuple[Problem, Problem, Problem]:
    """The problems of the sweep, of all areas at once; of the bisection, of one area; and of judging one mask."""
    single = masking.task.for_areas(model, 1)
    first = masking.pose(sweep)
    one = dataclasses.replace(first, arrays=single.parted.arrays, areas=first.areas[:: len(sweep)], plan=single.plan(masking.masks, 1))
    return first, one, dataclasses.replace(one, plan=dataclasses.replace(one.plan, game=_judging(masking.task.game)))


def _whole_responses(judge: Problem, settings: Config) -> Array:
    """(N,): Φ(x), the responses to the images themselves."""
    whole_mask = (slice(None) if axis.masked else 0 for axis in settings.input_axes)
    image = jnp.ones_like(judge.levels[:, -1][:, *whole_mask], jnp.float32)
    return evaluate(judge, image, image).image_responses


def _judging(game: Game) -> Game:
    """The game whose reward is the response to what the mask keeps, of as many terms as the run's game: the model is
    parted for that."""
    return dataclasses.replace(PRESERVE, terms=(*PRESERVE.terms, *((False, 0),) * (len(game.terms) - 1)))


@functools.partial(jax.jit, static_argnums=3)
def _columns(problem: Problem, state: solver.State, width: Array, final_update: bool) -> list[tuple[Array, ...]]:
    """For each area of a run: the areas (N,), masks and parameters, and whether anything went wrong."""
    params = state.params if final_update else state.shown

    masks = solver.in_chunks(lambda params, elements: problem.final(params, elements, width), problem.plan.chunk_size)(params)
    elements = Elements(len(problem.targets), problem.plan.num_areas)
    fields = [elements.by_image(x) for x in (problem.areas, masks, params, state.nonfinite_step, state.no_gradient)]
    return [tuple(field[:, k] for field in fields) for k in range(problem.plan.num_areas)]


def _judged(judge: Problem, areas: Array, masks: Array, params: Array, nonfinite_step: Array, no_gradient: Array) -> Tried:
    """One mask for each image, its area made exact, and the responses to it."""
    exact, cut_off = cut(masks, areas)
    (responses, binary_responses), whole, mixed = evaluate(judge, exact, cut_off)
    lost = ~(jnp.isfinite(responses) & jnp.isfinite(binary_responses)) & (nonfinite_step == solver.NEVER)
    status = Status(
        nonfinite_step=nonfinite_step,
        no_gradient=no_gradient,
        nonfinite_image=~jnp.isfinite(whole),
        depends_on_batch=mixed,
        nonfinite_reward=lost,
        unchanged=unchanged(judge),
    )
    return Tried(areas, exact, params, responses, binary_responses, status)


def _concluded(search: Search, tried: list[Tried], nested: bool, **known: Any) -> SmallestArea:
    """The result of a finished search; `known` are the fields that did not depend on it."""
    best = search.best
    return SmallestArea(
        areas=jnp.where(search.reached, best.areas, jnp.nan),
        reached=search.reached,
        masks=best.masks,
        params=best.params,
        responses=best.responses,
        binary_responses=best.binary_responses,
        curve=curve_of(tried),
        status=stack([one.status for one in tried]),
        order=order_of(tried) if nested else None,
        **known,
    )


def _check_positive(**numbers: Any) -> None:
    for name, value in numbers.items():
        if not isinstance(value, Tracer) and not is_positive(value):
            raise ValueError(f"{name} must be a positive, finite number, got {value!r}")


def _check_sweep(areas: Any) -> np.ndarray:
    """(K,) growing."""
    if isinstance(areas, Tracer):
        raise TypeError("areas must be known numbers, not traced: the number of bisection steps depends on them")
    return np.unique(np.asarray(check_areas(areas, None)))


def _check_response(response: Any, count: int | None, num_images: int) -> Array:
    """(N,): the response that suffices, where the caller gives it."""
    if not isinstance(response, Array) and np.asarray(response).dtype.kind not in "fiu":
        raise TypeError(f"response must be a number, or one for each image, got {response!r}")
    given = jnp.asarray(response, jnp.float32)
    if given.shape not in ((), (num_images,) if count is not None else ()):
        each = "" if count is None else f", or one for each of the images, {(num_images,)}"
        raise ValueError(f"response must be one number{each}, got the shape {given.shape}")
    if not isinstance(given, Tracer) and not np.isfinite(np.asarray(given)).all():
        raise ValueError(f"response must be finite, got {response!r}")
    return jnp.broadcast_to(given, (num_images,))


def _wanted(whole: Array, threshold: float, count: int | None) -> Array:
    """(N,): Φ₀, the share `threshold` of the response to the image."""
    if not isinstance(whole, Tracer):
        values = np.asarray(whole)
        [bad] = np.nonzero(~(values > 0))
        if len(bad):
            which = "the image" if count is None else f"image {bad[0]}"
            more = f" (and to {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise ValueError(
                f"the response to {which} is {values[bad[0]]:.4g}{more}, and a share of it is undefined where it is not positive; pass"
                f" `response`, the response that suffices, instead of `threshold`"
            )
    return threshold * whole


def _from_neighbours(config: Config) -> Config:
    """The settings of a mask that starts from a neighbour's parameters: fewer steps, and the area asked for from the
    first step on."""
    steps = math.ceil(_SHARE * config.num_steps)
    chosen = np.linspace(0, config.num_steps - 1, steps).round().astype(int)
    values = config.schedules()
    chosen_values: dict[str, Any] = {name: values[name][chosen] for name in ("learning_rate", "area_weight")}
    if not isinstance(config.ramp, RunSchedule | float | int):  # those of a kind follow the number of steps
        chosen_values["ramp"] = values["ramp"][chosen]
    return dataclasses.replace(config, num_steps=steps, candidates=1, anneal=0.0, **chosen_values)


def _halvings(sweep: np.ndarray, resolution: float) -> int:
    """How often the logarithm of the largest ratio between neighbouring areas must be halved to be within the
    resolution."""
    ratios = np.diff(np.log([*sweep.astype(np.float64), 1.0]))
    widest = ratios.max()
    return max(0, math.ceil(math.log2(widest / math.log1p(resolution)) - 1e-9)) if widest > 0 else 0
