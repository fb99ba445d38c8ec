"""`extremal-jax explain --method`: maps of other methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
from command_line import fails, files, invoke, succeeds
from extremal_jax.attribution import METHODS
from extremal_jax.data.scenes import CLASSES

pytestmark = pytest.mark.usefixtures("folder")


def methods(*names: Any) -> Any:
    return [argument for name in names for argument in ("--method", name)]


def test_maps(tiny: Any) -> None:
    """Each option reaches the methods that take it; where a method needs a layer, it is the last suitable one."""
    output = succeeds("explain", "a.png", "--target", "fox", *methods("gradient", "grad_cam", "contrastive_excitation_backprop"))
    assert "a.png: fox" in output
    assert "wrote out/a.png and" in output
    image, fox = tiny.preprocess(ej.data.load_image("a.png")), CLASSES.index("fox")
    with np.load("out/a.npz") as file:
        assert file["target"] == fox
        np.testing.assert_allclose(file["gradient"], METHODS["gradient"].function(tiny, image, fox), atol=1e-6)
        np.testing.assert_allclose(file["grad_cam"], METHODS["grad_cam"].function(tiny, image, fox, at="blocks.3"), atol=1e-6)
        expected = METHODS["contrastive_excitation_backprop"].function(tiny, image, fox, contrast_at="pool")
        np.testing.assert_allclose(file["contrastive_excitation_backprop"], expected, atol=1e-6)
    assert Path("out/a.png").stat().st_size > 10_000


def test_at(tiny: Any) -> None:
    succeeds("explain", "a.png", "b.png", *methods("excitation_backprop"), "--at", "blocks.3")
    for name in ("a", "b"):
        with np.load(f"out/{name}.npz") as file:
            assert file["excitation_backprop"].shape == (4, 4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (methods("grad_cm"), 2, "unknown name 'grad_cm'; did you mean 'grad_cam'?"),
        ([*methods("grad_cam"), "--steps", 3], 2, "Invalid value for --num-steps: applies only when extremal_perturbation is the sole"),
        ([*methods("grad_cam", "extremal_perturbation"), "--game", "delete"], 2, "Invalid value for --game: applies only when"),
        (["--contrast-at", "pool"], 2, "Invalid value for --contrast-at: applies only to contrastive methods"),
        ([*methods("occlusion", "rise"), "--at", "pool"], 2, "--at does not apply to occlusion, rise"),
        ([*methods("gradient"), "--contrast-at", "pool"], 2, "--contrast-at does not apply to gradient"),
        ([*methods("gradient", "grad_cam"), "--chunk-size", 2], 2, "--chunk-size does not apply to gradient, grad_cam"),
        ([*methods("grad_cam"), "--at", "blocks.4"], 2, "unknown activation 'blocks.4'; did you mean"),
        ([*methods("grad_cam"), "--at", "pool"], 2, "at must name a map"),
    ],
    ids=str,
)
def test_mistakes(tiny: Any, arguments: Any, code: int, message: str) -> None:
    fails(invoke("explain", "a.png", *arguments), code, message)
    assert not Path("out").exists() or files() == []


def test_chunks_are_of_the_methods_that_have_them(tiny: Any) -> None:
    succeeds("explain", "a.png", *methods("gradient", "occlusion"), "--chunk-size", 2)
