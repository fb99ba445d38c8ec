"""A classifier: a network, the names of its classes, and the preparation of its input."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float, Num
from PIL import Image

from extremal_jax.boundary.images import check_model_input
from extremal_jax.ground.html import section, table
from extremal_jax.operators.axes import IMAGE, Axes, names

_NAMED = 12  # classes or layers in a table


class Classifier(nnx.Module):
    """A network with its classes and its preprocessing: a function (B, H, W, C) -> (B, classes), in inference mode.

    A fully convolutional network returns scores at each place: (B, H, W, C) -> (B, h, w, classes). A classifier of clips or series
    has other `axes`, and takes (B, T, H, W, C) or (B, T, F). The network computes in the type of its weights; the scores have the
    type of the images.

    Attributes:
      network: the Flax NNX module.
      name: as in `models.load`.
      classes: the names of the classes, in the order of the scores.
      preprocessing: prepares an image for the network: a `Preprocessing`, or a `ClipPreprocessing` or `SeriesPreprocessing`.
      activations: the names of the inner layers, in the order of computation.
      axes: of the input without the batch. `extremal_perturbation` reads them, so that a call need not name them.
    """

    def __init__(
        self,
        network: nnx.Module,
        name: str,
        classes: tuple[str, ...],
        preprocessing: Any,
        activations: tuple[str, ...] = (),
        axes: Axes = IMAGE,
    ):
        self.network = network
        self.name = name
        self.classes = classes
        self.preprocessing = preprocessing
        self.activations = activations
        self.axes = axes

    def __call__(self, images: Num[Any, "B ..."]) -> Float[Array, "B *positions classes"]:
        images = check_model_input(images, "as `preprocess` makes them", self.axes)
        dtype = jax.tree.leaves(self.network)[0].dtype
        return self.network(images.astype(dtype)).astype(images.dtype)

    def __repr__(self) -> str:
        what, size = self._input()
        return f"Classifier({self.name!r}, {len(self.classes)} classes, {what} of {size}, {_count(self):,} parameters)"

    def _repr_html_(self) -> str:
        """A table for notebooks; the network has its own representation."""
        what, size = self._input()
        dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(nnx.state(self.network)) if hasattr(leaf, "dtype")})
        rows = [
            ("classes", f"{len(self.classes)}: {_listed(self.classes)}"),
            (what, size),
            *([("normalisation", _normalisation(self.preprocessing))] if hasattr(self.preprocessing, "mean") else []),
            ("parameters", f"{_count(self):,}, {', '.join(dtypes)}"),
            ("layers", f"{len(self.activations)}: {_listed(self.activations)}" if self.activations else "without names"),
        ]
        return section(self.name, table(rows))

    def _input(self) -> tuple[str, str]:
        """What the inputs are, and their size."""
        what = "images" if self.axes == IMAGE else f"inputs ({', '.join(names(self.axes))})"
        return what, "x".join(map(str, self.input_size))

    @property
    def input_size(self) -> tuple[int, ...]:
        """(height, width) of the arrays that `preprocess` returns; the network takes other sizes as well.

        Fully convolutional networks take whole images, and this is the smallest size that they are scaled to. For clips it is (time,
        height, width), and for series (time, feature), as the network was trained; `preprocess` changes no times and features.
        """
        return self.preprocessing.size

    def preprocess(self, image: Image.Image | np.ndarray | Any) -> Float[np.ndarray, "..."]:
        """Resize, crop and normalise an image, as the attribute `preprocessing` says, which can be set.

        Args:
          image: a Pillow image, which is turned upright as by `data.load_image`; or an array (H, W, 3), (H, W, 1) or (H, W) of
            NumPy, JAX, PyTorch or another library, of uint8 or of floats in [0, 1]. A classifier of clips takes such arrays with
            a leading axis of frames, and a classifier of series an array (T, F) of finite numbers.

        Returns:
          (H, W, C) float32, of `input_size`; for a fully convolutional network, the longer side may be longer. A clip is
          (T, H, W, C), and a series (T, F).
        """
        return self.preprocessing(image)


def _count(classifier: Classifier) -> int:
    """The number of the network's parameters."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(nnx.state(classifier.network)))


def _listed(names: tuple[str, ...]) -> str:
    """The first names."""
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _normalisation(preprocessing: Any) -> str:
    return f"mean {_numbers(preprocessing.mean)}, standard deviation {_numbers(preprocessing.std)}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
