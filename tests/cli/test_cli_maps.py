"""`extremal-jax explain --method`: maps of other methods."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import extremal_jax as ej
from extremal_jax import cli
from extremal_jax.attribution import METHODS
from extremal_jax.cli import maps
from extremal_jax.graph import Activation

SCENE = Path(str(importlib.resources.files("extremal_jax.data") / "packaged" / "wolf-and-fox.png"))


def explain(*arguments):
    return CliRunner().invoke(cli.main, ["explain", *map(str, arguments)])


def test_maps(tmp_path, classifier):
    """Each option reaches the methods that take it; the layer is the last one with places where a method needs one."""
    asked = "--method", "gradient", "--method", "grad_cam", "--method", "contrastive_excitation_backprop"
    result = explain(SCENE, "--target", "fox", *asked, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'wolf-and-fox.png'} and" in result.output
    image, fox = classifier.preprocess(ej.data.load_image(SCENE)), classifier.classes.index("fox")
    with np.load(tmp_path / "wolf-and-fox.npz") as file:
        assert file["target"] == fox
        np.testing.assert_allclose(file["gradient"], METHODS["gradient"].function(classifier, image, fox), atol=1e-4)
        np.testing.assert_allclose(file["grad_cam"], METHODS["grad_cam"].function(classifier, image, fox, at="blocks.3"), atol=1e-4)
        assert file["contrastive_excitation_backprop"].shape == image.shape[:2]
    assert (tmp_path / "wolf-and-fox.png").stat().st_size > 10_000


def test_at(tmp_path):
    asked = "--method", "excitation_backprop", "--at", "blocks.1"
    assert explain(SCENE, "--target", "fox", *asked, "--out", tmp_path).exit_code == 0
    with np.load(tmp_path / "wolf-and-fox.npz") as file:
        assert file["excitation_backprop"].shape == (16, 16)


def test_the_layer_of_a_method_that_needs_one():
    """The last one of more than one place: of fully convolutional networks, the average pool has four axes too."""
    layers = [Activation(name, shape, "float32") for name, shape in (("layer4", (1, 7, 7, 8)), ("avgpool", (1, 1, 1, 8)), ("fc", (1, 8)))]
    assert maps._given(METHODS["grad_cam"], {"at": None}, layers) == {"at": "layer4"}
    assert maps._given(METHODS["contrastive_excitation_backprop"], {}, layers) == {"contrast_at": "fc"}
    with pytest.raises(click.UsageError, match="the method needs --at: a layer, of avgpool, fc"):
        maps._given(METHODS["grad_cam"], {}, layers[1:])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--method", "grad_cm"], 2, "unknown name 'grad_cm'; did you mean 'grad_cam'?"),
        (["--method", "grad_cam", "--steps", "3"], 2, "Invalid value for --steps: is an option of extremal_perturbation by itself"),
        (["--contrast-at", "pool"], 2, "Invalid value for --contrast-at: is an option of contrastive methods"),
        (["--method", "grad_cam", "--game", "delete"], 2, "Invalid value for --game"),
        (
            ["--method", "occlusion", "--method", "rise", "--at", "pool"],
            2,
            "--at names a layer, and there is none to choose for occlusion, rise",
        ),
        (["--method", "gradient", "--contrast-at", "pool"], 2, "--contrast-at names a layer, and there is none to choose for gradient"),
        (["--method", "grad_cam", "--at", "blocks.7"], 1, "unknown activation 'blocks.7'; did you mean"),
        (["--method", "grad_cam", "--at", "pool"], 1, "at must name a map"),
    ],
)
def test_mistakes(tmp_path, arguments, code, message):
    result = explain(SCENE, *arguments, "--out", tmp_path)
    assert (result.exit_code, message in result.output) == (code, True), result.output
    assert not list(tmp_path.iterdir())
