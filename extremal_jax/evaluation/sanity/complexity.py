"""Efficient parameter randomisation: whether maps become more complex when all parameters are drawn anew."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from extremal_jax.boundary.images import check_images
from extremal_jax.evaluation.calls import check_maps, unit_range
from extremal_jax.evaluation.sanity.parameters import DRAWS, Model, parameters_of
from extremal_jax.evaluation.sanity.randomisation import Explain, explainer
from extremal_jax.ground.checks import check_choice, check_count, check_key


class EfficientRandomisation(NamedTuple):
    """The complexity of a model's maps, and of those of a model whose parameters are all drawn anew.

    Attributes:
      score: (N,), the relative rise of the complexity; or a number for a single image, as the others.
      complexity: the complexity of the model's maps.
      randomised: the complexity of the other model's maps.
    """

    score: Float[Array, "*N"]
    complexity: Float[Array, "*N"]
    randomised: Float[Array, "*N"]


def efficient_randomisation(
    method: Explain,
    model: Model,
    images: Any,
    targets: Any,
    *,
    num_bins: int = 100,
    draw: str = "normal",
    key: Array | None = None,
) -> EfficientRandomisation:
    """The relative rise of the complexity of a method's maps after all parameters are drawn anew:

        (C(randomised) - C(original)) / C(original)

    with the `complexity` C. A higher score is better: the map of a model that knows nothing should show no structure.

    Args:
      method, model, images, targets, draw, key: as in `parameter_randomisation`.
      num_bins: the number of bins of the histogram, as in `complexity`.

    Returns:
      The scores and complexities. A constant map of the model scores 0, a map with NaN scores NaN.

    Raises:
      TypeError, ValueError: as `parameter_randomisation`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from extremal_jax.attribution import linear_approx
      >>> model = jax.tree_util.Partial(lambda weight, x: (x @ weight).sum(axis=(1, 2)), jnp.eye(3, 2))
      >>> image = jnp.linspace(0, 1, 768).reshape(16, 16, 3)
      >>> efficient_randomisation(linear_approx, model, image, 0).score.shape
      ()

    Source: Hedström, Weber, Lapuschkin and Höhne, "Sanity Checks Revisited", 2024.
    """
    check_count("num_bins", num_bins, 2)
    check_choice("draw", draw, DRAWS)
    images, key = check_images("images", images), check_key(key)
    explain, parameters = explainer(method, images, targets, None, 0.0, key), parameters_of(model)
    original, randomised = (complexity(explain(model), num_bins=num_bins) for model in (model, parameters.randomised(None, draw, key)))
    rise = jnp.where(original == 0, 0, (randomised - original) / jnp.where(original == 0, 1, original))
    return EfficientRandomisation(jnp.where(jnp.isnan(randomised), jnp.nan, rise), original, randomised)


def complexity(maps: Any, *, num_bins: int = 100) -> Float[Array, "*N"]:
    """The entropy, in nats, of the histogram of a map, with bins of equal width from its least to its largest value.

    A constant map has the complexity 0, a map with NaN or infinity NaN.

    Args:
      maps: (N, H, W), or (H, W).
      num_bins: the number of bins, at least 2.

    Returns:
      (N,) in [0, log(num_bins)], or a number for (H, W); float32.

    Example:
      >>> f"{complexity([[0.0, 0.0], [1.0, 1.0]]):.3f}"  # log 2
      '0.693'

    Source: Hedström, Weber, Lapuschkin and Höhne, "Sanity Checks Revisited", 2024.
    """
    check_count("num_bins", num_bins, 2)
    found = check_maps("maps", maps, np.shape(maps))
    if found.ndim not in (2, 3) or 0 in found.shape:
        raise ValueError(f"maps must have the shape (N, H, W) or (H, W), got {found.shape}")
    scores = _complexity(found if found.ndim == 3 else found[None], num_bins)
    return scores if found.ndim == 3 else scores[0]


@functools.partial(jax.jit, static_argnums=1)
def _complexity(maps: Float[Array, "N H W"], num_bins: int) -> Float[Array, " N"]:
    flat = unit_range(maps).reshape(len(maps), -1)
    bins = jnp.clip((flat * num_bins).astype(jnp.int32), 0, num_bins - 1)
    counts = jax.vmap(lambda bins: jnp.zeros(num_bins, jnp.float32).at[bins].add(1))(bins)
    shares = counts / flat.shape[1]
    entropy = -(shares * jnp.log(jnp.where(shares == 0, 1, shares))).sum(axis=1)
    return jnp.where(jnp.isfinite(maps).all(axis=(1, 2)), entropy, jnp.nan)
