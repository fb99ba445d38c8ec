"""Every classifier against the one that it is converted from: torchvision's, timm's and TorchRay's, recorded with weights drawn by name.

Tolerances: 1e-4 of the largest score, and 1e-4 of a layer's standard deviation, for float32 in another order of operations through up to a
hundred layers.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import extremal_jax as ej
import zoo_weights
from extremal_jax.models import hub, registry
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.networks.layers import Chain, Relu
from extremal_jax.models.preprocessing import Preprocessing, described
from extremal_jax.models.published import PUBLISHED
from golden_data import GOLDEN

TOLERANCE = 1e-4
SMALL = ("alexnet", "vgg11_bn", "resnet18", "googlenet", "densenet121", "convnext_tiny", "vit_s_16")  # one of each family
NAMES = {  # of the goldens that do not go by our names
    "torchvision/resnet50@192x256": "resnet50",
    "timm/resnet50.tv_in1k": "resnet50",
    "timm/vgg16.tv_in1k": "vgg16",
    "timm/convnext_tiny.fb_in1k": "convnext_tiny",
    "timm/vit_small_patch16_224.augreg_in21k_ft_in1k": "vit_s_16",
    "timm/deit_small_patch16_224.fb_in1k": "deit_s_16",
    "torchray/vgg16_voc_fully_convolutional": "vgg16_voc_fully_convolutional",
    "torchray/resnet50_voc_fully_convolutional": "resnet50_voc_fully_convolutional",
}
ACTIVATIONS = {  # where the golden's publisher calls a layer something else
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


def members(names, quick):
    """Parameters of a test, of which all but a few are slow."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def check_golden(golden, tmp_path, fold):
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
def test_goldens(golden, tmp_path):
    check_golden(golden, tmp_path, fold=False)


FOLDED = ("torchvision/resnet18", "torchvision/googlenet", "torchvision/densenet121", "torchray/resnet50_voc_fully_convolutional")


@pytest.mark.parametrize("golden", members(FOLDED, {"torchvision/resnet18"}))
def test_goldens_of_folded_networks(golden, tmp_path):
    """None of the names in them is that of a convolution before a norm."""
    check_golden(golden, tmp_path, fold=True)


# What the files of these classifiers look like, where no golden says it: as their layout would have them.


def load(name, tmp_path, **options):
    """A classifier with weights drawn by the names of torchvision's or TorchRay's layout."""
    architecture = ENTRIES[name].architecture
    layout = next((layout for layout in architecture.layouts if layout.publisher == "torchvision"), architecture.layouts[0])
    return ej.models.load(name, zoo_weights.write(tmp_path / "weights.safetensors", zoo_weights.wanted(architecture, layout)), **options)


def recorded_sizes():
    with np.load(GOLDEN / "zoo" / "sizes.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("recorded", members(recorded_sizes(), {"resnet34 192x256", "vgg11_bn 192x256", "vit_s_16 160x160"}))
def test_other_sizes(recorded, tmp_path):
    name, size = recorded.split()
    height, width = map(int, size.split("x"))
    scores = jax.jit(lambda model, x: model(x))(load(name, tmp_path), zoo_weights.images(1, height, width))
    expected = recorded_sizes()[recorded]
    close(scores if scores.shape == expected.shape else scores[:, ::50], expected)


def recorded_preprocessing():
    with np.load(GOLDEN / "zoo" / "preprocessing.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("recorded", recorded_preprocessing())
def test_preprocessing(recorded):
    """Of noise, on which a filter shows most. Both are Pillow's, so that less than one of its 255 levels may be between them."""
    orientation, scaled, interpolation = recorded.split()
    prepare = Preprocessing((224, 224), (0.0,) * 3, (1.0,) * 3, crop=224 / int(scaled), interpolation=interpolation)
    picture = np.random.default_rng([0, 7]).integers(0, 256, (300, 401, 3), dtype=np.uint8)
    picture = picture if orientation == "landscape" else picture.transpose(1, 0, 2)
    for image in (picture, Image.fromarray(picture)):
        np.testing.assert_allclose(prepare(image)[::16, ::16], recorded_preprocessing()[recorded], rtol=0, atol=0.5 / 255)


@pytest.mark.parametrize(
    ("name", "publisher", "scaled", "interpolation"),
    [
        ("alexnet", "torchvision", 256, "bilinear"),
        ("resnet50", "torchvision and timm", 256, "bilinear"),
        ("convnext_tiny", "torchvision", 236, "bilinear"),
        ("convnext_small", "torchvision", 230, "bilinear"),
        ("convnext_base", "torchvision", 232, "bilinear"),
        ("convnext_base", "timm", 256, "bicubic"),
        ("vit_b_16", "torchvision", 256, "bilinear"),
        ("vit_b_16", "timm", 248, "bicubic"),
        ("deit_s_16", "timm", 248, "bicubic"),
    ],
)
def test_published_preprocessing(name, publisher, scaled, interpolation):
    """The sides of the scaled picture and the filters are as torchvision's and timm's pages on their weights say."""
    entry = ENTRIES[name]
    prepare = entry.preprocessing_by_publisher.get(publisher, entry.preprocessing)
    corner = np.zeros((scaled, scaled, 3), np.uint8)
    corner[(scaled - 224) // 2, (scaled - 224) // 2] = 255  # the first pixel of the crop, if nothing is scaled
    assert prepare.interpolation == interpolation
    assert np.argwhere(prepare.picture(prepare(corner)).any(axis=-1)).tolist() == [[0, 0]]


def test_caffe_preprocessing():
    """[0, 255] less the mean, red first: the weights are turned to that."""
    prepared = ENTRIES["vgg16_voc"].preprocessing(np.full((224, 224, 3), (10, 20, 30), np.uint8))
    np.testing.assert_allclose(prepared[5, 5], [10 - 123.68, 20 - 116.779, 30 - 103.939], rtol=1e-5)


@pytest.mark.parametrize("shape", [(11, 17), (5, 3), (3, 9)], ids=str)
def test_scaling_without_antialiasing(shape):
    """Against the definition, a loop: each sample lies on the line between two pixels in each direction, however much a picture shrinks."""
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    prepared = Preprocessing((4, 4), (0.0,) * 3, (1.0,) * 3, crop=None, antialias=False)(picture)
    height, width = (int(4 * n / min(shape)) for n in shape)
    assert prepared.shape == (height, width, 3)

    def neighbours(place, count, extent):
        exact = min(max((place + 0.5) * extent / count - 0.5, 0), extent - 1)
        low = int(exact)
        return (low, 1 - exact + low), (min(low + 1, extent - 1), exact - low)

    for y in range(height):
        for x in range(width):
            rows, columns = neighbours(y, height, shape[0]), neighbours(x, width, shape[1])
            expected = sum(a * b * (picture[row, column] / 255) for row, a in rows for column, b in columns)
            np.testing.assert_allclose(prepared[y, x], expected, atol=1e-5)


@pytest.mark.parametrize("network", ["vgg16_voc", "vgg16_coco", "resnet50_voc", "resnet50_coco"])
def test_fully_convolutional_networks_see_the_whole_picture(network):
    cropped, whole = ENTRIES[network].preprocessing, ENTRIES[f"{network}_fully_convolutional"].preprocessing
    picture = np.random.default_rng(0).integers(0, 256, (301, 600, 3), dtype=np.uint8)
    assert whole(picture).shape == (224, 446, 3)
    assert whole(picture.transpose(1, 0, 2)).shape == (446, 224, 3)
    np.testing.assert_array_equal(cropped(picture), whole(picture)[:, 111:335])
    with pytest.raises(ValueError, match="image of 1x9000 pixels would be scaled to 224x2016000; crop it first"):
        whole(np.zeros((1, 9000), np.uint8))


def test_without_antialiasing_there_is_one_filter():
    with pytest.raises(ValueError, match="interpolation must be one of 'bilinear', got 'bicubic'"):
        Preprocessing((4, 4), (0.0,) * 3, (1.0,) * 3, interpolation="bicubic", antialias=False)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float64])
def test_pictures_of_floats(dtype, classifier):
    picture = np.full((128, 128, 3), 0.25, dtype)
    np.testing.assert_array_equal(classifier.preprocess(picture), classifier.preprocess(np.full((128, 128, 3), 64, np.uint8)))
    with pytest.raises(ValueError, match=r"image must hold floats in \[0, 1\], or uint8, got values from 0.25 to 2"):
        classifier.preprocess(np.concatenate([picture, 8 * picture]))


def test_another_preprocessing_can_be_set():
    model = ej.models.load("scenes")
    model.preprocessing = Preprocessing((32, 48), (0.0,) * 3, (1.0,) * 3)
    assert model.input_size == model.preprocess(np.zeros((64, 64, 3), np.uint8)).shape[:2] == (32, 48)


HALVES = Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3, crop=0.875)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"input_size": [3, 288, 256], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]},
            Preprocessing((288, 256), (0.1, 0.2, 0.3), (1, 2, 3), 0.95, "bicubic"),
        ),
        ({"crop_pct": 1.0}, dataclasses.replace(HALVES, crop=1.0)),
        ({"input_size": [3, 0, 9], "crop_pct": 0, "interpolation": "random", "mean": [1, 2], "std": [0, 1, 1]}, HALVES),
        ({"input_size": "large", "crop_pct": "all", "interpolation": [], "mean": None, "std": ["a"] * 3}, HALVES),
        ("none", HALVES),
    ],
)
def test_described_preprocessing(config, expected):
    assert described({"pretrained_cfg": config}, HALVES) == expected
    assert described({}, HALVES) == HALVES


def test_layouts_decide_the_preprocessing(tmp_path):
    shapes = {"torchvision": "torchvision/convnext_tiny", "timm": "timm/convnext_tiny.fb_in1k"}
    loaded = {}
    for publisher, golden in shapes.items():
        path = zoo_weights.write(tmp_path / "weights.safetensors", zoo_weights.tensors(golden))
        loaded[publisher] = ej.models.load("convnext_tiny", path).preprocessing.interpolation
    assert loaded == {"torchvision": "bilinear", "timm": "bicubic"}


@pytest.mark.parametrize("name", members((name for name in ENTRIES if name != "scenes"), SMALL))
def test_entries(name):
    """Of the abstract network: the number of parameters, and with no batch norm in training mode."""
    entry = ENTRIES[name]
    network = entry.architecture.abstract({})
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param))) == entry.parameters
    assert entry.input_size == (224, 224)


@pytest.mark.parametrize("name", members(ENTRIES, {"scenes", "vgg11_bn", "vgg16_voc_fully_convolutional"}))
def test_activations(name):
    network = ENTRIES[name].architecture.abstract({})
    network.eval()
    assert zoo_weights.names(network, (1, 224, 224, 3)) == ENTRIES[name].activations


def test_listing_starts_nothing():
    """No device is asked for, so nothing can have been traced, compiled or loaded."""
    program = (
        "import extremal_jax as ej; ej.models.available(); from jax._src import xla_bridge; print(xla_bridge.backends_are_initialized())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


def test_random_weights():
    def kernel(**options):
        return ej.models.load("resnet18", weights=None, **options).network.conv1.conv.kernel[...]

    first = kernel(key=jax.random.key(1))
    np.testing.assert_array_equal(first, kernel(key=jax.random.key(1), num_classes=3))
    np.testing.assert_array_equal(kernel(), kernel(key=jax.random.key(0)))
    assert not np.allclose(first, kernel(key=jax.random.key(2)))
    assert abs(first.std() / np.sqrt(2 / (7 * 7 * 3)) - 1) < 0.05  # of 9408 numbers: 7 standard errors


def test_number_of_classes():
    model = ej.models.load("googlenet", weights=None, num_classes=3)
    assert model.classes == ("0", "1", "2")
    assert jax.eval_shape(model, jnp.zeros((2, 64, 64, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ej.models.load("googlenet", weights=None, num_classes=0)


@pytest.mark.parametrize(
    ("name", "count", "first"), [("alexnet", 1000, "tench"), ("vgg16_voc", 20, "aeroplane"), ("resnet50_coco", 80, "person")]
)
def test_class_names(name, count, first, monkeypatch):
    monkeypatch.setattr(registry, "fill_randomly", lambda network, key, dtype: network)  # the numbers do not matter
    classes = ej.models.load(name, weights=None, fold=False).classes
    assert (len(classes), classes[0]) == (count, first)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("hub", PUBLISHED["resnet18"]),
        ("hub:a/b", hub.HubFile("a/b")),
        ("hub:a/b@c", hub.HubFile("a/b", revision="c")),
    ],
)
def test_weights_from_the_hub(weights, expected, tmp_path, monkeypatch):
    path, asked = zoo_weights.write(tmp_path / "model.safetensors", zoo_weights.tensors("torchvision/resnet18")), []

    def fetch(*arguments, **options):
        asked.append(hub.HubFile(*arguments, **options))
        return path

    monkeypatch.setattr(hub, "fetch", fetch)
    model = ej.models.load("resnet18", weights)
    assert asked[0] == expected
    assert asked[1:] == ([hub.HubFile(expected.repo, "config.json", expected.revision)] if expected.repo == "a/b" else [])
    np.testing.assert_array_equal(model.network.fc.bias[...], zoo_weights.draw("fc.bias", (1000,)))


def test_published_weights_are_pinned():
    """To a commit, by its whole hash, but for three whose commits are not known; each is another one's."""
    assert PUBLISHED.keys() <= ENTRIES.keys()
    pins = {name: file.revision for name, file in PUBLISHED.items() if file.revision}
    unpinned = PUBLISHED.keys() - pins.keys()
    assert unpinned == {"resnet101", "densenet201", "convnext_small"}
    for name in unpinned:  # refused before anything is fetched
        with pytest.raises(ValueError, match=f"not pinned to a commit.*hub:{PUBLISHED[name].repo}@COMMIT"):
            ej.models.load(name, weights="hub")
    assert all(re.fullmatch("[0-9a-f]{40}", pin) for pin in pins.values())
    digests = [file.sha256 for file in PUBLISHED.values() if file.sha256]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    for distinct in ([*pins.values()], digests, [file.repo for file in PUBLISHED.values()]):
        assert len(set(distinct)) == len(distinct)


def test_no_packaged_weights():
    with pytest.raises(
        ValueError, match='carries no weights for resnet50; give weights=the name of a file, "hub", or None for random ones'
    ):
        ej.models.load("resnet50")
    with pytest.raises(ValueError, match="no weights for alexnet are published on the Hugging Face hub; give the name of a file"):
        ej.models.load("alexnet", "hub")


@pytest.mark.parametrize("name", members(SMALL, {"resnet18", "vit_s_16"}))
def test_bfloat16(name, tmp_path):
    """Weights and activations are bfloat16, the scores come in the images' type, and are the float32 ones to a few of its 1/256 steps."""
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


def test_dtypes():
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16', got 'float16'"):
        ej.models.load("resnet18", weights=None, dtype=jnp.float16)
    with pytest.raises(TypeError, match="images must hold floats, as `preprocess` makes them, got uint8"):
        ej.models.load("scenes")(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(name=3), TypeError, "name must be that of a classifier, such as 'resnet50', got 3"),
        (dict(name=["resnet18"]), TypeError, "name must be that of a classifier"),
        (dict(weights=123), TypeError, 'weights must be the name of a file, "default", "hub", "hub:OWNER/NAME", or None, got 123'),
        (dict(num_classes=True), TypeError, "num_classes must be a whole number, or None for that of the weights, got True"),
        (dict(num_classes="3"), TypeError, "num_classes must be a whole number, .* got '3'"),
        (dict(num_classes=2.5), TypeError, "num_classes must be a whole number, .* got 2.5"),
        (dict(dtype="foo"), ValueError, "dtype must be one of 'float32', 'bfloat16', got 'foo'"),
        (dict(key=0), TypeError, r"key must be one of JAX's keys, such as jax.random.key\(0\), got 0"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    load = inspect.unwrap(ej.models.load)  # without the type checker of the tests
    with pytest.raises(error, match=message):
        load(**{"name": "scenes", "weights": None, **arguments})


def test_arguments_of_other_types_that_are_fine():
    model = inspect.unwrap(ej.models.load)("scenes", None, num_classes=np.int64(3), key=jax.random.PRNGKey(0))
    assert model.classes == ("0", "1", "2")


@pytest.mark.parametrize("shape", [(64, 64, 3), (1, 1, 64, 64, 3), ()], ids=str)
def test_images_without_a_batch(shape, classifier):
    call = inspect.unwrap(type(classifier).__call__)
    with pytest.raises(ValueError, match=rf"images must have the shape \(B, H, W, C\), got {re.escape(str(shape))}; .*image\[None\]"):
        call(classifier, np.zeros(shape, np.float32))


@pytest.mark.parametrize("function", [ej.models.fold_batch_norm, ej.models.name_submodules])
def test_functions_of_modules_refuse_others(function):
    with pytest.raises(TypeError, match=r"must be a Flax NNX module, .*got int"):
        inspect.unwrap(function)(3)


@pytest.mark.parametrize("name", members(("resnet18", "vgg11_bn", "googlenet", "densenet121", "resnet50_voc"), {"resnet18"}))
def test_folding(name, tmp_path):
    classifier = load(name, tmp_path, fold=False)
    before = jax.tree.map(np.asarray, jax.tree.leaves(classifier))
    folded = ej.models.fold_batch_norm(classifier)
    jax.tree.map(np.testing.assert_array_equal, folded, load(name, tmp_path))  # what is loaded unless asked otherwise
    call = jax.jit(lambda model, x: model(x))
    images = zoo_weights.images(1, 96, 64)
    close(call(folded, images), call(classifier, images))
    for ours, theirs in zip(jax.tree.leaves(classifier), before, strict=True):  # the original is as it was
        np.testing.assert_array_equal(ours, theirs)
    left = [path for path, module in nnx.iter_modules(folded) if isinstance(module, nnx.BatchNorm)]
    assert all(path[-1] in ("norm1", "norm5", "norm") for path in left) if name == "densenet121" else not left


def test_folding_a_chain():
    """Only a norm right behind a convolution is folded, with and without a bias of the convolution's own; also under a trace."""
    rngs = nnx.Rngs(0)
    layers = [nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs), Relu(), nnx.BatchNorm(4, rngs=rngs)]
    layers += [nnx.Conv(4, 2, (1, 1), use_bias=False, rngs=rngs), nnx.BatchNorm(2, rngs=rngs)]
    chain = Chain("chain", layers)
    chain.eval()
    leaves, structure = jax.tree.flatten(chain)
    drawn = [jnp.asarray(zoo_weights.draw(str(i), leaf.shape)) ** 2 + 0.1 for i, leaf in enumerate(leaves)]
    chain = jax.tree.unflatten(structure, drawn)
    images = jnp.asarray(zoo_weights.images(2, 8, 6))
    folded = ej.models.fold_batch_norm(chain)
    assert [type(layer).__name__ for layer in folded] == ["Conv", "Identity", "Relu", "BatchNorm", "Conv", "Identity"]
    for result in (folded(images), jax.jit(lambda chain, x: ej.models.fold_batch_norm(chain)(x))(chain, images)):
        np.testing.assert_allclose(result, chain(images), rtol=1e-5)  # a few roundings


@pytest.mark.slow
def test_loading_is_quick_and_small(tmp_path):
    """In a process of its own: the most memory while loading, above what the process had, and the time of a second loading."""
    path = zoo_weights.write(tmp_path / "resnet50.safetensors", zoo_weights.tensors("torchvision/resnet50"))
    program = f"""
import resource, time
import jax, jax.numpy as jnp
import extremal_jax as ej
ej.models.load("resnet18", weights=None, num_classes=2)
jax.block_until_ready(jnp.zeros(3) + 1)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
ej.models.load("resnet50", {str(path)!r})
memory = peak() - before
start = time.perf_counter()
ej.models.load("resnet50", {str(path)!r})
print(memory, time.perf_counter() - start)
"""
    memory, seconds = map(float, subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())
    assert memory < 2.5 * path.stat().st_size
    assert seconds < 2


@pytest.mark.parametrize("name", SMALL)
def test_images_that_are_too_small(name):
    """Either there are scores, or a sentence that says why not; never an average over nothing."""
    network = ENTRIES[name].architecture.abstract({})
    network.eval()

    def scores(height, width):
        return jax.eval_shape(lambda network, x: network(x), network, jax.ShapeDtypeStruct((1, height, width, 3), np.float32)).shape

    assert scores(64, 80) == (1, 1000)
    if name == "resnet18":
        assert scores(1, 1) == (1, 1000)
    else:
        with pytest.raises(
            ValueError, match=r"too small for this network: nothing is left of them at '|must be multiples of 16, got \(9, 8\)"
        ):
            scores(9, 8)
