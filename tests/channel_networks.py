"""Networks whose best channels are known, or can be found by trying all sets. benchmarks/channels.py measures them too."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.ad_checkpoint import checkpoint_name

CARRIERS = (1, 4, 6)


def carried(images: Array) -> Array:
    """(B, H, W, 8) -> (B, 2): only the channels `CARRIERS` of the layer "x" carry the second class."""
    x = checkpoint_name(jnp.abs(images), "x").mean(axis=(1, 2))
    carriers = x[:, np.array(CARRIERS)] @ jnp.array([1.0, 2.0, 1.5])
    return jnp.stack([x[:, 0] + x[:, 2], jnp.tanh(carriers / 8)], axis=1)


def random_weights(seed: int, networks: int, channels: int, width: int = 16, classes: int = 5) -> tuple[Array, ...]:
    """The weights of networks with two hidden layers; each array has a leading axis of networks."""
    rng = np.random.default_rng(seed)
    shapes = [(channels, width), (width,), (width, width), (width,), (width, classes)]
    scales = [np.sqrt(2 / channels), 0.1, np.sqrt(2 / width), 0.1, np.sqrt(1 / width)]
    draws = [scale * rng.standard_normal((networks, *shape)) for shape, scale in zip(shapes, scales, strict=True)]
    return tuple(jnp.asarray(draw, jnp.float32) for draw in draws)


def random_images(seed: int, networks: int, channels: int) -> Array:
    """(networks, 2, 2, C): one image for each network."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal((networks, 2, 2, channels)), jnp.float32)


def tail(weights: tuple[Array, ...], x: Array) -> Array:
    """The layers after "x", (B, h, w, C) -> (B, classes): channels excite and inhibit one another in two hidden layers, place by place."""
    first, bias, second, other_bias, head = weights
    x = jax.nn.relu(x @ first + bias)
    x = jax.nn.relu(x @ second + other_bias)
    return x.mean(axis=(1, 2)) @ head


def network(weights: tuple[Array, ...], images: Array) -> Array:
    """(B, h, w, C) -> (B, classes), with the layer "x"."""
    return tail(weights, checkpoint_name(jax.nn.relu(images), "x"))


def subsets(channels: int, count: int) -> np.ndarray:
    """(S, C): all sets of a number of channels, as masks of 0 and 1."""
    members = list(itertools.combinations(range(channels), count))
    masks = np.zeros((len(members), channels), np.float32)
    np.put_along_axis(masks, np.array(members), 1, axis=1)
    return masks


@jax.jit
def responses(weights: tuple[Array, ...], images: Array, masks: Any) -> Array:
    """(networks, S): the first score of each network for its image, under masks (S, C) or (networks, S, C) of the layer "x"."""

    def respond(weights: tuple[Array, ...], image: Array, masks: Array) -> Array:
        return tail(weights, jax.nn.relu(image) * masks[:, None, None, :])[:, 0]

    return jax.vmap(respond, in_axes=(0, 0, 0 if masks.ndim == 3 else None))(weights, images, masks)


def best_responses(weights: tuple[Array, ...], images: Array, counts: tuple[int, ...]) -> Array:
    """(networks, K): the highest response of any set of each count."""
    return jnp.stack([responses(weights, images, subsets(images.shape[-1], count)).max(axis=1) for count in counts], axis=1)
