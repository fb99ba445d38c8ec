"""What the contenders of a benchmark enter: maps, an order of the pixels, and masks."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax.evaluation.suite import contenders
from extremal_jax.evaluation.suite.contenders import contender

KEY = jax.random.key(2)
MODEL = functools.partial(small.classify, small.weights())


@pytest.mark.parametrize("preset", ["", ":thorough", ":torchray", ":paper"])
def test_what_extremal_perturbation_enters(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its evidence, or with published settings the smoothed mean of its masks; the ranking as the order; and its own masks."""
    config = ej.Config(num_steps=2, pitch=4, sigma=4.0, num_levels=2, max_blur=4.0)
    monkeypatch.setattr(contenders, "Config", lambda: config)
    monkeypatch.setattr(contenders, "PRESETS", dict.fromkeys(contenders.PRESETS, lambda: config))
    images, targets, areas = small.images(2), np.array([1, 2], np.int32), (0.1, 0.3)
    found = contender(f"extremal_perturbation{preset}").explain(MODEL, images, targets, areas, KEY)
    result = ej.extremal_perturbation(MODEL, images, targets, areas, config=config, key=KEY)
    published = preset in (":torchray", ":paper")
    np.testing.assert_array_equal(found.maps, result.saliency() if published else result.evidence(images))
    np.testing.assert_array_equal(found.masks, result.masks)
    np.testing.assert_array_equal(found.order, -np.asarray(result.ranking(), np.float32))


def test_another_definition_of_the_evidence_is_another_setting() -> None:
    """Rows of evidence are not mixed with rows of another; published presets have no evidence."""
    assert "evidence by the power mean of 0.125" in contender("extremal_perturbation").settings
    assert "evidence" not in contender("extremal_perturbation:torchray").settings


@pytest.mark.parametrize("size", [(7, 9), (8, 8), (6, 11)])
def test_the_centre_points_at_the_middle(size: tuple[int, int]) -> None:
    found = contender("center").explain(MODEL, np.zeros((2, *size, 3), np.float32), np.zeros(2, np.int32), (), KEY)
    row, column = np.unravel_index(np.argmax(found.maps[1]), size)
    assert abs(row + 0.5 - size[0] / 2) <= 0.5
    assert abs(column + 0.5 - size[1] / 2) <= 0.5
