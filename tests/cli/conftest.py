from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import command_line
import extremal_jax as ej
import plot_results
from extremal_jax.data.scenes import generate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty working folder with two images in it."""
    monkeypatch.chdir(tmp_path)
    for name, pixels in zip(("a.png", "b.png"), generate(40, 2, 48).images, strict=True):
        Image.fromarray(pixels).save(name)
    return tmp_path


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small classifier, which the commands load in place of the packaged one."""
    model = command_line.classifier()
    monkeypatch.setattr(ej.models, "load", lambda name, weights="default": model)
    return model


@pytest.fixture
def asked(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The arguments of each extremal perturbation, which returns invented numbers; figures are blank."""
    calls = []

    def answer(model: Any, images: Any, targets: Any, areas: Any, **options: Any) -> Any:
        calls.append({"images": images, "targets": targets, "areas": areas, **options})
        result = plot_results.result(len(images), options["config"].game)
        targets = np.broadcast_to(np.asarray(targets, np.int32), len(images))
        return dataclasses.replace(result, targets=targets, config=options["config"])

    monkeypatch.setattr(ej, "extremal_perturbation", answer)
    monkeypatch.setattr(ej.plots, "overview", lambda *_: Figure(figsize=(1, 1)))
    return calls
