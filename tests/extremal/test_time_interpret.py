"""The preset of dynamic masks and its parts against recorded numbers of time-interpret 0.3.0.

The tolerance is the promise of 1e-5: masks lie in [0, 1], and some steps of descent do not let rounding grow beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import extremal_jax as ej
from extremal_jax.ground.filters import gaussian_blur
from extremal_jax.operators.axes import SERIES, masked
from extremal_jax.operators.penalties import Variation
from extremal_jax.optimise.schedules import Exponential
from golden_data import GOLDEN

STEPS, TOLERANCE = 6, 1e-5


@dataclass(frozen=True)
class Mean:
    """A penalty of a caller's own: the L1 norm by which ExtremalMask keeps masks small."""

    weight: float
    start: float = 0.0

    def check(self, axes: Any) -> None:
        pass

    def costs(self, masks: jax.Array, areas: jax.Array, axes: Any) -> jax.Array:
        return jnp.abs(masks).reshape(len(masks), -1).mean(axis=1)


@dataclass(frozen=True)
class Variation1(Variation):
    """Without the last difference, as in the code of Dynamask."""

    def costs(self, masks: jax.Array, areas: jax.Array, axes: Any) -> jax.Array:
        return super().costs(masks[:, :-1], areas, axes)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    with np.load(GOLDEN / "series" / "masks.npz") as file:
        return dict(file)


def masks(recorded: Any, areas: Any, **changes: Any) -> Any:
    """(N, K, T, F), the masks of the preset with these changes."""

    def regressor(x: Any) -> Any:
        return jnp.square(x) @ recorded["weights"]

    reference = recorded["reference"] if changes["perturbation"] == "reference" else None
    config = ej.Config.dynamask(num_steps=STEPS, **changes)
    start = np.swapaxes(recorded["start"], 0, 1) if len(areas) > 1 else None
    scores = ej.perturbation.closeness(regressor, recorded["series"])
    given: Any = dict(reference=reference, config=config, initial_params=start)
    return ej.extremal_perturbation(scores, recorded["series"], [0, 1], areas=areas, **given).masks


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        # The rate is a share of 6: the package takes the mean of the losses of three areas of two series.
        ("window", dict(perturbation="moving_average", max_blur=(2.0, 0.0), padding="zeros", learning_rate=0.1 / 6)),
        ("faded", dict(perturbation="reference", optimizer=optax.adam(1.0), learning_rate=0.02)),
        ("deletion", dict(perturbation="reference", game="delete", learning_rate=0.1 / 6)),
    ],
)
def test_masks_are_those_of_dynamask(case: str, changes: Any, recorded: Any) -> None:
    found = masks(
        recorded,
        recorded["ratios"],
        area_weight=Exponential(0.5, 100 ** (1 / STEPS)),
        penalties=(Variation1(0.2),),
        **changes,
    )
    np.testing.assert_allclose(jnp.swapaxes(found, 0, 1), recorded[case], rtol=0, atol=TOLERANCE)


def test_masks_by_a_blur_are_near_those_of_dynamask(recorded: Any) -> None:
    """The blur is read between 21 widths, and repeats the ends of the series; both are differences that the preset names."""
    weight = Exponential(0.5, 100 ** (1 / STEPS))
    changes: dict[str, Any] = dict(perturbation="blur", learning_rate=0.1 / 6, area_weight=weight)
    found = np.swapaxes(masks(recorded, recorded["ratios"], **changes), 0, 1)
    apart = np.abs(found - recorded["blur"])
    assert np.median(apart) < 0.1


def test_blur_is_that_of_dynamask_away_from_the_ends(recorded: Any) -> None:
    """Where neither the ends nor what ours truncates at four widths are seen."""
    series = recorded["series"]
    for share, blurred in zip(recorded["shares"], recorded["blurred"], strict=True):
        ours = gaussian_blur(jnp.asarray(series), (float(2 * (1 - share)), 0.0), "edge")
        if share >= 0.75:
            np.testing.assert_allclose(ours[:, 2:-2], blurred[:, 2:-2], rtol=0, atol=1e-5)
        else:
            assert np.abs(ours[:, 4] - blurred[:, 4]).max() < 0.15


def test_variation_is_that_of_dynamask(recorded: Any) -> None:
    found = Variation1(1.0).costs(jnp.asarray(recorded["mask"]), jnp.ones(2), masked(SERIES))
    np.testing.assert_allclose(found.mean() / 2, recorded["variation"], rtol=1e-6)


def test_a_penalty_of_ones_own_makes_extremal_masks_of_series(recorded: Any) -> None:
    changes: dict[str, Any] = dict(perturbation="reference", area_weight=0.0, optimizer=optax.adam(1.0), learning_rate=0.02)
    found = masks(recorded, [1.0], penalties=(Mean(0.3),), **changes)
    np.testing.assert_allclose(found[:, 0], recorded["extremal"], rtol=0, atol=TOLERANCE)
