"""Masks in space at an inner layer: `extremal_perturbation(..., at=...)`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import small
from extremal_jax import Config

IMAGES = small.images()
QUICK = Config(num_steps=4)


def layered(weights: Any, images: Any) -> Any:
    """The small classifier: `x` (B, 5, 6, 8) and `tokens` (B, 30, 8) cut it."""
    x = checkpoint_name(small.features({**weights, "head": jnp.eye(8)}, images), "x")
    return checkpoint_name(x.reshape(len(x), -1, 8), "tokens").mean(axis=1) @ weights["head"]


MODEL = jax.tree_util.Partial(layered, small.weights())


def run(
    images: Any = IMAGES,
    targets: Any = (1, 3),
    areas: Any = (0.1, 0.3),
    at: Any = "x",
    model: Any = MODEL,
    config: Any = QUICK,
    **options: Any,
) -> Any:
    return ej.extremal_perturbation(model, images, targets, areas, at=at, config=config, **options)


@pytest.fixture(scope="module")
def result() -> Any:
    return run()


def test_masks_are_of_the_layers_size(result: Any) -> None:
    assert result.masks.shape == (2, 2, 5, 6)
    assert result.params.shape == (2, 2, 5, 6)  # a lattice of one cell each
    assert result.at == "x"
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=1e-3)
    assert (result.config.pitch, result.config.sigma, result.config.perturbation, result.config.jitter) == (1, 1.0, "fade", False)
    assert result.config.area_weight == 0
    loss_alone = Config(exact_area=False)
    assert loss_alone.resolve((5, 6), inner=True).area_weight == loss_alone.resolve((5, 6)).area_weight
    assert result.saliency().shape == (2, 5, 6)


def test_rewards_are_responses_to_masked_activations(result: Any) -> None:
    """What the result says is what anyone can compute by intervening in the model."""
    for i, target in enumerate((1, 3)):
        for mask, reward in zip(result.masks[i], result.rewards[i], strict=True):
            masked = ej.graph.intervene(MODEL, {"x": lambda x, mask=mask: x * mask[..., None]})  # type: ignore[misc]
            np.testing.assert_allclose(reward, masked(IMAGES[i : i + 1])[0, target], rtol=1e-3)
        np.testing.assert_allclose(result.image_rewards[i], MODEL(IMAGES[i : i + 1])[0, target], rtol=1e-4)


@pytest.mark.parametrize("game", ["preserve", "delete"])
def test_finds_the_evidence(game: str) -> None:
    """Where the answer is known: the light inside a disc of the layer is all that counts."""
    y, x = np.mgrid[:16, :16]
    disc = np.hypot(y - 5, x - 9) < 4

    def light(images: Any) -> Any:
        cells = checkpoint_name(images.reshape(len(images), 16, 2, 16, 2, 3).mean(axis=(2, 4)), "cells")
        inside = (cells.mean(axis=-1) * disc).sum(axis=(1, 2))
        return jnp.stack([-inside, inside], axis=1)

    found = run(np.ones((32, 32, 3), np.float32), 1, disc.mean(), "cells", light, Config(game=game))
    assert (np.asarray(found.binary_masks()[0]) * disc).sum() / disc.sum() > 0.85


def test_a_blur_or_a_reference_instead(result: Any) -> None:
    """What takes the place of masked activations: their blur, or those of another image."""
    blurred = run(config=dataclasses.replace(QUICK, perturbation="blur", max_blur=2.0))
    config = dataclasses.replace(QUICK, perturbation="reference")
    other = run(config=config, reference=small.images(seed=1))
    one = run(config=config, reference=small.images(1, seed=1)[0])
    rewards = [np.asarray(x.rewards) for x in (result, blurred, other, one)]
    assert all(not np.allclose(a, b) for i, a in enumerate(rewards) for b in rewards[:i])
    activation = ej.graph.capture(MODEL, "x")(small.images(seed=1))[1]["x"]
    for i, target in enumerate((1, 3)):
        mask = other.masks[i, 0][..., None]
        masked = ej.graph.intervene(MODEL, {"x": lambda x, mask=mask, i=i: mask * x + (1 - mask) * activation[i]})  # type: ignore[misc]
        np.testing.assert_allclose(other.rewards[i, 0], masked(IMAGES[i : i + 1])[0, target], rtol=1e-3)


def test_inside_jit(result: Any) -> None:
    jitted = jax.jit(lambda images: run(images))(IMAGES)
    np.testing.assert_allclose(jitted.masks, result.masks, atol=1e-4)


def test_other_images_and_weights_compile_nothing(result: Any, compilations: list[str]) -> None:
    images, model = small.images(seed=1), jax.tree_util.Partial(layered, small.weights(1))
    before = len(compilations)
    run(images, model=model)
    assert len(compilations) == before


def test_pictures_and_files(result: Any, tmp_path: Path) -> None:
    picture = ej.plots.overview(IMAGES, result)
    assert len(picture.axes) == 2 * 2 * 3
    result.save(tmp_path / "layer.npz")
    assert ej.ExtremalResult.load(tmp_path / "layer.npz").at == "x"
    assert run(at=None, config=dataclasses.replace(QUICK, pitch=4, sigma=4.0)).at is None
    with pytest.raises(ValueError, match="evidence is for masks of images, and these are of the layer 'x'"):
        result.evidence(IMAGES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(at="tokens"), r"at: masks in space need an activation of shape \(B, h, w, C\), floats; 'tokens' is float32\[2, 30, 8\]"),
        (dict(at="y"), "at: unknown activation 'y'"),
        (dict(config=Config(pitch=7)), "activations of 'x' of 5x6 pixels are too small for a lattice of masks with pitch 7"),
        (dict(reference=IMAGES), "reference must be given if, and only if, the config's perturbation is 'reference'"),
    ],
)
def test_bad_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**arguments)
