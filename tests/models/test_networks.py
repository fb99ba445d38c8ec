"""Every classifier against its original in torchvision, timm or TorchRay, with weights drawn by name.

Tolerances: 1e-4 of the largest score, and 1e-4 of a layer's standard deviation, for float32 in another order of operations
through up to a hundred layers.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import extremal_jax as ej
import small
import zoo_weights
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.networks.layers import Chain, Identity, relu
from extremal_jax.models.networks.resnet import BasicBlock, ResNet
from extremal_jax.operators.axes import IMAGE
from golden_data import GOLDEN

TOLERANCE = 1e-4


SMALL = (
    "alexnet",
    "vgg11_bn",
    "resnet18",
    "googlenet",
    "densenet121",
    "convnext_tiny",
    "vit_s_16",
    "efficientnet_lite0",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "convnext_v2_tiny",
    "swin_t",
)  # one of each family of the zoo
ALONG_TIME = ("moving_scenes", "series")  # packaged, of clips and of series


NAMES = {  # our names of the goldens, where they differ
    "torchvision/resnet50@192x256": "resnet50",
    "timm/resnet50.tv_in1k": "resnet50",
    "timm/vgg16.tv_in1k": "vgg16",
    "timm/convnext_tiny.fb_in1k": "convnext_tiny",
    "timm/vit_small_patch16_224.augreg_in21k_ft_in1k": "vit_s_16",
    "timm/deit_small_patch16_224.fb_in1k": "deit_s_16",
    "torchray/vgg16_voc_fully_convolutional": "vgg16_voc_fully_convolutional",
    "torchray/resnet50_voc_fully_convolutional": "resnet50_voc_fully_convolutional",
}


ACTIVATIONS: dict[str, Any] = {  # our names of the layers, where the publisher's differ
    "timm/vgg16.tv_in1k": ((r"^features$", "features.30"),),
    "torchvision/convnext_tiny": ((r"features\.(\d)", lambda found: f"stages.{int(found[1]) // 2}"),),
    "torchvision/vit_b_16": ((r"encoder\.layers\.encoder_layer_", "blocks."),),
}


QUICK = {
    "torchvision/alexnet",
    "torchvision/googlenet",
    "torchvision/densenet121",
    "torchvision/resnet18",
    "timm/convnext_tiny.fb_in1k",
    "timm/deit_small_patch16_224.fb_in1k",
    "torchray/resnet50_voc_fully_convolutional",
}


def members(names: Any, quick: Any) -> Any:
    """Parameters of a test; all but the quick ones are marked slow."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def check_golden(golden: Any, tmp_path: Any, fold: Any) -> None:
    recorded = zoo_weights.GOLDENS[golden]
    name = NAMES.get(golden, golden.split("/")[1])
    classifier = ej.models.load(name, zoo_weights.write(tmp_path / "weights.safetensors", zoo_weights.tensors(golden)), fold=fold)
    batch, _, height, width = recorded["input"]
    images = zoo_weights.images(batch, height, width)
    scores, activations = jax.jit(zoo_weights.tap)(classifier, images)
    expected = zoo_weights.logits(golden)
    close(np.moveaxis(scores, -1, 1), expected)
    assert zoo_weights.names(classifier, images.shape) == classifier.activations == ENTRIES[name].activations
    for tap, statistics in recorded["taps"].items():
        ours = tap
        for pattern, replacement in ACTIVATIONS.get(golden, ()):
            ours = re.sub(pattern, replacement, ours)
        value = np.asarray(activations[ours])
        shape = statistics["shape"]
        value = np.moveaxis(value, -1, 1).reshape(shape) if len(shape) == 4 else value
        assert list(value.shape) == shape
        sample = value.reshape(-1)[:: max(1, value.size // 7)][:7]
        numbers = [value.mean(), value.std(), value.max(), *sample]
        scale = value.std()
        assert (
            np.abs(np.array(numbers) - [*(statistics[n] for n in ("mean", "std", "max")), *statistics["sample"]]).max() < TOLERANCE * scale
        )


@pytest.mark.parametrize("golden", members(zoo_weights.GOLDENS, QUICK))
def test_goldens(golden: Any, tmp_path: Path) -> None:
    check_golden(golden, tmp_path, fold=False)


FOLDED = ("torchvision/resnet18", "torchvision/googlenet", "torchvision/densenet121", "torchray/resnet50_voc_fully_convolutional")


@pytest.mark.parametrize("golden", members(FOLDED, {"torchvision/resnet18"}))
def test_goldens_of_folded_networks(golden: Any, tmp_path: Path) -> None:
    """None of their activations is a convolution before a norm, whose value folding changes."""
    check_golden(golden, tmp_path, fold=True)


def load(name: Any, tmp_path: Any, **options: Any) -> Any:
    """A classifier with weights drawn by the names of torchvision's or TorchRay's layout."""
    architecture = ENTRIES[name].architecture
    layout = next((layout for layout in architecture.layouts if layout.publisher == "torchvision"), architecture.layouts[0])
    return ej.models.load(name, zoo_weights.write(tmp_path / "weights.safetensors", zoo_weights.wanted(architecture, layout)), **options)


def recorded_sizes() -> Any:
    with np.load(GOLDEN / "zoo" / "sizes.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("recorded", members(recorded_sizes(), {"resnet34 192x256", "alexnet 192x256", "vit_s_16 160x160"}))
def test_other_sizes(recorded: Any, tmp_path: Path) -> None:
    name, size = recorded.split()
    height, width = map(int, size.split("x"))
    scores = jax.jit(lambda model, x: model(x))(load(name, tmp_path), zoo_weights.images(1, height, width))
    expected = recorded_sizes()[recorded]
    close(scores if scores.shape == expected.shape else scores[:, ::50], expected)


@pytest.mark.parametrize(("size", "places"), [((224, 300), (1, 4)), ((224, 224), (1, 1)), ((96, 128), (1, 1))])
def test_sliding_windows(size: tuple[int, int], places: tuple[int, int]) -> None:
    """The scores of each 7x7 window of the last map; a smaller map is pooled as a whole."""
    network = ResNet(BasicBlock, (1, 1, 1, 1), 5, caffe=True, dense=True, window=7, rngs=nnx.Rngs(0))
    network.eval()  # type: ignore[no-untyped-call]
    images = jnp.asarray(zoo_weights.images(1, *size))
    scores, activations = jax.jit(lambda x: zoo_weights.tap(network, x))(images)
    last = activations["layer4"]
    side = (min(7, last.shape[1]), min(7, last.shape[2]))
    assert scores.shape == (1, *places, 5)
    for row, column in np.ndindex(*places):
        pooled = last[:, row : row + side[0], column : column + side[1]].mean(axis=(1, 2))
        np.testing.assert_allclose(scores[:, row, column], network.fc(pooled), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dataset", ["voc", "coco"])
def test_the_sliding_entries(dataset: str) -> None:
    network: Any = zoo_weights.abstract(f"resnet50_{dataset}_sliding")
    assert (network.dense, network.window) == (True, 7)
    assert ENTRIES[f"resnet50_{dataset}_sliding"].preprocessing == ENTRIES[f"resnet50_{dataset}_fully_convolutional"].preprocessing


@pytest.mark.parametrize("name", members((name for name in ENTRIES if name != "scenes"), (*ALONG_TIME, *SMALL)))
def test_entries(name: Any) -> None:
    """The number of parameters."""
    entry = ENTRIES[name]
    network = zoo_weights.abstract(name)
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param))) == entry.parameters


@pytest.mark.parametrize("name", members(ENTRIES, {"scenes", *ALONG_TIME, "vgg11_bn", "vgg16_voc_fully_convolutional"}))
def test_activations(name: Any) -> None:
    entry = ENTRIES[name]
    shape = (224, 224) if entry.axes == IMAGE else entry.input_size
    channels = (3,) if entry.axes[-1].name == "channel" else ()
    assert zoo_weights.names(zoo_weights.abstract(name), (1, *shape, *channels)) == entry.activations


@pytest.mark.parametrize("name", members(SMALL, {"resnet18", "vit_s_16"}))
def test_bfloat16(name: Any, tmp_path: Path) -> None:
    """Weights and activations are bfloat16; scores have the images' type and agree with float32 to a few steps of 1/256."""
    exact, short = load(name, tmp_path), load(name, tmp_path, dtype="bfloat16")
    images = zoo_weights.images(1, 64, 64)
    call = jax.jit(lambda model, x: model(x))
    scores, expected = call(short, images), call(exact, images)
    assert scores.dtype == jnp.float32
    assert jax.eval_shape(short, jax.ShapeDtypeStruct(images.shape, jnp.bfloat16)).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(short)} == {jnp.dtype(jnp.bfloat16)}
    activations = jax.eval_shape(lambda x: zoo_weights.tap(short, x), images)[1]
    assert {value.dtype for value in activations.values()} == {jnp.dtype(jnp.bfloat16)}
    error = np.abs(scores - expected).max() / np.abs(expected).max()
    assert 0 < error < 0.06


@pytest.mark.parametrize(
    "name",
    members(
        ("resnet18", "vgg11_bn", "googlenet", "densenet121", "resnet50_voc", "efficientnet_lite0", "mobilenet_v3_small", "regnet_y_400mf"),
        {"resnet18"},
    ),
)
def test_folding(name: Any, tmp_path: Path) -> None:
    classifier = load(name, tmp_path, fold=False)
    before = jax.tree.map(np.asarray, jax.tree.leaves(classifier))
    folded = ej.models.fold_batch_norm(classifier)
    jax.tree.map(np.testing.assert_array_equal, folded, load(name, tmp_path))  # `load` folds by default
    call = jax.jit(lambda model, x: model(x))
    images = zoo_weights.images(1, 96, 64)
    close(call(folded, images), call(classifier, images))
    for ours, theirs in zip(jax.tree.leaves(classifier), before, strict=True):  # the original is unchanged
        np.testing.assert_array_equal(ours, theirs)
    left = [path for path, module in nnx.iter_modules(folded) if isinstance(module, nnx.BatchNorm)]
    assert all(path[-1] in ("norm1", "norm5", "norm") for path in left) if name == "densenet121" else not left


def test_folding_a_chain() -> None:
    """Only a norm directly after a convolution is folded, with or without a bias; also under a trace."""
    rngs = nnx.Rngs(0)
    layers: list[Any] = [nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs), relu, nnx.BatchNorm(4, rngs=rngs)]
    layers += [nnx.Conv(4, 2, (1, 1), use_bias=False, rngs=rngs), nnx.BatchNorm(2, rngs=rngs)]
    chain = Chain("chain", layers)
    chain.eval()  # type: ignore[no-untyped-call]
    leaves, structure = jax.tree.flatten(chain)
    drawn = [jnp.asarray(zoo_weights.draw(str(i), leaf.shape)) ** 2 + 0.1 for i, leaf in enumerate(leaves)]
    chain = jax.tree.unflatten(structure, drawn)
    images = jnp.asarray(zoo_weights.images(2, 8, 6))
    folded = ej.models.fold_batch_norm(chain)
    kinds = [type(layer) for layer in folded]
    assert kinds == [nnx.Conv, Identity, type(relu), nnx.BatchNorm, nnx.Conv, Identity]
    assert len(jax.tree.leaves(folded)) == 8  # two kernels with biases, and the norm that stays
    for result in (folded(images), jax.jit(lambda chain, x: ej.models.fold_batch_norm(chain)(x))(chain, images)):
        np.testing.assert_allclose(result, chain(images), rtol=1e-5)  # a few rounding errors


@pytest.mark.parametrize("name", ["scenes", *SMALL])
def test_switches_of_jax(name: Any) -> None:
    """Traced at a size where feature maps and embeddings are resized."""
    network = zoo_weights.abstract(name)
    with small.strict():
        scores = jax.eval_shape(lambda network, x: network(x), network, jax.ShapeDtypeStruct((2, 96, 64, 3), np.float32))
    assert scores.dtype == np.float32


def test_the_packaged_classifier_under_all_switches(classifier: ej.models.Classifier, images: np.ndarray) -> None:
    expected = classifier(images)
    with small.strict():
        scores = ej.models.load("scenes")(images)
        assert ej.models.load("scenes")(images.astype(np.float64)).dtype == np.float64
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)  # another order of sums changes logits of about 10 by 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_networks_can_be_pickled(name: Any) -> None:
    network = zoo_weights.abstract(name)
    before, after = (jax.tree.flatten(each) for each in (network, pickle.loads(pickle.dumps(network))))
    assert before == after


@pytest.mark.parametrize("name", SMALL)
def test_images_that_are_too_small(name: Any) -> None:
    """They give scores or a clear message, never the mean of an empty map."""
    network = zoo_weights.abstract(name)

    def scores(height: Any, width: Any) -> Any:
        return jax.eval_shape(lambda network, x: network(x), network, jax.ShapeDtypeStruct((1, height, width, 3), np.float32)).shape

    assert scores(64, 80) == (1, 1000)
    if name in ("resnet18", "efficientnet_lite0", "mobilenet_v3_small", "regnet_y_400mf"):
        assert scores(1, 1) == (1, 1000)
    else:
        with pytest.raises(
            ValueError, match=r"too small for this network: its layer '.*' is empty|must be multiples of (16|4), got \(9, 8\)"
        ):
            scores(9, 8)
