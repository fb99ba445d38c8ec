"""Bootstrap confidence intervals over images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

_RESAMPLES = 2000
_AT_A_TIME = 100  # resamples, to bound memory


class Estimate(NamedTuple):
    """A mean with its confidence interval.

    Attributes:
      mean: the mean of the values, or of the classes' means.
      low, high: the bounds of the interval; not a number where there are fewer than two images.
      number: how many values there are.
      lost: how many others are not numbers, and left out.
    """

    mean: float
    low: float
    high: float
    number: int
    lost: int = 0

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if np.isnan(self.low) else f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def estimate(
    values: Float[np.ndarray, " M"],
    images: Int[np.ndarray, " M"],
    classes: Shaped[np.ndarray, " M"] | None = None,
    *,
    among: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The mean of values, and its bootstrap interval over images: whole images are drawn, with all their values.

    Values that are not numbers are left out.

    Args:
      values: (M,).
      images: (M,), the image that each value belongs to.
      classes: (M,), the name or index of a class for each value, for the mean of the classes' means; None: the mean of all values.
      among: the number of classes of that mean: those that have no value at all count as zero; None: they are left out.
      level: the level of confidence.
      seed: seeds the resampling.

    Example:
      >>> print(estimate(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 2])))
      0.750 (0.500 to 1.000)
    """
    known = ~np.isnan(values)
    lost = int((~known).sum())
    values, images = values[known], images[known]
    groups: np.ndarray = np.zeros(len(values), np.int64) if classes is None else classes[known]
    if len(values) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, lost)
    _, images = np.unique(images, return_inverse=True)
    _, groups = np.unique(groups, return_inverse=True)
    shape = int(np.max(images)) + 1, int(np.max(groups)) + 1
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (images, groups), values)
    np.add.at(counts, (images, groups), 1)

    def mean_of_classes(sums: Float[np.ndarray, "... K"], counts: Float[np.ndarray, "... K"]) -> Any:
        """Over the last axis; no image that was drawn may show a class."""
        with np.errstate(invalid="ignore"):
            means = sums / counts
        return np.nanmean(means, axis=-1) * (1 if among is None else shape[1] / among)

    mean = float(mean_of_classes(sums.sum(axis=0), counts.sum(axis=0)))
    if len(sums) < 2:
        return Estimate(mean, np.nan, np.nan, len(values), lost)
    rng, means = np.random.default_rng(seed), []
    for _ in range(0, _RESAMPLES, _AT_A_TIME):
        weights = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _AT_A_TIME)
        means.append(mean_of_classes(weights @ sums, weights @ counts))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(mean, float(low), float(high), len(values), lost)
