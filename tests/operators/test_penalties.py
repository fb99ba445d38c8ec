"""Penalties of masks, and the settings that need them."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
from extremal_jax.operators.axes import MOMENTS, SERIES, VIDEO, masked
from extremal_jax.operators.penalties import Core, Variation, ellipsoid
from extremal_jax.optimise.settings import from_json, to_json

CLIPS = np.random.default_rng(0).random((2, 6, 9, 8)).astype(np.float32)


def model(x: Any) -> Any:
    return x.sum(axis=1)


def test_variation_is_along_the_axis_of_its_name() -> None:
    masks = jnp.array([[[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]])
    axes = masked(SERIES)
    assert Variation(1.0).costs(masks, jnp.ones(1), axes).tolist() == pytest.approx([2 / 3])
    assert Variation(1.0, along="feature").costs(masks, jnp.ones(1), axes).tolist() == [0.5]


def test_core_against_loops() -> None:
    window, areas = (3, 4, 2), np.array([0.2, 0.5], np.float32)
    kernel = ellipsoid(window)
    found = Core(1.0, window=window).costs(jnp.asarray(CLIPS), jnp.asarray(areas), masked(VIDEO))
    for mask, area, cost in zip(CLIPS, areas, found, strict=True):
        means = [
            (mask[t : t + 3, y : y + 4, x : x + 2] * kernel).sum() / kernel.sum()
            for t in range(4)
            for y in range(0, 6, 4)
            for x in range(0, 7, 2)
        ]
        highest, count = np.sort(means)[::-1], math.ceil(area * mask.size / int(24 * math.pi / 6))
        assert cost == pytest.approx(
            ((highest[:count] - 1) ** 2).mean() + np.sum(highest[count:] ** 2) / max(1, len(means) - count), rel=1e-5
        )


def test_a_window_that_is_longer_than_the_clip_is_the_clip() -> None:
    long, short = (Core(1.0, window=(side, 3, 3)).costs(jnp.asarray(CLIPS), jnp.full(2, 0.3), masked(VIDEO)) for side in (50, 6))
    np.testing.assert_array_equal(long, short)


def test_penalties_are_charged_from_their_start_and_by_their_weights() -> None:
    schedules = ej.Config(axes="series", num_steps=4, penalties=(Variation(0.5, start=0.5), Variation(2.0))).schedules()
    assert schedules["penalties"].tolist() == [[0, 2], [0, 2], [0.5, 2], [0.5, 2]]
    assert "penalties" not in ej.Config().schedules()


@pytest.mark.parametrize("weight", [0.0, 30.0])
def test_a_penalty_changes_masks(weight: float) -> None:
    series = np.random.default_rng(1).standard_normal((12, 1)).astype(np.float32)
    settings: dict[str, Any] = dict(axes="moments", num_steps=20, pitch=(1,), sigma=(0.0,), perturbation="fade", exact_area=False)
    plain, charged = (
        ej.extremal_perturbation(model, series, 0, areas=[0.4], config=ej.Config(penalties=penalties, **settings)).masks
        for penalties in ((), (Variation(weight),))
    )
    rough, smooth = (float(jnp.abs(jnp.diff(masks)).mean()) for masks in (plain, charged))
    assert (rough == smooth) if weight == 0 else (smooth < rough)


def test_a_place_with_no_kernel_has_a_parameter_of_its_own_and_starts_where_told() -> None:
    config = ej.Config.dynamask(num_steps=1, learning_rate=0.0, start=0.25)
    result = ej.extremal_perturbation(model, np.ones((6, 2), np.float32), 0, areas=[0.5], config=config)
    assert result.params.shape == (1, 6, 2)
    np.testing.assert_allclose(result.masks, 0.25, rtol=1e-6)


@pytest.mark.parametrize("preset", ["dynamask", "step_perturbation", "points"])
def test_presets_survive_files_and_changes(preset: str) -> None:
    config = getattr(ej.Config, preset)(num_steps=7)
    assert config.num_steps == 7
    assert from_json(ej.Config, to_json(config)) == config


def test_presets_are_as_published() -> None:
    weights = ej.Config.dynamask().schedules()["area_weight"]
    assert (weights[0], weights[-1] * 100 ** (1 / 1000)) == (pytest.approx(0.1), pytest.approx(10.0))
    step = ej.Config.step_perturbation()
    assert np.flatnonzero(step.schedules()["penalties"][:, 0])[0] == 101
    assert (step.num_steps, step.pitch, step.sigma, step.start) == (2000, (1, 7, 7), (0.0, 11.0, 11.0), 1.0)
    assert ej.Config.points().game == "dual"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Variation(-1.0), ValueError, "weight must be"),
        (lambda: Variation(1.0, start=2.0), ValueError, "start must be"),
        (lambda: Core(1.0, window=(0, 1, 1)), ValueError, "window must be a whole number"),
        (lambda: ej.Config(penalties=(3,)), TypeError, "penalties must be records"),  # type: ignore[arg-type]
        (
            lambda: ej.Config(penalties=(Variation(1.0),)),
            ValueError,
            "along must be an axis that masks have, one of height, width, got 'time'",
        ),
        (lambda: ej.Config(axes="series", penalties=(Core(1.0),)), ValueError, "window must have one side for each of time, feature"),
        (lambda: ej.Config(start=1.5), ValueError, "start must be"),
    ],
)
def test_bad_settings(make: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_moments_have_one_axis() -> None:
    assert Variation(1.0).costs(jnp.array([[0.0, 1.0]]), jnp.ones(1), masked(MOMENTS)).tolist() == [1.0]
