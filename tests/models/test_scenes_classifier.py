"""The packaged classifier: its answers, its weights, and what it does to a picture first."""

from __future__ import annotations

import importlib.resources
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import extremal_jax as ej
from extremal_jax.data.scenes import CLASSES, generate
from extremal_jax.models.conversion import fill, match
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.formats import safetensors
from extremal_jax.models.networks.layers import ConvNorm
from extremal_jax.models.networks.scenes import ScenesNetwork
from extremal_jax.models.preprocessing import Preprocessing

PRETRAINED = Path(str(importlib.resources.files("extremal_jax.models") / "pretrained"))
GOLDEN = Path(__file__).parents[1] / "golden" / "scenes_classifier.npz"


@pytest.fixture(scope="module")
def forward(classifier):
    return jax.jit(lambda images: classifier(images))


@pytest.fixture
def tensors():
    return load_file(PRETRAINED / "scenes.safetensors")


def abstract():
    return nnx.eval_shape(lambda: ScenesNetwork(len(CLASSES), rngs=nnx.Rngs(0)))


def unfolded():
    tensors = load_file(PRETRAINED / "scenes.safetensors")
    network = fill(match(tensors, ENTRIES["scenes"].architecture), tensors)
    network.eval()
    return network


def prepared(classifier, scenes):
    return np.stack([classifier.preprocess(image) for image in scenes.images])


# The answers


def test_output_is_pinned(classifier):
    """`logits` is the classifier's answer to generate(30, 4), recorded with JAX 0.10.2 and Flax 0.12.8 on a CPU. Another order of the sums
    in a convolution changes logits of about 10 by 1e-5."""
    with np.load(GOLDEN) as file:
        np.testing.assert_allclose(classifier(prepared(classifier, generate(30, 4))), file["logits"], rtol=0, atol=1e-4)


def test_labels_of_fresh_scenes(classifier, forward):
    scenes = generate(31, 50)
    right = (np.asarray(forward(prepared(classifier, scenes))) > 0) == scenes.labels
    assert right.mean() >= 0.995
    assert right.all(axis=1).mean() >= 0.95


def test_figures_beside_the_weights(classifier):
    record = json.loads((PRETRAINED / "scenes.json").read_text())
    assert tuple(record["classes"]) == classifier.classes
    assert record["labels_right"] >= 0.995
    assert record["scenes_right"] >= 0.93
    assert "2000 fresh scenes" in record["evaluation"]
    assert "train.py" in record["command"]
    assert "--seed" in record["command"]


def test_what_is_known_of_it(classifier):
    assert classifier.name == "scenes"
    assert classifier.classes == CLASSES
    assert classifier.input_size == (128, 128)
    assert classifier.preprocess(np.zeros((10, 20), np.uint8)).shape == (128, 128, 3)


def test_other_sizes_and_no_images(classifier):
    assert classifier(jnp.zeros((2, 64, 96, 3))).shape == (2, len(CLASSES))
    assert classifier(jnp.zeros((0, 128, 128, 3))).shape == (0, len(CLASSES))


# The registry


def test_entry_says_what_the_network_is(classifier):
    entry = ENTRIES["scenes"]
    assert entry in ej.models.available()
    assert entry.parameters == sum(leaf.size for leaf in jax.tree.leaves(nnx.state(abstract(), nnx.Param)))
    program = jax.make_jaxpr(lambda images: classifier(images))(jnp.zeros((1, *entry.input_size, 3)))
    assert tuple(step.params["name"] for step in program.eqns if step.primitive.name == "name") == entry.activations


@pytest.mark.parametrize(("name", "hint"), [("scene", "did you mean 'scenes'"), ("vgg", "did you mean 'vgg19'"), ("?", "choose from")])
def test_unknown_model(name, hint):
    with pytest.raises(ValueError, match=re.escape(f"unknown model '{name}'; {hint}")):
        ej.models.load(name)


def test_random_weights_by_key():
    def drawn(key):
        return jax.tree.leaves(nnx.state(ej.models.load("scenes", weights=None, key=key)))

    default, zero, one = (drawn(key) for key in (None, jax.random.key(0), jax.random.key(1)))
    for a, b in zip(default, zero, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [(a, b) for a, b in zip(zero, one, strict=True) if a.ndim > 1]
    assert kernels
    assert all((a != b).any() for a, b in kernels)


# The weights


def test_size_of_the_file():
    assert (PRETRAINED / "scenes.safetensors").stat().st_size <= 4e6


def test_weights_from_a_file(tmp_path, classifier, tensors, images):
    tensors["head.bias"] = tensors["head.bias"] + np.float32(1)
    save_file(tensors, tmp_path / "other.safetensors")
    other = ej.models.load("scenes", tmp_path / "other.safetensors")
    np.testing.assert_allclose(other(images), classifier(images) + 1, atol=1e-5)  # rounding of numbers of about 10


def test_save_and_restore(tmp_path):
    tree = {"conv": {"kernel": np.ones((2, 3), np.float32)}, "blocks": [np.arange(3, dtype=np.int32)]}
    safetensors.save(tmp_path / "tree.safetensors", tree, {"note": "a b"})
    with safe_open(tmp_path / "tree.safetensors", "numpy") as file:
        assert set(file.keys()) == {"conv.kernel", "blocks.0"}
        assert file.metadata() == {"note": "a b"}
    restored = safetensors.restore(jax.tree.map(np.zeros_like, tree), tmp_path / "tree.safetensors")
    assert jax.tree.structure(restored) == jax.tree.structure(tree)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(tree), strict=True):
        np.testing.assert_array_equal(a, b)
    other = {"conv": {"kernel": np.ones((3, 2), np.float32)}, "blocks": [np.arange(3)], "tail": np.ones(1)}
    with pytest.raises(ValueError, match=r"holds another tree: conv\.kernel, tail differ"):
        safetensors.restore(other, tmp_path / "tree.safetensors")


def test_all_that_does_not_fit_is_listed(tmp_path, tensors):
    tensors["stem.norm.bias"] = np.zeros(7, np.float32)
    tensors["stem.conv.kernel"] = tensors["stem.conv.kernel"][:3]
    tensors["tail.bias"] = tensors.pop("blocks.1.first.norm.scale")
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="do not fit scenes") as error:
        ej.models.load("scenes", tmp_path / "other.safetensors")
    assert str(error.value).split("\n  ")[1:] == [
        "missing: blocks.1.first.norm.scale (96,); tail.bias would fit",
        "stem.conv.kernel: expected the shape (5, 5, 3, 32), the file has (3, 5, 3, 32)",
        "stem.norm.bias: expected the shape (32,), the file has (7,)",
        "unexpected: tail.bias (96,)",
    ]


def test_missing_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no weights file {tmp_path}/x.safetensors; expected a .safetensors file"):
        ej.models.load("scenes", tmp_path / "x.safetensors")


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_truncated_weights(tmp_path, share):
    content = (PRETRAINED / "scenes.safetensors").read_bytes()
    path = tmp_path / "part.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=f"{path} is not a whole safetensors file .*; fetch or convert it again"):
        ej.models.load("scenes", path)


def test_weights_of_another_kind(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ValueError, match=r"weights must be a file that ends in \.safetensors"):
        ej.models.load("scenes", path)


# Batch norm folded


def test_folding_changes_nothing_but_the_operations(classifier, images):
    network, images = unfolded(), jnp.asarray(images)
    before = network(images)
    np.testing.assert_allclose(classifier(images), before, rtol=0, atol=1e-4)  # logits of about 10, in float32
    folded = ej.models.fold_batch_norm(network)
    np.testing.assert_array_equal(folded(images), classifier(images))
    np.testing.assert_array_equal(network(images), before)
    assert [layer.norm for _, layer in nnx.iter_modules(network) if isinstance(layer, ConvNorm)].count(None) == 0
    assert {layer.norm for _, layer in nnx.iter_modules(classifier) if isinstance(layer, ConvNorm)} == {None}


def test_folding_twice_is_folding_once(classifier, images):
    np.testing.assert_array_equal(ej.models.fold_batch_norm(classifier)(images), classifier(images))


# Preprocessing


def picture(height=40, width=60):
    return generate(32, 1, (height, width)).images[0]


def test_bytes_of_the_right_size_are_normalised_alone():
    image = picture(32, 48)
    prepare = Preprocessing((32, 48), (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    result = prepare(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, (image / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2.0], atol=1e-6)  # rounding
    np.testing.assert_array_equal(prepare.picture(result), image)
    np.testing.assert_array_equal(prepare.picture(np.stack([result, result])), [image, image])


def test_floats_pillow_images_and_bytes_are_prepared_alike(classifier):
    image = picture()
    expected = classifier.preprocess(image)
    for same in (image / 255, (image / 255).astype(np.float32), Image.fromarray(image), jnp.asarray(image)):
        np.testing.assert_array_equal(classifier.preprocess(same), expected)


@pytest.mark.parametrize("form", [lambda grey: grey, lambda grey: grey[..., None], lambda grey: grey / 255, Image.fromarray])
def test_grey(classifier, form):
    grey = picture()[..., 0]
    np.testing.assert_array_equal(classifier.preprocess(form(grey)), classifier.preprocess(np.stack([grey] * 3, axis=-1)))


def test_transparent_pillow_images_lie_on_white(classifier):
    assert (classifier.preprocess(Image.new("RGBA", (10, 10))) == classifier.preprocess(np.full((10, 10), 255, np.uint8))).all()


@pytest.mark.parametrize("shape", [(200, 100), (100, 200), (30, 15)])
def test_shorter_side_is_scaled_and_the_centre_kept(shape):
    image = np.zeros((*shape, 3), np.uint8)
    height, width = shape
    side = min(shape)
    top, left = (height - side) // 2, (width - side) // 2
    image[top : top + side, left : left + side] = 255
    prepare = Preprocessing((50, 50), (0.0,) * 3, (1.0,) * 3)
    kept = prepare(image)
    assert (kept[3:-3, 3:-3] == 1).all()  # bilinear scaling mixes the pixels at the border
    assert kept.mean() > 0.95


def test_crop_is_a_share_of_the_shorter_side():
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:80, 20:80] = 255
    assert (Preprocessing((60, 60), (0.0,) * 3, (1.0,) * 3, crop=0.6)(image) == 1).all()
    wider = Preprocessing((60, 60), (0.0,) * 3, (1.0,) * 3, crop=0.75)(image)
    assert wider.mean() == pytest.approx((0.6 / 0.75) ** 2, abs=0.01)  # bilinear scaling mixes the pixels at the border


def test_a_long_strip_takes_little_memory():
    strip = Image.new("RGB", (1_000_000, 2), "red")  # scaled to 128 rows as a whole, it would take 192 GB
    assert (Preprocessing((128, 128), (0.0,) * 3, (1.0,) * 3)(strip)[..., 0] == 1).all()


@pytest.mark.parametrize(
    ("image", "error", "sentence"),
    [
        (np.zeros(3, np.uint8), ValueError, r"got the shape \(3,\)"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"got the shape \(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), ValueError, r"got the shape \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"must not be empty, got the shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), int), TypeError, r"uint8, or floats in \[0, 1\], got int64"),
        (np.zeros((4, 4, 3), bool), TypeError, "got bool"),
        (np.full((4, 4, 3), 255.0), ValueError, "got values from 255 to 255"),
        (np.full((4, 4, 3), -0.5), ValueError, "got values from -0.5 to -0.5"),
        (np.full((4, 4, 3), np.nan), ValueError, r"floats in \[0, 1\]"),
        ("photo.png", ValueError, "must be a Pillow image or an array"),
    ],
)
def test_bad_arrays(classifier, image, error, sentence):
    with pytest.raises(error, match=sentence):
        classifier.preprocess(image)
