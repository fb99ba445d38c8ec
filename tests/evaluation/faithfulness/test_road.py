"""ROAD, against a loop over shares, and by its options."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.evaluation.faithfulness.imputation import impute
from extremal_jax.evaluation.faithfulness.road import road

IMAGES, TARGETS, SHARES = small.images(), np.array([4, 3]), (0.1, 0.5)
MAPS = np.random.default_rng(0).standard_normal(IMAGES.shape[:-1]).astype(np.float32)


def score(**options: Any) -> Any:
    return road(small.MODEL, IMAGES, TARGETS, MAPS, **{"shares": SHARES, "noise": 0.0, "score": "logit", **options})


def test_a_loop() -> None:
    """Scores to the tolerance of the imputation."""
    found = {"most": np.zeros((2, 2)), "least": np.zeros((2, 2))}
    for order, values in (("most", -MAPS), ("least", MAPS)):
        places = np.argsort(np.argsort(values.reshape(2, -1), axis=1), axis=1).reshape(values.shape)
        for i, share in enumerate(SHARES):
            shown = impute(IMAGES, places < round(share * values[0].size), noise=0.0)
            found[order][:, i] = np.asarray(small.MODEL(shown))[np.arange(2), TARGETS]
    np.testing.assert_allclose(score(order="most").scores, found["most"], rtol=1e-3)  # the least: below, and with ties
    combined = score()
    np.testing.assert_allclose(combined.scores, (found["least"] - found["most"]) / 2, atol=1e-3)
    np.testing.assert_allclose(combined.mean, combined.scores.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(combined.shares, SHARES)


def test_ties_keep_reading_order() -> None:
    """Of a constant map, the last rows are the least important ones."""
    image = np.arange(20.0, dtype=np.float32).reshape(10, 2, 1)

    def model(images: Any) -> Any:
        return jnp.stack([images[:, 0, 0, 0], images[:, -1, 0, 0]], axis=-1)

    found = road(model, np.stack([image, image]), (0, 1), np.zeros((2, 10, 2)), shares=(0.2,), order="least", noise=0.0, score="logit")
    assert found.scores[0, 0] == 0
    assert found.scores[1, 0] != 18


def test_noise_scores_and_keys() -> None:
    usual = score()
    assert np.abs(score(noise=0.3).scores - usual.scores).max() > 1e-3
    assert np.abs(score(noise=0.3).scores - score(noise=0.3, key=jax.random.key(1)).scores).max() > 1e-3
    assert np.abs(score(score="softmax").scores).max() <= 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"order": "first"}, "order must be one of 'most', 'least', 'combined', got 'first'"),
        ({"shares": (0.5, 1.0)}, "shares must be a sequence of numbers between 0 and 1"),
        ({"shares": ()}, "shares must be a sequence of numbers between 0 and 1"),
        ({"noise": float("nan")}, "noise must be zero or a positive number"),
        ({"key": 3}, "key must be one of JAX's keys"),
    ],
)
def test_refusals(options: Any, sentence: str, unchecked: None) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        score(**options)
