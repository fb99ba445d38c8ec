"""A small sweep that the tests of sweeps share: ten pictures of noise, two classes to explain, a classifier of random weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import extremal_jax as ej
import small

COUNT = 10
PICTURES = (127 * (small.images(COUNT) - small.images(COUNT).min()) / np.ptp(small.images(COUNT))).astype(np.uint8)
SOURCE = [(picture, index % small.CLASSES) for index, picture in enumerate(PICTURES)]


def prepare(pixels: np.ndarray) -> np.ndarray:
    """The classifier's input."""
    return pixels.astype(np.float32) / 32 - 2


def run(out: Path | str, source: Any = SOURCE, model: Any = None, **options: Any) -> ej.sweeps.Sweep:
    """A sweep of four steps in batches of four."""
    given: dict[str, Any] = dict(areas=small.AREAS, config=small.CONFIG, batch_size=4, preprocess=prepare) | options
    return ej.sweep(model or named(), source, out, **given)


def begin(out: Path | str) -> subprocess.Popen[bytes]:
    """The sweep in a process of its own, on a single device."""
    program = "import sys, sweep_pictures; sweep_pictures.run(sys.argv[1], sharding=sweep_pictures.device())"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", program, str(out)], env=environment)


def device() -> jax.sharding.Sharding:
    """A single device, of which every process has one."""
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


class Named:
    """The classifier with the names of its classes."""

    classes = tuple(f"class {index}" for index in range(small.CLASSES))

    def __call__(self, images: Any) -> Any:
        return small.model()(images)


def named() -> Any:
    """The classifier, the same object at each call."""
    return _NAMED


_NAMED = Named()


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file of a store."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".shards" not in path.parts
    }
