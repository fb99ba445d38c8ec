"""A small classifier with random layers, images for it, and the calls that most tests share.

Calls with the default model, shapes and settings share their compiled programs, across all files of tests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej

CLASSES = 5
LAYER, CHANNELS = "second", 8  # a layer of the classifier, and its number of channels
TARGETS, AREAS, COUNTS = (1, 3), (0.1, 0.3), (1, 3)
PITCH, SIGMA, MAX_BLUR = 4, 4.0, 4.0
CONFIG = ej.Config(num_steps=4, pitch=PITCH, sigma=SIGMA, num_levels=2, max_blur=MAX_BLUR, exchange=False)
CHANNEL_CONFIG = ej.ChannelConfig(num_steps=4, swap_rounds=1, swaps=4)
INVERSION_CONFIG = ej.InversionConfig(num_steps=4)


def weights(seed: int = 0, channels: int = 3) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]) / 2), jnp.float32)

    return {"first": draw(3, 3, channels, 6), "second": draw(3, 3, 6, CHANNELS), "head": 20 * draw(CHANNELS, CLASSES)}


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


@functools.cache
def model(seed: int = 0, channels: int = 3) -> jax.tree_util.Partial:
    """The classifier with its arrays: the same object at each call."""
    return jax.tree_util.Partial(classify, weights(seed, channels))


def images(count: int = 2, height: int = 20, width: int = 24, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(N, H, W, C): blobs on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None]
    centres = rng.uniform(0.3, 0.7, (count, 2)) * (height, width)
    blobs = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 20) for a, b in centres]
    return (3 * np.stack(blobs) * rng.standard_normal(channels) + 0.3 * rng.standard_normal((count, height, width, channels))).astype(
        np.float32
    )


@dataclasses.dataclass
class Grey:
    """A perturbation of one's own: an image becomes one level of grey."""

    value: float
    name: ClassVar[str] = "grey"
    description: ClassVar[str] = "one level of grey"
    needs_reference: ClassVar[bool] = False

    def levels(self, images: Any, reference: Any = None) -> Any:
        return jnp.stack([jnp.full_like(images, self.value), images], axis=1)


MODEL, IMAGES = model(), images()


def explain(
    images: Any = IMAGES, targets: Any = TARGETS, areas: Any = AREAS, *, model: Any = MODEL, config: Any = CONFIG, **options: Any
) -> ej.ExtremalResult:
    return ej.extremal_perturbation(model, images, targets, areas, config=config, **options)


def channels(
    images: Any = IMAGES,
    targets: Any = TARGETS,
    areas: Any = COUNTS,
    *,
    model: Any = MODEL,
    at: Any = LAYER,
    config: Any = CHANNEL_CONFIG,
    **options: Any,
) -> ej.ChannelResult:
    return ej.channel_perturbation(model, images, targets, areas, at=at, config=config, **options)


def class_channels(
    images: Any = IMAGES,
    targets: Any = TARGETS,
    counts: Any = COUNTS,
    *,
    model: Any = MODEL,
    at: Any = LAYER,
    config: Any = CHANNEL_CONFIG,
    **options: Any,
) -> ej.ClassChannels:
    return ej.class_channels(model, images, targets, counts, at=at, config=config, **options)


def smallest(
    images: Any = IMAGES, targets: Any = TARGETS, areas: Any = AREAS, *, model: Any = MODEL, config: Any = CONFIG, **options: Any
) -> ej.SmallestArea:
    options = dict(response=0.0, resolution=0.6) | options
    return ej.smallest_area(model, images, targets, areas, config=config, **options)


@functools.cache
def seen() -> np.ndarray:
    """(N, h, w, C): the activations of the images at the layer."""
    return np.asarray(ej.graph.capture(MODEL, [LAYER])(jnp.asarray(IMAGES))[1][LAYER])


def invert(
    activation: Any = None, mask: Any = None, *, model: Any = MODEL, at: Any = LAYER, config: Any = INVERSION_CONFIG, **options: Any
) -> ej.InversionResult:
    options = dict(shape=IMAGES.shape[1:3]) | options
    return ej.invert_features(model, seen() if activation is None else activation, mask, at=at, config=config, **options)


# Every call that optimises, with its shared arguments.
CALLS: dict[str, Callable[..., Any]] = {
    "extremal": explain,
    "channels": channels,
    "class channels": class_channels,
    "smallest area": smallest,
    "inversion": invert,
}


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """JAX's switches, all on: ranks and dtypes do not promote, and with 64 bits, a number in double precision that slips in and meets
    one in single precision is an error too."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield
