"""Images of coloured squares, and a classifier whose places vote for the class of their colour, that tests of benchmarks share."""

from __future__ import annotations

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
from extremal_jax.data.examples import Dataset, Example, Object
from extremal_jax.evaluation.suite.benchmark import benchmark
from extremal_jax.models.preprocessing import Preprocessing

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "grey": (128, 128, 128)}
CLASSES = tuple(COLOURS)
FAST = ("gradient", "center")


class Network(nnx.Module):
    """Each place votes for the class of its colour."""

    def __init__(self, gain: float = 30.0) -> None:
        self.colours = nnx.Param(jnp.asarray(list(COLOURS.values()), jnp.float32) / 255)
        self.gain = nnx.Param(jnp.float32(gain))

    def __call__(self, images: Any) -> Any:
        distances = ((images[..., None, :] - self.colours[...]) ** 2).sum(axis=-1)
        return self.gain[...] * checkpoint_name(jnp.exp(-4 * distances), "places").mean(axis=(1, 2))


def classifier(gain: float = 30.0, crop: float | None = 1.0) -> Any:
    preprocessing = Preprocessing((16, 16), mean=(0.0,) * 3, std=(1.0,) * 3, crop=crop, antialias=crop is not None)
    return ej.models.Classifier(Network(gain), "colours", CLASSES, preprocessing, ("places",))


def nameless() -> Any:
    """A classifier without names of layers."""

    class Plain(Network):
        def __call__(self, images: Any) -> Any:
            return jnp.concatenate([images.mean(axis=(1, 2)), images.max(axis=(1, 2))[:, :2]], axis=-1)

    return ej.models.Classifier(Plain(), "plain", CLASSES, classifier().preprocessing)


class Squares(Dataset):
    """Black images of 16x20 pixels with one or two squares, of which the first image's second is difficult."""

    def __init__(self, count: int = 7, classes: tuple[str, ...] = CLASSES, located: bool = True, corrupt: int | None = None) -> None:
        self.name, self.classes, self.names = "squares", classes, tuple(f"{index}.png" for index in range(count))
        self.located, self.corrupt = located, corrupt

    def example(self, index: int) -> Example:
        pixels = np.zeros((16, 20, 3), np.uint8)
        objects = []
        for label, left in ((index % 4, 2), ((index + 1) % 4, 12))[: 1 + (index % 3 == 0)]:
            box = (3, left, 9, left + 6)
            pixels[box[0] : box[2], box[1] : box[3]] = COLOURS[CLASSES[label]]
            objects.append(Object(label, box if self.located else None, difficult=index == 0 and left == 12))
        image: Any = b"no image" if index == self.corrupt else pixels
        return Example(self.names[index], image, (16, 20) if self.located else None, tuple(objects))


def run(tests: Any = ("pointing-game", "energy"), dataset: Any = None, methods: Any = FAST, **given: Any) -> Any:
    options: Any = dict(models={"colours": classifier()}, batch_size=4) | given
    return benchmark(tests, Squares() if dataset is None else dataset, options.pop("models"), methods, **options)


def rows(folder: Any) -> list[Any]:
    """The rows of a folder in one order, without their times."""
    found = [json.loads(line) for path in folder.glob("rows-*.jsonl") for line in path.read_text().splitlines()]
    for row in found:
        row.pop("seconds", None)
    return sorted(found, key=json.dumps)
