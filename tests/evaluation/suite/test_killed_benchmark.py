"""A benchmark whose process is killed, and which goes on. This file is also the process's program."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import extremal_jax as ej
from extremal_jax.models.preprocessing import Preprocessing

COUNT = 8


class Network(nnx.Module):
    """Scores of the mean colours of a scene's quarters."""

    def __init__(self) -> None:
        weights = np.random.default_rng(0).standard_normal((2 * 2 * 3, len(ej.data.scenes.CLASSES)))
        self.weights = nnx.Param(jnp.asarray(weights, jnp.float32))

    def __call__(self, images: Any) -> Any:
        quarters = jnp.maximum(images, 0).reshape(-1, 2, 16, 2, 16, 3).mean(axis=(2, 4))
        return quarters.reshape(len(images), -1) @ self.weights[...]


def run(folder: Path) -> None:
    preprocessing = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3)
    models = {"quarters": ej.models.Classifier(Network(), "quarters", ej.data.scenes.CLASSES, preprocessing)}
    scenes = ej.data.SceneDataset(COUNT)
    ej.evaluation.benchmark(["pointing-game", "energy"], scenes, models, ["center", "gradient"], folder=folder, batch_size=2)


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows without their times, in one order."""
    found = [json.loads(line) for line in (folder / "rows-1-of-1.jsonl").read_text().splitlines()]
    return sorted(({name: value for name, value in row.items() if name != "seconds"} for row in found), key=json.dumps)


@pytest.mark.essential
def test_a_process_that_was_killed_goes_on(tmp_path: Path) -> None:
    """The rows are those of a run without a break, to the last bit, and none is there twice."""
    run(tmp_path / "whole")
    expected, path = rows(tmp_path / "whole"), tmp_path / "killed" / "rows-1-of-1.jsonl"
    size = (tmp_path / "whole" / "rows-1-of-1.jsonl").stat().st_size
    moment = np.random.default_rng(0).integers(1, size // 2)  # in bytes of rows, so that it does not depend on the machine
    child = subprocess.Popen([sys.executable, __file__, str(path.parent)])
    while child.poll() is None and (not path.exists() or path.stat().st_size < moment):
        time.sleep(0.001)
    child.kill()
    assert child.wait() == -signal.SIGKILL  # it was still running
    assert 0 < path.read_bytes().count(b"\n") < len(expected)
    run(path.parent)
    assert rows(path.parent) == expected


if __name__ == "__main__":
    run(Path(sys.argv[1]))
