"""The packaged classifiers of clips and of series: their labels, their attributes, and the evidence that masks find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
from extremal_jax.data import moving_scenes, series
from extremal_jax.operators.axes import SERIES, VIDEO

PRETRAINED = Path(ej.__file__).parent / "models" / "pretrained"


def clips(seed: int, count: int, size: int = 48, frames: int = 12, objects: Any = (1, 2)) -> tuple[Any, Any]:
    """Generated clips, and their pixels."""
    found = moving_scenes.generate(seed, count, size, frames, objects=objects)
    return found, found.clips


def events(seed: int, count: int, number: Any = (1, 2)) -> tuple[Any, Any]:
    """Generated series, and their values."""
    found = series.generate(seed, count, events=number)
    return found, found.values


@pytest.mark.parametrize(("name", "generate"), [("moving_scenes", clips), ("series", events)])
def test_labels_of_fresh_inputs(name: str, generate: Any) -> None:
    """Of 48 inputs, which training has not seen: the recorded shares are 99.8% and 99.7% of the labels."""
    model = ej.models.load(name)
    found, inputs = generate(70, 48)
    scores = jax.jit(model)(np.stack([model.preprocess(one) for one in inputs]))
    right = (np.asarray(scores) > 0) == found.labels
    assert right.mean() >= 0.98
    assert right.all(axis=1).mean() >= 0.9


@pytest.mark.parametrize(
    ("name", "axes", "classes", "size"),
    [("moving_scenes", VIDEO, moving_scenes.CLASSES, (12, 48, 48)), ("series", SERIES, series.CLASSES, (100, 6))],
)
def test_attributes_and_record(name: str, axes: Any, classes: Any, size: Any) -> None:
    model = ej.models.load(name)
    assert (model.name, model.axes, model.classes, model.input_size) == (name, axes, classes, size)
    record = json.loads((PRETRAINED / f"{name}.json").read_text())
    assert tuple(record["classes"]) == classes
    assert record["labels_right"] >= 0.995


@pytest.mark.parametrize(
    ("name", "planted"), [("moving_scenes", clips(3, 1, 32, 8, objects=1)), ("series", events(3, 1, number=1))], ids=("clip", "series")
)
def test_masks_find_the_evidence(name: str, planted: Any) -> None:
    """More than two fifths of a mask lie on the truth, a 35th of the input, in ten steps."""
    found, [values] = planted
    model = ej.models.load(name)
    if name == "moving_scenes":  # not scaled to the size of the training
        model.preprocessing = type(model.preprocessing)((8, 32, 32), model.preprocessing.mean, model.preprocessing.std)
    target = int(found.labels[0].argmax())
    config = ej.Config(num_steps=10, exchange=False, perturbation="fade")
    result = ej.extremal_perturbation(model, model.preprocess(values), target, [0.05], config=config)
    truth, mask = found.masks[0, target], np.asarray(result.masks[0])
    assert truth.shape == mask.shape
    assert truth.mean() < 0.04
    assert mask[truth].sum() > 0.4 * mask.sum()
