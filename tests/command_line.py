"""Running the command line in this process, and a network that compiles in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from click.testing import CliRunner
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
from extremal_jax import cli
from extremal_jax.data.scenes import CLASSES
from extremal_jax.models.classes import class_names
from extremal_jax.models.preprocessing import Preprocessing


class Tiny(nnx.Module):
    """Scores of the mean colours of 4x4 cells, with names of the packaged classifier's layers: `blocks.2` and
    `blocks.3` have 64 channels at 4x4 places, `pool` has no places."""

    def __init__(self, num_classes: int = len(CLASSES)) -> None:
        rng = np.random.default_rng(0)
        self.weights = nnx.List([nnx.Param(jnp.asarray(rng.normal(size=shape) / 4, jnp.float32)) for shape in ((3, 64), (64, 64))])
        self.head = nnx.Param(jnp.asarray(rng.normal(size=(64, num_classes)), jnp.float32))

    def __call__(self, images: Any) -> Any:
        x = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4))
        for index, weights in enumerate(self.weights):
            x = checkpoint_name(jax.nn.relu(x @ weights[...]), f"blocks.{index + 2}")
        return 5 + checkpoint_name(x.mean(axis=(1, 2)), "pool") @ self.head[...]


def classifier() -> Any:
    """A classifier of 32x32 images with the classes of the packaged one."""
    return ej.models.Classifier(
        Tiny(), "scenes", CLASSES, Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3), ("blocks.2", "blocks.3", "pool")
    )


def small_load(name: str) -> Any:
    """A stand-in for `models.load`: networks of 32x32 images with the classes of the real ones."""
    if name == "scenes":
        return classifier()
    classes = class_names("imagenet")
    assert name == "efficientnet_lite0", name
    return ej.models.Classifier(
        Tiny(len(classes)), name, classes, Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3), ("blocks.2", "blocks.3", "pool")
    )


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def succeeds(*arguments: Any) -> Any:
    """The standard output of a command that succeeds without a word on standard error."""
    result = invoke(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def document(command: str, *arguments: Any) -> Any:
    """The document that a command prints with `--json`, without the lines that all documents have."""
    found = json.loads(succeeds(command, *arguments, "--json"))
    assert (found.pop("command"), found.pop("version")) == (command, ej.__version__)
    return found


def fails(result: Any, code: Any, *parts: Any) -> None:
    """Check that a command ends with an exit code and one sentence on standard error that contains all parts."""
    assert result.exit_code == code, result.output
    *usage, sentence = result.stderr.strip().splitlines()
    assert sentence.startswith("Error: ")
    assert not usage or (code == 2 and usage[0].startswith("Usage: "))
    assert "Traceback" not in result.stderr
    for part in parts:
        assert str(part) in sentence


def saved(name: Any = "a", folder: Any = "out") -> Any:
    return ej.ExtremalResult.load(Path(folder) / f"{name}.npz")


def files(folder: Any = "out") -> Any:
    return sorted(path.name for path in Path(folder).iterdir())
