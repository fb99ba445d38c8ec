"""The commands `channels`, `smallest-area` and `invert`."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from PIL import Image

import extremal_jax as ej
from extremal_jax import cli
from extremal_jax.data.scenes import CLASSES, generate
from extremal_jax.models.preprocessing import Preprocessing


class Tiny(nnx.Module):
    """A network with a layer of three channels, that compiles in a moment."""

    def __init__(self):
        self.weights = nnx.Param(jnp.asarray(np.random.default_rng(0).normal(size=(4 * 4 * 3, len(CLASSES))), jnp.float32))

    def __call__(self, images):
        cells = checkpoint_name(images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4)), "cells")
        return 5 + cells.reshape(len(images), -1) @ self.weights[...]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a picture in it, and a small classifier in place of the packaged one."""
    model = ej.models.Classifier(Tiny(), "scenes", CLASSES, Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3), ("cells",))
    monkeypatch.setattr(ej.models, "load", lambda name, weights="default": model)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(generate(40, 1, 48).images[0]).save("a.png")
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def width(path):
    with Image.open(path) as picture:
        return picture.width


def test_smallest_area(folder):
    result = invoke("smallest-area", "a.png", "--steps", 2, "--resolution", 2, "--threshold", 0.5)
    assert result.exit_code == 0, result.output
    assert "of the image: response" in result.output
    assert "wrote out/a.png" in result.output
    assert Path("out/a.png").stat().st_size > 5_000
    assert ej.SmallestArea.load("out/a.npz").masks.shape == (32, 32)
    none = invoke("smallest-area", "a.png", "--steps", 2, "--resolution", 2, "--response", 1e6, "--target", 3)
    assert f"{CLASSES[3]}, response" in none.output
    assert "no area suffices; the best: response" in none.output


def test_a_threshold_that_is_not_finite(folder):
    result = invoke("smallest-area", "a.png", "--threshold", "nan")
    assert result.exit_code == 1
    assert "Error: threshold must be a positive, finite number, got nan" in result.stderr


def test_invert(folder):
    result = invoke("invert", "a.png", "--at", "cells", "--steps", 3, "--channels", "0,2")
    assert result.exit_code == 0, result.output
    for name in ("(all channels)", "(kept channels)", "(dropped channels)", "wrote out/a.png"):
        assert name in result.output
    assert ej.InversionResult.load("out/a.npz").images.shape == (3, 32, 32, 3)
    wide = width("out/a.png")
    assert "dropped" not in invoke("invert", "a.png", "--at", "cells", "--steps", 3, "--objective", "l2").output
    assert width("out/a.png") < wide


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "cell"), "unknown activation 'cell'; did you mean 'cells'"),
        (("--at", "cells", "--channels", "1,3"), "the channels of cells go from 0 to 2, got 3"),
        (("--at", "cells", "--channels", "some"), "expected channels with commas between them, such as 3,17, got 'some'"),
        ((), "Missing option '--at'"),
    ],
)
def test_what_invert_refuses(folder, arguments, message):
    result = invoke("invert", "a.png", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_channels(folder):
    result = invoke("channels", "a.png", "--at", "cells", "--areas", "1,2", "--steps", 3, "--target", 4)
    assert result.exit_code == 0, result.output
    assert f"a.png: {CLASSES[4]}, response" in result.output
    assert "to 3 channels of cells" in result.output
    saved = ej.ChannelResult.load("out/a.npz")
    assert (saved.requested_areas.tolist(), saved.config.num_steps, int(saved.targets)) == ([1, 2], 3, 4)
    assert " ".join(map(str, saved.channels(2))) in result.output
    assert Path("out/a.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--at", "cells", "--areas", "0,1"], 2, "expected whole numbers of channels with commas between them"),
        (["--at", "cells", "--areas", "many"], 2, "got 'many'"),
        (["--at", "cells", "--areas", "1,4"], 1, "areas"),
        (["--at", "cell"], 1, "unknown activation 'cell'; did you mean 'cells'?"),
        ([], 2, "Missing option '--at'"),
    ],
)
def test_what_channels_refuses(folder, arguments, code, message):
    result = invoke("channels", "a.png", *arguments)
    assert (result.exit_code, message in result.output) == (code, True), result.output


def test_explain_at_a_layer(folder):
    """The option reaches extremal perturbation too: masks of the layer's size."""
    result = invoke("explain", "a.png", "--at", "cells", "--steps", 2, "--areas", "0.3")
    assert result.exit_code == 0, result.output
    assert ej.ExtremalResult.load("out/a.npz").masks.shape == (1, 4, 4)
