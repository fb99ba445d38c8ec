"""The classifiers by name."""

from __future__ import annotations

import importlib.resources
import os
from dataclasses import dataclass

import jax
from flax import nnx
from jax import Array

from extremal_jax.data.scenes import CLASSES
from extremal_jax.errors import nearest
from extremal_jax.models.classifier import Classifier
from extremal_jax.models.folding import fold_batch_norm
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.models.scenes import MEAN, SIZE, STD, ScenesNetwork
from extremal_jax.models.weights import fill

_PRETRAINED = importlib.resources.files(__package__) / "pretrained"


@dataclass(frozen=True)
class Entry:
    """What is known of a classifier without loading it.

    Attributes:
      name: as in `load`.
      description: in a line.
      input_size: (height, width) of its input, in pixels.
      parameters: their number.
      activations: the names of its inner layers.
    """

    name: str
    description: str
    input_size: tuple[int, int]
    parameters: int
    activations: tuple[str, ...]


SCENES = Entry(
    name="scenes",
    description="26 kinds of emoji objects in generated scenes; packaged, needs no network",
    input_size=(SIZE, SIZE),
    parameters=871_770,
    activations=("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "pool"),
)


def available() -> tuple[Entry, ...]:
    """All classifiers. Loads nothing."""
    return (SCENES,)


def load(name: str, weights: str | os.PathLike[str] | None = "default", *, key: Array | None = None) -> Classifier:
    """Load a classifier, ready for inference, with batch norm folded into its convolutions.

    Args:
      name: one of `available()`.
      weights: "default" for those that come with the package; a safetensors file; or None, for random ones.
      key: for random weights; None: `jax.random.key(0)`.

    Returns:
      A `Classifier`: a function (B, H, W, C) -> (B, classes), with `name`, `classes`, `input_size` and `preprocess`.

    Raises:
      ValueError: for an unknown name, or weights that do not fit.
      FileNotFoundError: if there is no such file.

    Example:
      >>> model = load("scenes")
      >>> model.input_size, model.classes[:3]
      ((128, 128), ('dog', 'wolf', 'fox'))
    """
    entries = {entry.name: entry for entry in available()}
    if name not in entries:
        raise ValueError(f"unknown model {name!r}; {nearest(name, entries)}")
    key = jax.random.key(0) if key is None else key
    abstract = nnx.eval_shape(lambda: ScenesNetwork(len(CLASSES), rngs=nnx.Rngs(0)))
    if weights is None:
        network = ScenesNetwork(len(CLASSES), rngs=nnx.Rngs(key))
    elif weights == "default":
        with importlib.resources.as_file(_PRETRAINED / f"{name}.safetensors") as path:
            network = fill(abstract, path)
    else:
        network = fill(abstract, weights)
    network.eval()  # type: ignore[no-untyped-call]
    preprocessing = Preprocessing((SIZE, SIZE), (MEAN,) * 3, (STD,) * 3)
    return Classifier(fold_batch_norm(network), name, CLASSES, preprocessing)
