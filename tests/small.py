"""A small classifier with every layer random, for tests that need a model rather than a classifier."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

CLASSES = 5


def weights(seed: int = 0, channels: int = 3) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]) / 2), jnp.float32)

    return {"first": draw(3, 3, channels, 6), "second": draw(3, 3, 6, 8), "head": 20 * draw(8, CLASSES)}


def features(weights: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, H / 4, W / 4, classes); the activations are called `first` and `second`."""
    x = images
    for name in ("first", "second"):
        x = jax.lax.conv_general_dilated(x, weights[name], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = checkpoint_name(jax.nn.relu(x), name)
    return x @ weights["head"]


def classify(weights: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, classes)."""
    return features(weights, images).mean(axis=(1, 2))


def model(seed: int = 0, channels: int = 3) -> Callable[[jax.Array], jax.Array]:
    """A closure over its arrays."""
    arrays = weights(seed, channels)
    return lambda images: classify(arrays, images)


def images(count: int = 2, height: int = 20, width: int = 24, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(N, H, W, C): blobs on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None]
    centres = rng.uniform(0.3, 0.7, (count, 2)) * (height, width)
    blobs = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 20) for a, b in centres]
    return (3 * np.stack(blobs) * rng.standard_normal(channels) + 0.3 * rng.standard_normal((count, height, width, channels))).astype(
        np.float32
    )
