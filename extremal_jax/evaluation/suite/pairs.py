"""Maps of pairs of an image and a class, where an image of several classes comes several times."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.method import Method
from extremal_jax.boundary.models import Model
from extremal_jax.ground.pytrees import AnyArray


def shared_images(images: Float[AnyArray, "N H W C"], targets: Int[AnyArray, " N"]) -> list[list[int]]:
    """The places of each image in a batch, where at least one image comes with several classes; else none.

    Example:
      >>> images = np.arange(2.0)[[0, 1, 0], None, None, None]
      >>> shared_images(images, np.array([3, 3, 4])), shared_images(images, np.array([3, 4, 3]))
      ([[0, 2], [1]], [])
    """
    places: dict[bytes, list[int]] = {}
    for place, image in enumerate(np.asarray(images)):
        places.setdefault(image.tobytes(), []).append(place)
    several = any(len({int(targets[place]) for place in same}) > 1 for same in places.values())
    return list(places.values()) if several else []


def maps_of_pairs(
    method: Method, model: Model, images: Float[AnyArray, "N H W C"], targets: Int[AnyArray, " N"], **options: Any
) -> Float[Array, "N h w"]:
    """A method's maps of pairs. Where an image comes with several classes, a method that makes maps of all classes from
    the same evaluations of the model explains the images one by one, each of them once.

    Args:
      method: a method of attribution.
      model, images, options: as the method takes them.
      targets: (N,), class indices.

    Example:
      >>> from extremal_jax.attribution import METHODS
      >>> model = lambda x: jnp.stack([x[:, :, :8].mean((1, 2, 3)), x[:, :, 8:].mean((1, 2, 3))], axis=-1)
      >>> maps = maps_of_pairs(METHODS["rise"], model, np.ones((2, 16, 16, 3)), np.array([0, 1]), num_masks=200, score="logit")
      >>> bool(maps[0, :, :8].mean() > maps[0, :, 8:].mean()), bool(maps[1, :, :8].mean() < maps[1, :, 8:].mean())
      (True, True)
    """
    shared = shared_images(images, targets) if method.all_classes else []
    if not shared:
        return method.function(model, images, targets, **options)
    found: dict[int, Array] = {}
    for same in shared:
        of_classes = method.function(model, images[same[0]], None, **options)
        found |= {place: of_classes[int(targets[place])] for place in same}
    return jnp.stack([found[place] for place in range(len(images))])
