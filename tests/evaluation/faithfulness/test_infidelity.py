"""Infidelity, against Captum's with given perturbations, and by its options."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from extremal_jax.evaluation.faithfulness.infidelity import infidelity
from golden_data import GOLDEN

with np.load(GOLDEN / "evaluation" / "faithfulness.npz") as file:
    GOLD = {key: file[key] for key in file.files}
IMAGES, TARGETS = GOLD["images"], GOLD["targets"]
PERTURBATIONS, ATTRIBUTIONS = (GOLD[f"infidelity/{name}"].astype(np.float32) for name in ("perturbations", "attributions"))
RECORDED = {"channels": ATTRIBUTIONS, "pixels": ATTRIBUTIONS[..., 0]}


def classify(weights: Any, images: jax.Array) -> jax.Array:
    """The recorded classifier."""
    x = lax.conv_general_dilated(images, weights["conv"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jax.nn.relu(x).mean(axis=(1, 2)) @ weights["head"]


MODEL = jax.tree_util.Partial(classify, {name: jnp.asarray(GOLD[f"weights/{name}"]) for name in ("conv", "head")})


def score(maps: Any = ATTRIBUTIONS, images: Any = IMAGES, targets: Any = TARGETS, **options: Any) -> Any:
    return infidelity(MODEL, images, targets, maps, **options)


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("normalize", [False, True])
def test_recorded(name: str, normalize: bool) -> None:
    found = score(RECORDED[name], perturbations=PERTURBATIONS, normalize=normalize)
    np.testing.assert_allclose(found, GOLD[f"infidelity/{name}/{normalize}"], rtol=1e-4)


def test_perturbations_for_each_image_and_for_one() -> None:
    usual = score(perturbations=PERTURBATIONS)
    each = np.stack([PERTURBATIONS, PERTURBATIONS[::-1]], axis=1)
    np.testing.assert_allclose(score(perturbations=each), usual, rtol=1e-4)
    np.testing.assert_allclose(score(perturbations=np.stack([PERTURBATIONS, 0 * PERTURBATIONS], axis=1))[1], 0, atol=1e-9)
    np.testing.assert_allclose(score(ATTRIBUTIONS[1], IMAGES[1], TARGETS[1], perturbations=PERTURBATIONS), usual[1], rtol=1e-4)
    np.testing.assert_allclose(score(ATTRIBUTIONS[1, ..., 0], IMAGES[1], 3, perturbations=PERTURBATIONS[:1], normalize=True), 0, atol=1e-6)


def test_scale_counts_unless_normalized() -> None:
    usual, scaled = (score(perturbations=PERTURBATIONS, normalize=True, maps=maps) for maps in (ATTRIBUTIONS, 7 * ATTRIBUTIONS))
    np.testing.assert_allclose(scaled, usual, rtol=1e-4)
    for scale in (1e-25, 1e-18, 1e22):  # whose squares float32 does not hold
        np.testing.assert_allclose(score(scale * ATTRIBUTIONS, perturbations=PERTURBATIONS, normalize=True), usual, rtol=1e-4)
    assert np.abs(score(7 * ATTRIBUTIONS, perturbations=PERTURBATIONS) - score(perturbations=PERTURBATIONS)).min() > 1e-3
    nothing, normalized = (score(0 * ATTRIBUTIONS, perturbations=PERTURBATIONS, normalize=flag) for flag in (False, True))
    np.testing.assert_allclose(nothing, normalized, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"num_samples": 3}, {"noise": 0.5}, {"key": jax.random.key(1, impl="unsafe_rbg")}, {"normalize": True}, {"score": "softmax"}],
)
def test_options_matter(options: Any) -> None:
    common = {"num_samples": 5, "key": jax.random.key(0, impl="unsafe_rbg")}
    usual, other = score(**common), score(**{**common, **options})
    assert (np.abs(other - usual) > 1e-3 * usual).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"perturbations": PERTURBATIONS, "noise": 0.2}, "pass either perturbations or num_samples, noise and key, got both"),
        ({"perturbations": PERTURBATIONS[0]}, r"perturbations must have the shape \(M, 15, 20, 3\) or \(M, 2, 15, 20, 3\)"),
        ({"perturbations": PERTURBATIONS * np.nan}, "perturbations must be finite"),
        ({"num_samples": 0}, "num_samples must be a whole number"),
        ({"noise": 0}, "noise must be a positive number in units of the images, got 0"),
        ({"normalize": 1}, "normalize must be True or False, got 1"),
        ({"maps": ATTRIBUTIONS[..., :2]}, "maps must have the shape of the images"),
    ],
)
def test_refusals(options: Any, sentence: str, unchecked: None) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        score(**options)
