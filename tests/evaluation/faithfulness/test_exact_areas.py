"""The reward at exact areas, against a loop over masks, and the curve of responses over areas."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.evaluation.faithfulness.exact_areas import area_response, growing, pieces, reward_at_areas
from extremal_jax.ground.filters import gaussian_blur, resize

IMAGES, TARGETS, AREAS = small.images(), np.array([1, 3]), (0.1, 0.3)
RNG = np.random.default_rng(0)
MAPS = RNG.standard_normal(IMAGES.shape[:-1]).astype(np.float32)
MASKS = RNG.random((2, 2, 20, 24)).astype(np.float32)
reward = functools.partial(reward_at_areas, small.MODEL, IMAGES, TARGETS)


def loop(masks: Any, edge: str = "feathered", blur: float = 20 / 224, feather: float = 5 / 224) -> np.ndarray:
    """The rewards of masks (N, K, h, w), one after another."""
    rewards = np.zeros(masks.shape[:2])
    for i, j in np.ndindex(rewards.shape):
        mask = masks[i, j]
        kept = (mask >= np.sort(mask.ravel())[-round(AREAS[j] * mask.size)]).astype(np.float32)[..., None]
        kept = gaussian_blur(jnp.asarray(kept), feather * min(mask.shape)) if edge == "feathered" else kept
        kept = resize(jnp.asarray(kept), IMAGES.shape[1:3])
        shown = kept * IMAGES[i] + (1 - kept) * gaussian_blur(jnp.asarray(IMAGES[i]), blur * 20)
        rewards[i, j] = small.MODEL(shown[None])[0, TARGETS[i]]
    return rewards


def test_a_loop() -> None:
    np.testing.assert_allclose(reward(MASKS, AREAS), loop(MASKS), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(reward(MAPS, AREAS), loop(MAPS[:, None].repeat(2, axis=1)), rtol=1e-4, atol=1e-4)
    coarse = MASKS[..., :10, :12]
    np.testing.assert_allclose(reward(coarse, AREAS, edge="sharp"), loop(coarse, "sharp"), rtol=1e-4, atol=1e-4)


def test_options() -> None:
    np.testing.assert_allclose(reward(MASKS, AREAS, blur=0.2, feather=0.1), loop(MASKS, blur=0.2, feather=0.1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(reward(MASKS, AREAS, feather=0.0), reward(MASKS, AREAS, edge="sharp"), rtol=1e-5)
    probability = jax.nn.softmax(small.MODEL(jnp.asarray(IMAGES)))[np.arange(2), TARGETS]
    np.testing.assert_allclose(reward(MAPS, (1.0,), score="softmax")[:, 0], probability, rtol=1e-4)


def test_the_scale_of_maps_does_not_matter() -> None:
    np.testing.assert_array_equal(reward(1000 * MAPS - 7, AREAS), reward(MAPS, AREAS))


def test_an_outlier_does_not_hide_the_order_of_the_others() -> None:
    maps = MAPS.copy()
    maps[:, 0, 0] = -1e9
    lower = MAPS.copy()
    lower[:, 0, 0] = np.min(MAPS) - 1
    np.testing.assert_array_equal(reward(maps, AREAS), reward(lower, AREAS))


def test_a_traced_area_out_of_range_has_no_reward() -> None:
    found = jax.jit(lambda areas: reward(MAPS, areas))(jnp.array([0.1, 5.0]))
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1]).all()


def test_a_single_image() -> None:
    one = functools.partial(reward_at_areas, small.MODEL, IMAGES[1], TARGETS[1], areas=AREAS)
    np.testing.assert_allclose(one(maps=MASKS[1]), reward(MASKS, AREAS)[1], rtol=1e-4)
    assert jax.eval_shape(lambda maps: one(maps=maps), MAPS[1]).shape == (2,)


def test_constant_maps_show_the_end_and_a_mask_with_nan_its_nan() -> None:
    ending = np.zeros((2, 2, 20, 24), np.float32)
    for j, area in enumerate(AREAS):
        ending[:, j].reshape(2, -1)[:, -round(480 * area) :] = 1
    np.testing.assert_allclose(reward(np.ones_like(MAPS), AREAS), reward(ending, AREAS), rtol=1e-5)
    masks = MASKS.copy()
    masks[0, 1, 3, 4] = np.nan
    assert np.isnan(reward(masks, AREAS)).tolist() == [[False, True], [False, False]]


def test_area_response_is_a_curve_of_rewards() -> None:
    respond = functools.partial(area_response, small.MODEL, IMAGES, 4, MAPS, (0.1, 0.3, 0.4))
    curve, rewards = respond(), reward_at_areas(small.MODEL, IMAGES, 4, MAPS, (0.1, 0.3, 0.4), edge="sharp", score="softmax")
    np.testing.assert_allclose(curve.scores, rewards, rtol=1e-5)
    np.testing.assert_allclose(curve.shares, (0.1, 0.3, 0.4))
    np.testing.assert_allclose(curve.auc, np.trapezoid(rewards, (0.1, 0.3, 0.4)) / 0.3, rtol=1e-4)
    for options in ({"edge": "feathered"}, {"blur": 0.3}, {"score": "logit"}):  # type: dict[str, Any]
        assert np.abs(respond(**options).scores - curve.scores).max() > 1e-5
    assert jax.eval_shape(lambda image: area_response(small.MODEL, image, 1, MAPS[0]), IMAGES[0]).scores.shape == (11,)


def test_pieces_and_growing() -> None:
    mask = np.zeros((2, 5, 5))
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 4, 4] = mask[1, 2] = 1
    assert pieces(mask).tolist() == [2, 1]
    assert growing([[1.0, 2.0, 2.0], [3.0, 2.0, 1.0]]) == 0.5


@pytest.mark.parametrize(
    ("maps", "areas", "options", "sentence"),
    [
        (MASKS, (0.1, 0.2, 0.3), {}, r"maps must have the shape \(2, h, w\) or \(2, 3, h, w\)"),
        (MAPS[:1], AREAS, {}, r"maps must have the shape \(2, h, w\) or \(2, 2, h, w\): one map for all areas, or one for each"),
        (MAPS, (5,), {}, "areas must be shares of the image"),
        (MAPS, (1e-4,), {}, "areas must be at least a pixel"),
        (MAPS, AREAS, {"edge": "soft"}, "edge must be one of 'feathered', 'sharp', got 'soft'"),
        (MAPS, AREAS, {"blur": -1}, "blur must be zero or a positive number"),
        (MAPS, AREAS, {"feather": -1}, "feather must be zero or a positive number"),
    ],
)
def test_refusals(maps: Any, areas: Any, options: Any, sentence: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=sentence):
        reward(maps, areas, **options)


def test_refused_areas_of_a_curve(unchecked: None) -> None:
    for areas in ((0.3, 0.1), (0.3,)):
        with pytest.raises(ValueError, match="areas must be at least two rising numbers"):
            area_response(small.MODEL, IMAGES, TARGETS, MAPS, areas)
