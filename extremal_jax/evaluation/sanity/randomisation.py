"""Parameter randomisation: a map that explains the model must change when the model's parameters are drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from extremal_jax.boundary.images import check_images
from extremal_jax.evaluation.calls import check_maps, unit_range
from extremal_jax.evaluation.sanity.parameters import DRAWS, Model, check_layers, named_key, parameters_of
from extremal_jax.evaluation.sanity.similarity import rank_correlation, ssim
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
      ssim: the structural similarity of maps scaled to [0, 1], of the same shape.
      maps: (1 + D, N, H, W), first those of the model itself; None unless `keep_maps`.
    """

    layers: tuple[str, ...]
    rank_correlation: Float[Array, " D *N"]
    ssim: Float[Array, " D *N"]
    maps: Float[Array, "M *N H W"] | None = None


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
    original: Any = None,
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
      original: (N, H, W), or (H, W): the method's maps of the images for the model as it is, where they are known
        already; None: they are computed. Not with `num_samples`, which compares maps of noisy images.
      key: the random key of parameters and noise; None: `jax.random.key(0)`.

    Returns:
      The names and similarities. A map that is constant, or that holds NaN, scores as in `rank_correlation` and `ssim`:
      two constant maps are alike.

    Raises:
      TypeError, ValueError: for maps of another size, both `original` and `num_samples`, unknown layers (near ones are
        listed), a model without parameters, options out of range.

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
    if original is not None and num_samples is not None:
        raise ValueError("pass either original, maps of the images, or num_samples, for maps of noisy images, got both")
    images, key = check_images("images", images), check_key(key)
    explain, parameters = explainer(method, images, targets, num_samples, noise, key), parameters_of(model)
    names = tuple(parameters.layers(images) if layers is None else check_layers(layers, parameters))
    original = explain(model) if original is None else check_maps("original", original, images.shape[:-1])
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


def explainer(method: Explain, images: AnyArray, targets: Any, num_samples: int | None, noise: float, key: Array) -> Callable[[Model], Any]:
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
