"""Shared by RISE and occlusion: the response of a model to masked images, and the values that stand in for hidden ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Model, wide
from extremal_jax.ground.checks import as_array, check_choice
from extremal_jax.ground.filters import gaussian_blur
from extremal_jax.ground.pytrees import AnyArray

SCORES: dict[str, Callable[[Array], Array]] = {
    "logit": lambda scores: scores,
    "softmax": lambda scores: jax.nn.softmax(scores, axis=-1),
    "sigmoid": jax.nn.sigmoid,
}
_BLUR = 20 / 224  # the standard deviation of a blurred reference, as a share of the shorter side


def responses(
    model: Model, score: str, images: Float[Array, "m H W C"], target: Int[Array, ""] | None
) -> Float[Array, " m"] | Float[Array, "m classes"]:
    """The scores of images, averaged over positions and passed through a function of `SCORES`: the target's, or all classes'.

    Raises:
      ValueError: for the softmax of a single score, which is 1 for every image.
    """
    outputs = wide(model(images))
    if score == "softmax" and outputs.shape[-1] == 1:
        raise ValueError("score='softmax' needs at least 2 classes, and the model has a single score; take 'sigmoid' or 'logit'")
    scores = SCORES[score](outputs.mean(axis=(1, 2)) if outputs.ndim == 4 else outputs)
    return scores if target is None else scores[:, target]


def check_score(score: str) -> None:
    """Raise a ValueError unless this is a key of `SCORES`."""
    check_choice("score", score, SCORES)


def substitute(name: str, value: Any, images: AnyArray) -> Float[AnyArray, "N H W C"]:
    """Make the images that stand in for hidden ones.

    Args:
      name: of the argument.
      value: a number; an array (C,), (H, W, C) or (N, H, W, C); or "blur" for the images blurred by a Gaussian whose
        standard deviation is 9 % of the shorter side.
      images: (N, H, W, C).

    Raises:
      ValueError: if it is something else, or not finite.

    Example:
      >>> import numpy as np
      >>> substitute("baseline", (0.0, 0.5, 1.0), np.ones((1, 2, 2, 3), np.float32))[0, 0, 0].tolist()
      [0.0, 0.5, 1.0]
    """
    if isinstance(value, str):
        check_choice(name, value, ("blur",))
        return gaussian_blur(jnp.asarray(images), _BLUR * min(images.shape[1:3]))
    shape = images.shape
    value = as_array(name, value)
    if value.shape not in ((), shape[3:], shape[1:], shape) or not _is_real(value.dtype):
        raise ValueError(
            f'{name} must be a number, an array of the shape {shape[3:]}, {shape[1:]} or {shape}, or "blur",'
            f" got {value.dtype}{list(value.shape)}"
        )
    if not isinstance(value, Tracer) and not np.all(np.isfinite(np.asarray(value, np.float32))):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return jnp.broadcast_to(jnp.asarray(value, images.dtype), shape)


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
