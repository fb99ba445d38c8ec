"""The similarity of two maps: rank correlation and structural similarity."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from extremal_jax.evaluation.calls import as_floats
from extremal_jax.ground.checks import check_count, check_flag, check_positive
from extremal_jax.ground.pytrees import AnyArray

_LUMINANCE, _CONTRAST = 0.01, 0.03  # the constants of structural similarity, as shares of the range of the data


def rank_correlation(a: Any, b: Any, *, absolute: bool = False) -> Float[Array, "*N"]:
    """Spearman's rank correlation of maps: the correlation of the ranks of their pixels.

    Equal pixels share the mean of their ranks. A constant map ranks nothing: its correlation with another constant map
    is 1, with any other map 0. A map with NaN scores NaN.

    Args:
      a, b: (N, H, W), or (H, W), of one shape.
      absolute: whether to compare the maps' absolute values, in which the sign of the evidence does not count.

    Returns:
      (N,) in [-1, 1], or a number for (H, W); float32.

    Raises:
      TypeError, ValueError: for maps that hold no numbers, or are not of one such shape.

    Example:
      >>> a, b = [[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [40.0, 30.0]]
      >>> f"{rank_correlation(a, b):.1f}"
      '0.8'

    Source: Spearman, "The Proof and Measurement of Association between Two Things", 1904.
    """
    check_flag("absolute", absolute)
    a, b, single = _check_pair(a, b)
    scores = _rank_correlation(a, b, absolute)
    return scores[0] if single else scores


def ssim(a: Any, b: Any, *, window: int = 11, sigma: float | None = 1.5, data_range: Any = 1.0) -> Float[Array, "*N"]:
    """The structural similarity of maps: the mean, over all windows inside the map, of

        (2 μ_a μ_b + C1) (2 σ_ab + C2) / ((μ_a² + μ_b² + C1) (σ_a² + σ_b² + C2))

    with the means, variances and covariance in the window, C1 = (0.01 L)² and C2 = (0.03 L)² for values of the range L.
    It depends on the scale of the maps: bring both to [0, 1] first unless their scales are to be compared.
    Equal maps score 1, constant ones too. A map with NaN scores NaN.

    Args:
      a, b: (N, H, W), or (H, W), of one shape.
      window: the side of a window in pixels, odd.
      sigma: the standard deviation of a Gaussian that weights the pixels of a window; None weights all alike, and takes
        the sample's variances, with one degree of freedom less.
      data_range: L, positive.

    Returns:
      (N,) in [-1, 1], or a number for (H, W); float32.

    Raises:
      TypeError, ValueError: for maps as in `rank_correlation`; for maps smaller than a window, and for an even window.

    Example:
      >>> import jax.numpy as jnp
      >>> a = jnp.linspace(0, 1, 256).reshape(16, 16)
      >>> f"{ssim(a, a):.2f} {ssim(a, 1 - a):.2f}"
      '1.00 -0.83'

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
      Similarity", IEEE Transactions on Image Processing, 2004, whose window is the default.

    Differences from scikit-image: the default is the Gaussian window of the paper, `gaussian_weights=True, sigma=1.5,
      use_sample_covariance=False` there; `window=7, sigma=None` is the default there.
    """
    check_count("window", window, 1)
    check_positive("data_range", data_range)
    if sigma is not None:
        check_positive("sigma", sigma, " of pixels, or None for a uniform window")
    a, b, single = _check_pair(a, b)
    if window % 2 == 0 or window > min(a.shape[1:]):
        raise ValueError(f"window must be odd and no larger than the maps, {a.shape[1:]}, got {window}")
    if sigma is None and window == 1:
        raise ValueError("window must be at least 3 for the variances of a sample, got 1; give sigma, or a larger window")
    scores = _ssim(a, b, float(data_range), window, None if sigma is None else float(sigma))
    return scores[0] if single else scores


def _check_pair(a: Any, b: Any) -> tuple[Float[AnyArray, "N H W"], Float[AnyArray, "N H W"], bool]:
    """Two batches of maps of one shape, float32, and whether they are of a single map."""
    a, b = as_floats("a", a), as_floats("b", b)
    if a.shape != b.shape or a.ndim not in (2, 3) or 0 in a.shape:
        raise ValueError(f"a and b must be maps of one shape, (N, H, W) or (H, W), got {a.shape} and {b.shape}; resize one of them first")
    return (a[None], b[None], True) if a.ndim == 2 else (a, b, False)


@functools.partial(jax.jit, static_argnums=2)
def _rank_correlation(a: Float[Array, "N H W"], b: Float[Array, "N H W"], absolute: bool) -> Float[Array, " N"]:
    flat = (jnp.abs(maps) if absolute else maps for maps in (a, b))
    first, second = (_centred_ranks(maps.reshape(len(maps), -1)) for maps in flat)
    variances = (first**2).mean(axis=1), (second**2).mean(axis=1)
    scores = (first * second).mean(axis=1) / jnp.sqrt(variances[0] * variances[1])
    constant = jnp.stack([variance == 0 for variance in variances])
    scores = jnp.where(constant.any(axis=0), constant.all(axis=0).astype(scores.dtype), scores)
    scores = jnp.clip(scores, -1, 1)  # rounding
    return jnp.where(jnp.isnan(a).any(axis=(1, 2)) | jnp.isnan(b).any(axis=(1, 2)), jnp.nan, scores)


def _centred_ranks(values: Float[Array, "N P"]) -> Float[Array, "N P"]:
    """Ranks as shares of the count, less their mean; equal values have the mean of their ranks."""
    count = values.shape[1]
    positions = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32), values.shape)
    ordered, order = lax.sort((values, positions), dimension=1, num_keys=1)
    differs = ordered[:, 1:] != ordered[:, :-1]
    border = jnp.ones_like(differs[:, :1], shape=(len(values), 1))
    first = lax.cummax(jnp.where(jnp.concatenate([border, differs], axis=1), positions, 0), axis=1)
    last = lax.cummin(jnp.where(jnp.concatenate([differs, border], axis=1), positions, count - 1), axis=1, reverse=True)
    ranks = (first + last - (count - 1)).astype(jnp.float32) / (2 * count)
    return jax.vmap(lambda order, ranks: jnp.zeros_like(ranks).at[order].set(ranks))(order, ranks)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _ssim(
    a: Float[Array, "N H W"], b: Float[Array, "N H W"], data_range: float | Float[Array, ""], window: int, sigma: float | None
) -> Float[Array, " N"]:
    rows, columns = (_window_matrix(size, window, sigma) for size in a.shape[1:])

    def average(maps: Array) -> Array:
        return jnp.einsum("ih,jw,nhw->nij", rows, columns, maps, precision=lax.Precision.HIGHEST)

    # Variances do not depend on the mean of the map, and lose no digits to it once it is taken off.
    offset_a, offset_b = (maps.mean(axis=(1, 2), keepdims=True) for maps in (a, b))
    a, b = a - offset_a, b - offset_b
    mean_a, mean_b = average(a), average(b)
    sample = 1.0 if sigma is not None else window**2 / (window**2 - 1)
    variances = sample * (average(a * a) - mean_a**2 + average(b * b) - mean_b**2)
    covariance = sample * (average(a * b) - mean_a * mean_b)
    mean_a, mean_b = mean_a + offset_a, mean_b + offset_b
    c1, c2 = (jnp.asarray((constant * data_range) ** 2, jnp.float32) for constant in (_LUMINANCE, _CONTRAST))
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean(axis=(1, 2))


@functools.lru_cache(maxsize=64)
def _window_matrix(size: int, window: int, sigma: float | None) -> np.ndarray:
    """(size - window + 1, size): the weighted mean in each window of one dimension that lies inside."""
    offsets = np.arange(window) - window // 2
    weights = np.ones(window) if sigma is None else np.exp(-(offsets**2) / (2 * sigma**2))
    matrix = np.zeros((size - window + 1, size))
    for row in range(len(matrix)):
        matrix[row, row : row + window] = weights / weights.sum()
    return matrix.astype(np.float32)
