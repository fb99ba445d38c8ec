"""Every classifier against the one that it is converted from: torchvision's, timm's and TorchRay's, recorded with weights drawn by name.

Tolerances: 1e-4 of the largest score, and 1e-4 of a layer's largest value, for float32 in another order of operations through up to a
hundred layers.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import zoo_weights

import extremal_jax as ej
from extremal_jax.models.entries import ENTRIES

TOLERANCE = 1e-4
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
    "timm/resnet50.tv_in1k",
    "torchray/resnet50_voc_fully_convolutional",
}

goldens = pytest.mark.parametrize(
    "golden",
    [
        pytest.param(golden, marks=() if golden in QUICK else pytest.mark.slow)
        for golden in zoo_weights.GOLDENS
        if NAMES.get(golden, golden.split("/")[1]) in ENTRIES
    ],
)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@goldens
def test_goldens(golden, tmp_path):
    recorded = zoo_weights.GOLDENS[golden]
    name = NAMES.get(golden, golden.split("/")[1])
    classifier = ej.models.load(name, zoo_weights.write(tmp_path / "weights.safetensors", zoo_weights.tensors(golden)))
    batch, _, height, width = recorded["input"]
    scores, activations = zoo_weights.run(classifier, zoo_weights.images(batch, height, width))
    expected = zoo_weights.logits(golden)
    close(np.moveaxis(scores, -1, 1), expected)
    assert tuple(activations) == classifier.activations == ENTRIES[name].activations
    for tap, statistics in recorded["taps"].items():
        ours = tap
        for pattern, replacement in ACTIVATIONS.get(golden, ()):
            ours = re.sub(pattern, replacement, ours)
        value = activations[ours]
        shape = statistics["shape"]
        value = np.moveaxis(value, -1, 1).reshape(shape) if len(shape) == 4 else value
        assert list(value.shape) == shape
        sample = value.reshape(-1)[:: max(1, value.size // 7)][:7]
        numbers = [value.mean(), value.std(), value.max(), *sample]
        scale = value.std()
        assert (
            np.abs(np.array(numbers) - [*(statistics[n] for n in ("mean", "std", "max")), *statistics["sample"]]).max() < TOLERANCE * scale
        )
