"""Small random movements of a picture. A shape excites a layer under all of them; noise does so at one place only."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def draw_movements(key: Array, num_steps: int, jitter: float, rotation: float, scale: float) -> dict[str, Any]:
    """One uniform movement for each step of a run, as entries of its schedule: `shift` (T, 2), of at most `jitter`
    pixels
    either way; `angle` (T,) in radians, of at most `rotation` degrees; and `zoom` (T,), a factor, at most `scale`
    from 1.
    """
    uniform = jax.random.uniform(key, (num_steps, 4), jnp.float32, minval=-1.0)
    return dict(shift=jitter * uniform[:, :2], angle=jnp.deg2rad(rotation) * uniform[:, 2], zoom=1 + scale * uniform[:, 3])


def move(
    images: Float[Array, "B H W C"], shift: Float[Array, " 2"], angle: Float[Array, ""], zoom: Float[Array, ""]
) -> Float[Array, "B H W C"]:
    """Rotate pictures about their middle, anticlockwise, scale them, and shift them down and to the right (in pixels),
    by
    bilinear interpolation, periodic at the border.

    Example:
      >>> image = jnp.arange(4.0).reshape(1, 1, 4, 1)
      >>> move(image, jnp.array([0.0, 1.0]), jnp.zeros(()), jnp.ones(()))[0, 0, :, 0].tolist()
      [3.0, 0.0, 1.0, 2.0]
    """
    height, width = images.shape[1:3]
    middle = jnp.array([(height - 1) / 2, (width - 1) / 2], images.dtype)
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), axis=-1).astype(images.dtype)
    y, x = jnp.moveaxis((grid - (middle + shift)[None, None]) / zoom, -1, 0)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    y, x = middle[0] + cos * y + sin * x, middle[1] + cos * x - sin * y
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[None, ..., None], (x - left)[None, ..., None]
    rows = [jnp.mod(top.astype(jnp.int32) + i, height) for i in (0, 1)]
    columns = [jnp.mod(left.astype(jnp.int32) + i, width) for i in (0, 1)]
    upper, lower = ((1 - right) * images[:, row, columns[0]] + right * images[:, row, columns[1]] for row in rows)
    return (1 - down) * upper + down * lower
