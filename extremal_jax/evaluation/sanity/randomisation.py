"""Parameter randomisation: a map that explains the model must change when the model's parameters are drawn anew."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from extremal_jax.boundary.images import check_images
from extremal_jax.evaluation.calls import check_maps
from extremal_jax.evaluation.sanity.parameters import DRAWS, Model, check_layers, named_key, parameters_of
from extremal_jax.evaluation.sanity.similarity import rank_correlation, ssim, unit_range
from extremal_jax.ground.checks import check_choice, check_count, check_flag, check_key, check_not_negative
from extremal_jax.ground.pytrees import AnyArray

Explain = Callable[[Model, Any, Any], Any]  # (model, images, targets) -> maps (N, H, W)
ORDERS = ("cascading", "independent")


class Randomisation(NamedTuple):
    """The similarity of a model's maps to those of D models whose parameters are drawn anew.

    Attributes:
      layers: (D,), the names of the layers, in the order of randomisation; cascading, model d has its first d layers
        drawn anew, independent, its d-th alone.
      rank_correlation: (D, N), or (D,) for a single image.
      ssim: of maps scaled to [0, 1], as the rank correlation.
      maps: (1 + D, N, H, W), first those of the model itself; None unless `keep_maps`.
    """

    layers: tuple[str, ...]
    rank_correlation: Float[Array, " D *N"]
    ssim: Float[Array, " D *N"]
    maps: Float[Array, "M *N H W"] | None = None


class EfficientRandomisation(NamedTuple):
    """The complexity of a model's maps, and of those of a model whose parameters are all drawn anew.

    Attributes:
      score: (N,), the relative rise of the complexity; or a number for a single image, as the others.
      complexity: of the model's maps.
      randomised: the complexity of the other model's.
    """

    score: Float[Array, "*N"]
    complexity: Float[Array, "*N"]
    randomised: Float[Array, "*N"]


def parameter_randomisation(
    method: Explain,
    model: Model,
    images: Any,
    targets: Any,
    *,
    order: str = "cascading",
    layers: Sequence[str] | None = None,
    num_depths: int | None = None,
    draw: str = "normal",
    absolute: bool = False,
    num_samples: int | None = None,
    noise: float = 0.1,
    keep_maps: bool = False,
    key: Array | None = None,
) -> Randomisation:
    """The similarity of a method's maps before and after the model's parameters are drawn anew, layer by layer.

    A low similarity is good: the map depends on the parameters. The caller's model stays as it is. A method that takes
    the arrays of the model as arguments, as all of `extremal_jax.attribution`, is compiled once.

    Args:
      method: (model, images, targets) -> maps (N, H, W) of the images' size, such as `attribution.gradient`; other
        options by `functools.partial`. A random method must use the same key at each call.
      model: a pytree that holds its parameters, such as a `models.Classifier` or any Flax NNX or Equinox module; or a
        `functools.partial` or a `jax.tree_util.Partial` of a function and its parameters.
      images: (H, W, C), or a batch (N, H, W, C).
      targets: as the method takes them.
      order: "cascading" adds one layer after another, "independent" draws one layer at a time.
      layers: names of layers, or of modules that hold several, in the order of randomisation; None:
        `parameter_layers(model, images)`, from the output to the input. Reversed, that is the bottom-up order.
      num_depths: at most so many models, evenly spaced in the order of the layers, the last among them; None: all.
      draw: as in `randomise`.
      absolute: whether to compare the maps' absolute values.
      num_samples: smooth randomisation: compare the means of maps of so many noisy images, with the same noise for all
        models; None: compare the maps of the images.
      noise: the standard deviation of that noise, as a share of each image's range.
      keep_maps: whether to return the maps.
      key: of parameters and noise; None: `jax.random.key(0)`.

    Returns:
      The names and similarities. A map that is constant, or that holds NaN, scores as in `rank_correlation` and `ssim`:
      two constant maps are alike.

    Raises:
      TypeError, ValueError: for maps of another size, unknown layers (near ones are listed), a model without
        parameters, options out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from extremal_jax.attribution import linear_approx
      >>> parameters = {"hidden": jnp.eye(3), "head": jnp.eye(3, 2)}
      >>> def network(parameters, x):
      ...     return (x @ parameters["hidden"] @ parameters["head"]).sum(axis=(1, 2))
      >>> image = jnp.linspace(0, 1, 768).reshape(16, 16, 3)
      >>> found = parameter_randomisation(linear_approx, jax.tree_util.Partial(network, parameters), image, 0)
      >>> found.layers, found.rank_correlation.shape
      (('head', 'hidden'), (2,))

    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018; smooth:
      Hedström, Weber, Lapuschkin and Höhne, "Sanity Checks Revisited", 2024.

    Differences from Quantus: layers come in the order of computation, not of declaration; layers are drawn at their own
      scale; the noise is the same before and after.
    """
    check_choice("order", order, ORDERS)
    check_choice("draw", draw, DRAWS)
    check_flag("absolute", absolute)
    check_flag("keep_maps", keep_maps)
    if num_depths is not None:
        check_count("num_depths", num_depths, 1)
    images, key = check_images("images", images), check_key(key)
    explain, parameters = _explainer(method, images, targets, num_samples, noise, key), parameters_of(model)
    names = tuple(parameters.layers(images) if layers is None else check_layers(layers, parameters))
    original = explain(model)
    kept, scores = [original], []
    depths = _spaced(len(names), num_depths)
    for depth in depths:
        chosen = names[: depth + 1] if order == "cascading" else names[depth : depth + 1]
        maps = explain(parameters.randomised(chosen, draw, key))
        scores.append(_similarity(original, maps, absolute))
        kept += [maps] if keep_maps else []
    correlations, similarities = (jnp.stack(values) for values in zip(*scores, strict=True))
    found = jnp.stack([jnp.asarray(maps) for maps in kept]) if keep_maps else None
    return Randomisation(tuple(names[depth] for depth in depths), correlations, similarities, found)


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
      num_bins: of the histogram, as in `complexity`.

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
    explain, parameters = _explainer(method, images, targets, None, 0.0, key), parameters_of(model)
    original, randomised = (complexity(explain(model), num_bins=num_bins) for model in (model, parameters.randomised(None, draw, key)))
    rise = jnp.where(original == 0, 0, (randomised - original) / jnp.where(original == 0, 1, original))
    return EfficientRandomisation(jnp.where(jnp.isnan(randomised), jnp.nan, rise), original, randomised)


def complexity(maps: Any, *, num_bins: int = 100) -> Float[Array, "*N"]:
    """The entropy, in nats, of the histogram of a map, with bins of equal width from its least to its largest value.

    A constant map has the complexity 0, a map with NaN or infinity NaN.

    Args:
      maps: (N, H, W), or (H, W).
      num_bins: at least 2.

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


def _explainer(
    method: Explain, images: AnyArray, targets: Any, num_samples: int | None, noise: float, key: Array
) -> Callable[[Model], Any]:
    """The function from a model to its maps, checked: of the images, or the mean of those of noisy images."""
    if not callable(method):
        raise TypeError(f"method must be a function (model, images, targets) -> maps, got {method!r}")
    if num_samples is not None:
        check_count("num_samples", num_samples, 1)
    check_not_negative("noise", noise, ", a share of the image's range")
    shape = images.shape[:-1]

    def explain(model: Model) -> Any:
        if num_samples is None:
            return check_maps("the method's maps", method(model, images, targets), shape)
        noisy = (_noisy(named_key(key, f"noise {sample}"), images, float(noise)) for sample in range(num_samples))
        return sum(check_maps("the method's maps", method(model, shown, targets), shape) for shown in noisy) / num_samples

    return explain


def _spaced(count: int, most: int | None) -> list[int]:
    """At most so many of the indices below a count, evenly spaced, the last among them."""
    most = min(most or count, count)
    return [-(-count * number // most) - 1 for number in range(1, most + 1)]


def _similarity(original: AnyArray, maps: AnyArray, absolute: bool) -> tuple[Array, Array]:
    original, maps = (jnp.abs(values) if absolute else values for values in (original, maps))
    window = min(11, *((side - 1) // 2 * 2 + 1 for side in maps.shape[-2:]))  # the largest odd one, in small maps
    return rank_correlation(original, maps), ssim(unit_range(original), unit_range(maps), window=window)


@jax.jit
def _noisy(key: Array, images: Float[Array, "*N H W C"], noise: float | Float[Array, ""]) -> Float[Array, "*N H W C"]:
    axes = (-3, -2, -1)
    ranges = images.max(axis=axes, keepdims=True) - images.min(axis=axes, keepdims=True)
    normal = jax.random.normal(key, images.shape[-3:], jnp.float32).astype(images.dtype)  # the same for all images
    return images + jnp.asarray(noise, images.dtype) * ranges * jnp.broadcast_to(normal, images.shape)


@functools.partial(jax.jit, static_argnums=1)
def _complexity(maps: Float[Array, "N H W"], num_bins: int) -> Float[Array, " N"]:
    flat = unit_range(maps).reshape(len(maps), -1)
    bins = jnp.clip((flat * num_bins).astype(jnp.int32), 0, num_bins - 1)
    counts = jax.vmap(lambda bins: jnp.zeros(num_bins, jnp.float32).at[bins].add(1))(bins)
    shares = counts / flat.shape[1]
    entropy = -(shares * jnp.log(jnp.where(shares == 0, 1, shares))).sum(axis=1)
    return jnp.where(jnp.isfinite(maps).all(axis=(1, 2)), entropy, jnp.nan)
