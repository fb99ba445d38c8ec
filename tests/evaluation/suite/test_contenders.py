"""What the contenders of a benchmark enter: maps, an order of the pixels, and masks."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import small
from extremal_jax.evaluation.suite import contenders, torchray
from extremal_jax.evaluation.suite.contenders import contender
from extremal_jax.ground.filters import resize
from extremal_jax.models.entries import ENTRIES

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
    if published:
        assert found.pointing is None  # at the highest place of its maps
    else:
        np.testing.assert_array_equal(ej.evaluation.highest_point(found.pointing), result.point(images))


def test_evidence_that_is_not_finite_points_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ej.ExtremalResult, "evidence", lambda self, images, **_: jnp.full(images.shape[:3], jnp.nan).at[0].set(1))
    monkeypatch.setattr(contenders, "Config", lambda: small.CONFIG)
    found = contender("extremal_perturbation").explain(MODEL, small.images(2), np.array([1, 2], np.int32), (0.1, 0.3), KEY)
    first, second = ej.evaluation.highest_point(found.pointing)
    assert (first >= 0).all()
    assert (second == -1).all()


def test_another_definition_of_the_evidence_is_another_setting() -> None:
    """Rows of evidence are not mixed with rows of another; published presets have no evidence."""
    assert "evidence by the power mean of 0.125" in contender("extremal_perturbation").settings
    assert "within 0.8 of the saliency's peak" in contender("extremal_perturbation").settings
    assert "evidence" not in contender("extremal_perturbation:torchray").settings


@pytest.mark.parametrize("size", [(7, 9), (8, 8), (6, 11)])
def test_the_centre_points_at_the_middle(size: tuple[int, int]) -> None:
    found = contender("center").explain(MODEL, np.zeros((2, *size, 3), np.float32), np.zeros(2, np.int32), (), KEY)
    row, column = np.unravel_index(np.argmax(found.maps[1]), size)
    assert abs(row + 0.5 - size[0] / 2) <= 0.5
    assert abs(column + 0.5 - size[1] / 2) <= 0.5


def residual(images: Any) -> Any:
    """A network with the layers of a ResNet, and scores at several places."""
    kernels = [jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32) for seed, shape in enumerate([(3, 6), (6, 4)])]
    x = checkpoint_name(nnx.avg_pool(jax.nn.relu(images @ kernels[0]), (2, 2), (2, 2)), "layer3")
    x = checkpoint_name(nnx.avg_pool(x, (2, 2), (2, 2)), "layer4")
    return checkpoint_name(nnx.avg_pool(x, (2, 2)), "avgpool") @ kernels[1]


@pytest.mark.parametrize("method", torchray.SETTINGS)
def test_the_settings_of_torchrays_table(method: str) -> None:
    images, targets = np.random.default_rng(5).standard_normal((2, 12, 16, 3)).astype(np.float32), np.array([1, 2], np.int32)
    wanted: dict[str, Any] = {
        **{name: {"smooth": 0.02 * 16 / 12} for name in ("gradient", "deconvnet", "guided_backprop")},
        "grad_cam": {"at": "layer4"},
        "excitation_backprop": {"at": "layer3"},
        "contrastive_excitation_backprop": {"at": "layer3", "contrast_at": "avgpool"},
    }
    function = getattr(ej.attribution, method)
    if method == "rise":
        squeezed = resize(jnp.asarray(images), (12, 12))
        expected = function(residual, squeezed, targets, num_masks=8000, score="sigmoid", key=KEY, resize=(12, 16))
    else:
        expected = function(residual, images, targets, positions="softmax", resize=True, **wanted[method])
    found = contender(f"{method}:torchray").explain(residual, images, targets, (), KEY)
    np.testing.assert_array_equal(found.maps, expected)
    np.testing.assert_array_equal(found.order, expected)
    assert contender(f"{method}:torchray").settings != contender(method).settings


@pytest.mark.parametrize(
    ("network", "names"),
    [
        ("vgg16_voc_fully_convolutional", ["features.29", "features.23", "features.23", "classifier.4"]),
        ("resnet50_coco_sliding", ["layer4", "layer3", "layer3", "avgpool"]),
    ],
)
def test_the_layers_of_torchrays_table(network: str, names: list[str]) -> None:
    found = [torchray.layers(method, ENTRIES[network].activations) for method in torchray.SETTINGS]
    assert [name for layers in found for name in layers.values()] == names


@pytest.mark.parametrize("network", ["vgg19", "vgg13_bn", "efficientnet_lite0", "scenes"])
def test_other_networks_have_no_layers_of_torchrays_table(network: str) -> None:
    with pytest.raises(ValueError, match=r"grad_cam:torchray takes layers of VGG-16 or ResNet, .*; grad_cam finds layers of any model"):
        torchray.layers("grad_cam", ENTRIES[network].activations)
    assert torchray.layers("gradient", ENTRIES[network].activations) == {}
