"""Insertion, deletion and pixel flipping, against recorded loops over the steps and by their laws."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from extremal_jax.evaluation.faithfulness.curves import PROTOCOLS, Protocol, deletion, insertion, pixel_flipping, rise_blur
from golden_data import GOLDEN

with np.load(GOLDEN / "evaluation" / "faithfulness.npz") as file:
    GOLD = {key: file[key] for key in file.files}
IMAGE = np.random.default_rng(0).random((6, 8, 2)).astype(np.float32)
MAP = IMAGE.sum(axis=-1)


def classify(weights: Any, images: jax.Array) -> jax.Array:
    """The recorded classifier."""
    x = lax.conv_general_dilated(images, weights["conv"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jax.nn.relu(x).mean(axis=(1, 2)) @ weights["head"]


MODEL = jax.tree_util.Partial(classify, {name: jnp.asarray(GOLD[f"weights/{name}"]) for name in ("conv", "head")})


def total(images: jax.Array) -> jax.Array:
    return images.sum(axis=(1, 2, 3))[:, None]


summed = functools.partial(insertion, total, IMAGE, 0, MAP, score="logit", baseline=0.0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("test", [insertion, deletion])
def test_recorded_curves(protocol: str, test: Any) -> None:
    """To the roundings of single precision."""
    curve = test(MODEL, GOLD["images"], GOLD["targets"], GOLD["maps"], protocol=protocol)
    for i in range(2):
        name = f"{protocol}/{test.__name__}/{i}"
        np.testing.assert_allclose(curve.scores[i], GOLD[name], rtol=0, atol=1e-5 * max(1, np.abs(GOLD[name]).max()))
        np.testing.assert_allclose(curve.auc[i], GOLD[f"{name}/auc"], rtol=1e-5)


def test_recorded_blur() -> None:
    blurred = rise_blur(jnp.asarray(GOLD["images"]))
    np.testing.assert_allclose(blurred, np.stack([GOLD[f"rise_blur/{i}"] for i in range(2)]), rtol=0, atol=1e-6)


def test_insertion_ends_where_deletion_begins() -> None:
    inserted, deleted = (test(MODEL, GOLD["images"], 1, GOLD["maps"], baseline="blur") for test in (insertion, deletion))
    np.testing.assert_allclose(inserted.scores[:, -1], deleted.scores[:, 0], rtol=1e-5)
    np.testing.assert_allclose(inserted.scores[:, 0], deleted.scores[:, -1], rtol=1e-5)


def test_steps() -> None:
    """The default is a row at a time; shares are those of the pixels that have changed."""
    assert len(insertion(total, IMAGE, 0, MAP, score="logit").scores) == 7
    curve = summed(pixels_per_step=20)
    np.testing.assert_allclose(curve.shares, [0, 20 / 48, 40 / 48, 1])
    ordered = np.append(0, np.cumsum(np.sort(MAP.ravel())[::-1]))
    np.testing.assert_allclose(curve.scores, ordered[[0, 20, 40, 48]], rtol=1e-5)
    np.testing.assert_allclose(summed(num_steps=5).scores, ordered[[0, 9, 19, 28, 38, 48]], rtol=1e-5)
    np.testing.assert_allclose(summed(num_steps=48).scores, ordered, rtol=1e-5)
    with pytest.raises(ValueError, match="pass either pixels_per_step or num_steps, got both, 2 and 3"):
        summed(pixels_per_step=2, num_steps=3)
    with pytest.raises(ValueError, match="num_steps must be a whole number, at least 1, got 0"):
        summed(num_steps=0)


@pytest.mark.parametrize("test", [insertion, deletion])
@pytest.mark.parametrize("options", [{"baseline": 0.5}, {"baseline": (0.5, -1.0)}, {"baseline": "blur"}, {"score": "sigmoid"}])
def test_options_matter(test: Any, options: Any) -> None:
    usual = test(MODEL, IMAGE.mean(-1, keepdims=True).repeat(3, -1), 1, MAP)
    if options.get("baseline") == (0.5, -1.0):
        options = {"baseline": (0.5, -1.0, 2.0)}
    other = test(MODEL, IMAGE.mean(-1, keepdims=True).repeat(3, -1), 1, MAP, **options)
    assert np.abs(other.scores - usual.scores).max() > 1e-3


def test_protocols_of_ones_own() -> None:
    mine = Protocol("mine", "the last score", "logit", lambda size: np.array([0, 4, size[0] * size[1]]), auc=lambda scores: scores[..., -1])
    curve = insertion(total, IMAGE, 0, MAP, protocol=mine)
    assert curve.scores.shape == (3,)
    assert curve.auc == curve.scores[-1]
    part = insertion(total, IMAGE, 0, MAP, protocol=dataclasses.replace(mine, counts=lambda size: np.array([0, 12, 24])))
    np.testing.assert_allclose(part.shares, [0, 0.25, 0.5])  # of all 48 pixels
    with pytest.raises(ValueError, match="protocol must be one of 'rise', 'xplique', got 'ris'; did you mean 'rise'"):
        insertion(total, IMAGE, 0, MAP, protocol="ris")


def test_ties_and_constant_maps_keep_reading_order() -> None:
    curve = insertion(total, IMAGE, 0, np.zeros_like(MAP), score="logit", baseline=0.0, num_steps=48)
    np.testing.assert_allclose(curve.scores, np.append(0, np.cumsum(MAP.ravel())), rtol=1e-5)


def test_pixel_flipping_of_cells() -> None:
    """A loop: cells of 5 by 5 pixels, the last of which are smaller, by their sums."""
    cells = [(slice(y, y + 5), slice(x, x + 5)) for y in (0, 5) for x in (0, 5)]
    shown, scores = IMAGE.copy(), [IMAGE.sum()]
    for cell in sorted(cells, key=lambda cell: -MAP[cell].sum()):
        shown[cell] = 0.25
        scores.append(shown.sum())
    flip = functools.partial(pixel_flipping, total, IMAGE, 0, MAP, cell=5, baseline=0.25)
    curve = flip()
    np.testing.assert_allclose(curve.scores, scores, rtol=1e-5)
    np.testing.assert_allclose(curve.aopc, scores[0] - np.mean(scores), rtol=1e-4)
    np.testing.assert_allclose(curve.shares, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(flip(num_steps=2).scores, scores[:3], rtol=1e-5)
    np.testing.assert_allclose(flip(cells_per_step=3, num_steps=None).scores, [scores[0], scores[3], scores[4]], rtol=1e-5)
    assert len(pixel_flipping(total, IMAGE, 0, MAP, cell=1).scores) == 49


def test_pixel_flipping_of_pixels_is_deletion() -> None:
    flipped = pixel_flipping(MODEL, GOLD["images"], 1, GOLD["maps"], cell=1, cells_per_step=20, num_steps=None)
    deleted = deletion(MODEL, GOLD["images"], 1, GOLD["maps"], pixels_per_step=20, score="logit")
    for one, other in zip(flipped, deleted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("test", [insertion, deletion, functools.partial(pixel_flipping, cell=2)])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_the_class_that_the_model_predicts(test: Any, chunk_size: Any) -> None:
    """A loop over images, each with the class of its highest score."""
    images, maps = np.random.default_rng(0).standard_normal((5, 15, 20, 3)).astype(np.float32), GOLD["maps"][[0, 1, 1, 0, 1]]
    usual = MODEL(images).mean(axis=0)
    model = jax.tree_util.Partial(lambda usual, weights, images: classify(weights, images) - usual, usual, *MODEL.args)
    predicted = np.asarray(model(images)).argmax(axis=-1)
    assert len(set(predicted.tolist())) > 1
    curves = test(model, images, None, maps, chunk_size=chunk_size)
    for index, image in enumerate(images):
        expected = test(model, image, int(predicted[index]), maps[index])
        np.testing.assert_allclose(curves.scores[index], expected.scores, rtol=1e-5, atol=1e-6)
        single = test(model, image, None, maps[index])
        np.testing.assert_allclose(single.auc, expected.auc, rtol=1e-5, atol=1e-6)
    jitted = jax.jit(lambda images: test(model, images, None, maps).scores)(images)
    np.testing.assert_allclose(jitted, curves.scores, rtol=1e-5, atol=1e-6)
