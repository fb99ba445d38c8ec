"""The newer classifiers against torchvision, timm and the reference of the lite EfficientNets, with weights drawn by name.

The tolerance is that of test_networks.py: 1e-4 of the largest score. The scores change by at least 4e-3 of it when the image is
flipped, so that they depend on all layers.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import zoo_weights
from extremal_jax.models.entries import ENTRIES
from golden_data import GOLDEN

TOLERANCE = 1e-4


def recorded(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "zoo" / name) as file:
        return {key: file[key] for key in file.files}


FAMILIES = recorded("families.npz")
OURS = (  # our names for the publishers'
    ("-", "_"),
    (r"^tf_(efficientnet_lite)", r"\1"),
    (r"^mobilenetv2_100", "mobilenet_v2"),
    (r"^mobilenetv3_(\w+)_100", r"mobilenet_v3_\1"),
    (
        r"^regnety_(\d+)",
        lambda found: "regnet_y_" + {"004": "400mf", "008": "800mf", "016": "1_6gf", "032": "3_2gf", "080": "8gf"}[found[1]],
    ),
    (r"^convnextv2", "convnext_v2"),
    (r"^swin_(\w)\w*_patch4_window7_224", r"swin_\1"),
)
SIZES = {  # those of networks that differ between torchvision and timm
    "regnety_008": {"first": 64, "second": 128, "third": 320, "fourth": 768},
    "regnety_080": {"first": 168, "second": 448, "third": 896, "fourth": 2016},
}
QUICK = {"timm/tf_efficientnet_lite0 97x130", "torchvision/mobilenet_v3_small 97x130", "torchvision/swin_t 100x256"}


def our_name(name: str) -> str:
    for pattern, replacement in OURS:
        name = re.sub(pattern, replacement, name)
    return name


def check(classifier: Any, size: str, expected: np.ndarray) -> None:
    height, width = map(int, size.split("x"))
    scores = jax.jit(lambda model, x: model(x))(classifier, zoo_weights.images(1, height, width))
    np.testing.assert_allclose(scores[:, ::50], expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("key", [pytest.param(key, marks=() if key in QUICK else pytest.mark.slow) for key in FAMILIES])
def test_scores(key: str, tmp_path: Path) -> None:
    """With folded batch norms, in the publisher's names."""
    publisher, name, size = re.split("[/ ]", key)
    architecture = ENTRIES[our_name(name)].architecture
    [layout] = (layout for layout in architecture.layouts if publisher in layout.publisher)
    scale = 0.5 if "regnet" in name else 1  # of the norms, as in golden/record_families.py
    path = zoo_weights.write(tmp_path / "weights.safetensors", zoo_weights.wanted(architecture, layout, SIZES.get(name)), scale)
    check(ej.models.load(our_name(name), path), size, FAMILIES[key])


def is_installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize("key", recorded("packages.npz"))
def test_weights_of_installed_packages(key: str) -> None:
    """The one of lite0 is among the tests' requirements."""
    package, name, size = re.split("[/ ]", key)
    if not is_installed(package):
        pytest.skip(f"{package} is not installed")
    check(ej.models.load(our_name(name)), size, recorded("packages.npz")[key])
    assert package.replace("-", "_") not in sys.modules
