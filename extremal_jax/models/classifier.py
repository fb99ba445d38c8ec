"""A classifier: a network, the names of its classes, and the preparation that it expects of an image."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float
from PIL import Image

from extremal_jax.models.preprocessing import Preprocessing


class Classifier(nnx.Module):
    """A network with what one needs to know to use it. A function (B, H, W, C) -> (B, classes), in inference mode.

    Attributes:
      network: the Flax NNX module.
      name: as in `models.load`.
      classes: the names of the classes, in the order of the scores.
      preprocessing: from a picture to the network's input.
    """

    def __init__(self, network: nnx.Module, name: str, classes: tuple[str, ...], preprocessing: Preprocessing):
        self.network = network
        self.name = name
        self.classes = classes
        self.preprocessing = preprocessing

    def __call__(self, images: Float[Any, "B H W C"]) -> Float[Array, "B classes"]:
        return self.network(jnp.asarray(images))

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of what `preprocess` returns; the network takes other sizes as well."""
        return self.preprocessing.size

    def preprocess(self, image: Image.Image | np.ndarray | Any) -> Float[np.ndarray, "H W C"]:
        """Prepare a picture: resize, crop, normalise.

        Args:
          image: a Pillow image; or an array (H, W, 3), (H, W, 1) or (H, W), of uint8 or of floats in [0, 1].

        Returns:
          (H, W, C) float32, of `input_size`.
        """
        return self.preprocessing(image)
