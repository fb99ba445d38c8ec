"""The packaged classifier: its scores, its weights, and its entry."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

import extremal_jax as ej
from extremal_jax.data.scenes import CLASSES, generate
from extremal_jax.models.conversion import fill, match
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.networks.layers import ConvNorm
from extremal_jax.models.networks.scenes import ScenesNetwork

PRETRAINED = Path(str(importlib.resources.files("extremal_jax.models") / "pretrained"))
GOLDEN = Path(__file__).parents[1] / "golden" / "scenes_classifier.npz"


@pytest.fixture(scope="module")
def forward(classifier: ej.models.Classifier) -> Any:
    return jax.jit(lambda images: classifier(images))


@pytest.fixture
def tensors() -> Any:
    return load_file(PRETRAINED / "scenes.safetensors")


def abstract() -> Any:
    return nnx.eval_shape(lambda: ScenesNetwork(len(CLASSES), rngs=nnx.Rngs(0)))


def unfolded() -> Any:
    tensors = load_file(PRETRAINED / "scenes.safetensors")
    network = fill(match(tensors, ENTRIES["scenes"].architecture), tensors)
    network.eval()
    return network


def prepared(classifier: Any, scenes: Any) -> Any:
    return np.stack([classifier.preprocess(image) for image in scenes.images])


# Scores.


def test_output_is_pinned(classifier: ej.models.Classifier) -> None:
    """`logits` are the scores of generate(30, 4), recorded with JAX 0.10.2 and Flax 0.12.8 on a CPU. Another order of the sums in a
    convolution changes logits of about 10 by 1e-5."""
    with np.load(GOLDEN) as file:
        np.testing.assert_allclose(classifier(prepared(classifier, generate(30, 4))), file["logits"], rtol=0, atol=1e-4)


def test_labels_of_fresh_scenes(classifier: ej.models.Classifier, forward: Any) -> None:
    scenes = generate(31, 50)
    right = (np.asarray(forward(prepared(classifier, scenes))) > 0) == scenes.labels
    assert right.mean() >= 0.995
    assert right.all(axis=1).mean() >= 0.95


def test_the_record_beside_the_weights(classifier: ej.models.Classifier) -> None:
    record = json.loads((PRETRAINED / "scenes.json").read_text())
    assert tuple(record["classes"]) == classifier.classes
    assert record["labels_right"] >= 0.995
    assert record["scenes_right"] >= 0.93
    assert "2000 fresh scenes" in record["evaluation"]
    assert "train.py" in record["command"]
    assert "--seed" in record["command"]


def test_its_attributes(classifier: ej.models.Classifier) -> None:
    assert classifier.name == "scenes"
    assert classifier.classes == CLASSES
    assert classifier.input_size == (128, 128)
    assert classifier.preprocess(np.zeros((10, 20), np.uint8)).shape == (128, 128, 3)


def test_other_sizes_and_no_images(classifier: ej.models.Classifier) -> None:
    assert classifier(jnp.zeros((2, 64, 96, 3))).shape == (2, len(CLASSES))
    assert classifier(jnp.zeros((0, 128, 128, 3))).shape == (0, len(CLASSES))


# The registry.


def test_the_entry_describes_the_network(classifier: ej.models.Classifier) -> None:
    entry = ENTRIES["scenes"]
    assert entry in ej.models.available()
    assert entry.parameters == sum(leaf.size for leaf in jax.tree.leaves(nnx.state(abstract(), nnx.Param)))
    program = jax.make_jaxpr(lambda images: classifier(images))(jnp.zeros((1, *entry.input_size, 3)))
    assert tuple(step.params["name"] for step in program.eqns if step.primitive.name == "name") == entry.activations


def test_random_weights_by_key() -> None:
    def drawn(key: Any) -> Any:
        return jax.tree.leaves(nnx.state(ej.models.load("scenes", weights=None, key=key)))

    default, zero, one = (drawn(key) for key in (None, jax.random.key(0), jax.random.key(1)))
    for a, b in zip(default, zero, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [(a, b) for a, b in zip(zero, one, strict=True) if a.ndim > 1]
    assert kernels
    assert all((a != b).any() for a, b in kernels)


# The weights.


def test_size_of_the_file() -> None:
    assert (PRETRAINED / "scenes.safetensors").stat().st_size <= 4e6


# Folded batch norms.


def test_folding_changes_nothing_but_the_operations(classifier: ej.models.Classifier, images: np.ndarray) -> None:
    network, batch = unfolded(), jnp.asarray(images)
    before = network(batch)
    np.testing.assert_allclose(classifier(batch), before, rtol=0, atol=1e-4)  # logits of about 10, in float32
    folded = ej.models.fold_batch_norm(network)
    np.testing.assert_array_equal(folded(batch), classifier(batch))
    np.testing.assert_array_equal(network(batch), before)
    assert [layer.norm for _, layer in nnx.iter_modules(network) if isinstance(layer, ConvNorm)].count(None) == 0
    assert {layer.norm for _, layer in nnx.iter_modules(classifier) if isinstance(layer, ConvNorm)} == {None}


def test_folding_twice_is_folding_once(classifier: ej.models.Classifier, images: np.ndarray) -> None:
    np.testing.assert_array_equal(ej.models.fold_batch_norm(classifier)(images), classifier(images))
