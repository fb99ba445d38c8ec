"""`models.load` and `models.available`: arguments, random weights, weights from the hub."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
import zoo_weights
from extremal_jax.models import hub, registry
from extremal_jax.models.entries import ENTRIES

PUBLISHED = {name: entry.hub for name, entry in ENTRIES.items() if entry.hub}


def test_listing_initialises_nothing() -> None:
    """No device is initialised, so nothing is traced, compiled or loaded."""
    program = (
        "import extremal_jax as ej; ej.models.available(); from jax._src import xla_bridge; print(xla_bridge.backends_are_initialized())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_page_lists_all_classifiers() -> None:
    page = (Path(ej.__file__).parents[1] / "docs" / "classifiers.md").read_text()
    assert ENTRIES.keys() <= set(re.findall(r"`(\w+)`", page))


def test_random_weights() -> None:
    """He initialisation, from the key alone; test_scenes_classifier.py has other keys."""
    first, second = (
        ej.models.load("resnet18", weights=None, key=jax.random.key(1), num_classes=classes).network.conv1.conv.kernel[...]  # type: ignore[attr-defined]
        for classes in (None, 3)
    )
    np.testing.assert_array_equal(first, second)
    assert abs(first.std() / np.sqrt(2 / (7 * 7 * 3)) - 1) < 0.05  # of 9408 numbers: 7 standard errors


def test_number_of_classes() -> None:
    model = ej.models.load("googlenet", weights=None, num_classes=3)
    assert model.classes == ("0", "1", "2")
    assert jax.eval_shape(model, jnp.zeros((2, 64, 64, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match="num_classes must be a whole number, at least 1, got 0"):
        ej.models.load("googlenet", weights=None, num_classes=0)


@pytest.mark.parametrize(
    ("name", "count", "first"), [("alexnet", 1000, "tench"), ("vgg16_voc", 20, "aeroplane"), ("resnet50_coco", 80, "person")]
)
def test_class_names(name: str, count: int, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "fill_randomly", lambda network, key, dtype: network)  # the numbers do not matter here
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
def test_weights_from_the_hub(weights: str, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = zoo_weights.write(tmp_path / "model.safetensors", zoo_weights.tensors("torchvision/resnet18")), []

    def fetch(file: hub.HubFile) -> Path:
        asked.append(file)
        return path

    monkeypatch.setattr(hub.HubFile, "fetch", fetch)
    model: Any = ej.models.load("resnet18", weights)
    assert asked[0] == expected
    assert asked[1:] == ([hub.HubFile(expected.repo, "config.json", expected.revision)] if expected.repo == "a/b" else [])
    np.testing.assert_array_equal(model.network.fc.bias[...], zoo_weights.draw("fc.bias", (1000,)))


def test_published_weights_are_pinned() -> None:
    """To the full hash of a commit, all different, except for three whose commits are unknown."""
    assert len(PUBLISHED) == 23
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


def test_no_packaged_weights() -> None:
    with pytest.raises(
        ValueError, match='carries no weights for resnet50; give weights=the name of a file, "hub", or None for random ones'
    ):
        ej.models.load("resnet50")
    with pytest.raises(ValueError, match="no weights for alexnet are published on the Hugging Face hub; give the name of a file"):
        ej.models.load("alexnet", "hub")


def test_dtypes() -> None:
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'bfloat16', got 'float16'"):
        ej.models.load("resnet18", weights=None, dtype=jnp.float16)
    with pytest.raises(TypeError, match="images must hold floats, as `preprocess` makes them, got uint8"):
        ej.models.load("scenes")(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(name=3), TypeError, "name must name a classifier, such as 'resnet50', got 3"),
        (dict(name=["resnet18"]), TypeError, "name must name a classifier"),
        (dict(weights=123), TypeError, 'weights must be a file or its name, "default", "hub", "hub:OWNER/NAME", or None, got 123'),
        (dict(num_classes=True), ValueError, "num_classes must be a whole number, at least 1, got True"),
        (dict(num_classes="3"), ValueError, "num_classes must be a whole number, .* got '3'"),
        (dict(num_classes=2.5), ValueError, "num_classes must be a whole number, .* got 2.5"),
        (dict(dtype="foo"), ValueError, "dtype must be one of 'float32', 'bfloat16', got 'foo'"),
        (dict(key=0), TypeError, r"key must be one of JAX's keys, such as jax.random.key\(0\), got 0"),
    ],
    ids=str,
)
def test_bad_arguments(arguments: Any, error: Any, message: str) -> None:
    load = inspect.unwrap(ej.models.load)  # without the tests' type checker
    with pytest.raises(error, match=message):
        load(**{"name": "scenes", "weights": None, **arguments})


def test_arguments_of_other_types_that_are_accepted() -> None:
    model = inspect.unwrap(ej.models.load)("scenes", None, num_classes=np.int64(3), key=jax.random.PRNGKey(0))
    assert model.classes == ("0", "1", "2")


@pytest.mark.parametrize("shape", [(64, 64, 3), (1, 1, 64, 64, 3), ()], ids=str)
def test_images_without_a_batch(shape: Any, classifier: ej.models.Classifier) -> None:
    call = inspect.unwrap(type(classifier).__call__)
    with pytest.raises(ValueError, match=rf"images must have the shape \(B, H, W, C\), got {re.escape(str(shape))}; .*image\[None\]"):
        call(classifier, np.zeros(shape, np.float32))


def test_only_modules_are_folded() -> None:
    with pytest.raises(TypeError, match=r"must be a Flax NNX module, .*got int"):
        inspect.unwrap(ej.models.fold_batch_norm)(3)


@pytest.mark.slow
def test_loading_is_quick_and_small(tmp_path: Path) -> None:
    """In its own process: the peak memory of a first loading, and the time of a second."""
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


@pytest.mark.parametrize(("name", "hint"), [("scene", "did you mean 'scenes'"), ("vgg", "did you mean 'vgg19'"), ("?", "choose from")])
def test_unknown_model(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"unknown model '{name}'; {hint}")):
        ej.models.load(name)
