"""Penalties of masks: what a run pays for masks that are not smooth, beside the area loss.

    variation:  V(m) = mean |m(u + 1) − m(u)|, along some axes
    core:       C(m) = mean (c_i − 1)² over the ⌈a n / v⌉ highest c_i, plus mean c_j² over the rest, c the mean of m in a
                window of v places; no place of the mask's a n then stands alone

The masks of lattices with a kernel are smooth without them. They serve masks that have a parameter of their own at every
place, or in every frame.

To add a penalty, write a frozen dataclass with the members of `Penalty`; it needs no registration.

Sources: Crabbé and van der Schaar, "Explaining Time Series Predictions with Dynamic Masks", ICML 2021 (V); Li, Wang, Li,
Huang and Sato, "Towards Visually Explaining Video Understanding Networks with Perturbation", WACV 2021 (C).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from extremal_jax.ground.checks import check_count, check_not_negative, check_share
from extremal_jax.operators.axes import Axes, names


@runtime_checkable
class Penalty(Protocol):
    """A frozen record of one penalty.

    Attributes:
      weight: the cost of one unit of the penalty, in units of the reward.
      start: the share of the run after which it counts.
    """

    @property
    def weight(self) -> float: ...
    @property
    def start(self) -> float: ...

    def check(self, axes: Axes) -> None:
        """Raise a ValueError if masks with these axes cannot be charged."""

    def costs(self, masks: Float[Array, "R ..."], areas: Float[Array, " R"], axes: Axes) -> Float[Array, " R"]:
        """The penalty of each mask, (R, D1, ..., Dn) -> (R,), before its weight. The axes are those of the masks."""


@dataclass(frozen=True)
class Variation:
    """The total variation: the mean absolute difference of neighbours along an axis.

    Attributes:
      weight, start: as in `Penalty`.
      along: the name of the axis.

    Example:
      >>> from extremal_jax.operators.axes import MOMENTS, masked
      >>> Variation(0.1).costs(jnp.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]]), jnp.full(2, 0.5), masked(MOMENTS)).tolist()
      [0.5, 0.0]

    Differences from Dynamask: its code leaves the last difference out, and the paper does not.
    """

    weight: float
    start: float = 0.0
    along: str = "time"

    def __post_init__(self) -> None:
        _check_weight(self)
        if not isinstance(self.along, str):
            raise TypeError(f"along must be the name of an axis, such as 'time', got {self.along!r}")

    def check(self, axes: Axes) -> None:
        if self.along not in names(axes):
            raise ValueError(f"along must be an axis that masks have, one of {', '.join(names(axes))}, got {self.along!r}")

    def costs(self, masks: Float[Array, "R ..."], areas: Float[Array, " R"], axes: Axes) -> Float[Array, " R"]:
        steps = jnp.abs(jnp.diff(masks, axis=1 + names(axes).index(self.along)))
        return steps.reshape(len(masks), -1).mean(axis=1)


@dataclass(frozen=True)
class Core:
    """The loss of spatio-temporal extremal perturbations (STEP): the masks of clips consist of windows that are full.

    Attributes:
      weight, start: as in `Penalty`.
      window: the sides of the window, an ellipsoid, one for each axis of the masks, in pixels and frames.

    Example:
      >>> from extremal_jax.operators.axes import MOMENTS, masked
      >>> masks = jnp.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
      >>> Core(300.0, window=(2,)).costs(masks, jnp.full(2, 0.5), masked(MOMENTS)).tolist()
      [0.125, 0.5]

    Differences from STEP's code: windows are a window apart along all axes but the first, as there, and no chance decides
    among equal windows.
    """

    weight: float
    start: float = 0.0
    window: tuple[int, ...] = (5, 11, 11)

    def __post_init__(self) -> None:
        _check_weight(self)
        object.__setattr__(self, "window", tuple(self.window))
        for side in self.window:
            check_count("window", side, 1)

    def check(self, axes: Axes) -> None:
        if len(self.window) != len(axes):
            raise ValueError(f"window must have one side for each of {', '.join(names(axes))}, got {self.window}")

    def costs(self, masks: Float[Array, "R ..."], areas: Float[Array, " R"], axes: Axes) -> Float[Array, " R"]:
        window = tuple(min(side, n) for side, n in zip(self.window, masks.shape[1:], strict=True))
        stride = (1, *window[1:])
        kernel = jnp.asarray(ellipsoid(window), masks.dtype)
        dimensions = lax.conv_dimension_numbers((1, 1, *masks.shape[1:]), (1, 1, *window), None)
        sums = lax.conv_general_dilated(masks[:, None], kernel[None, None], stride, "VALID", dimension_numbers=dimensions)
        means = sums.reshape(len(masks), -1) / kernel.sum()
        counts = jnp.ceil(areas * math.prod(masks.shape[1:]) / max(1, int(_VOLUME[len(axes)] * math.prod(window)))).astype(jnp.int32)
        highest = -jnp.sort(-means, axis=1)
        full = jnp.arange(means.shape[1], dtype=jnp.int32)[None] < counts[:, None]
        kept, rest = full.sum(axis=1), (~full).sum(axis=1)
        above = jnp.where(full, jnp.square(highest - 1), 0).sum(axis=1) / jnp.maximum(kept, 1).astype(means.dtype)
        return above + jnp.where(full, 0, jnp.square(highest)).sum(axis=1) / jnp.maximum(rest, 1).astype(means.dtype)


# The volume of a ball in the cube around it, by dimension.
_VOLUME = {1: 1.0, 2: math.pi / 4, 3: math.pi / 6}


def ellipsoid(sides: tuple[int, ...]) -> np.ndarray:
    """A window of these sides: 1 in the largest ellipsoid within, 0 outside; ones if it holds no place.

    Example:
      >>> ellipsoid((3, 3)).tolist()
      [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    """
    places = np.meshgrid(*(np.linspace(-1, 1, side) if side > 1 else np.zeros(1) for side in sides), indexing="ij")
    inside = np.sum(np.square(places), axis=0) <= 1
    return (inside if inside.any() else np.ones(sides)).astype(np.float32)


def _check_weight(penalty: Variation | Core) -> None:
    check_not_negative("weight", penalty.weight, " in units of the reward")
    check_share("start", penalty.start, "the steps")
