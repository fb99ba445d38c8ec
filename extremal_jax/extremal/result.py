"""The results of runs for masks: the masks, their rewards, the history of the run, and its status."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from extremal_jax.extremal.config import Config
from extremal_jax.extremal.mask_settings import ChannelConfig
from extremal_jax.ground.checks import as_array, check_not_negative
from extremal_jax.ground.filters import gaussian_blur
from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.operators.area import binarize, select_top
from extremal_jax.operators.axes import check_axes, each, masked
from extremal_jax.operators.nesting import rank_places
from extremal_jax.optimise.notebooks import Printed
from extremal_jax.optimise.results import OfImages
from extremal_jax.optimise.status import Status
from extremal_jax.optimise.storage import Saved

_DETAIL = 0.01  # the finest detail of `evidence`, as a share of the shorter side
EXPONENT = 1 / 8  # of the power mean of the masks' densities: with 1 it is the plain mean, towards 0 the geometric one
NEAR = 0.8  # the share of the saliency's peak above which `point` looks for evidence
SMOOTH = 0.09  # the smoothing of TorchRay's pointing game, as a share of the shorter side


@pytree()
class History:
    """The history of a run.

    Attributes:
      rewards: (..., T, K), the reward of each mask at each step.
      area_losses: (..., T, K), R_a of each mask at each step, before its weight.
    """

    rewards: Float[AnyArray, "*N T K"]
    area_losses: Float[AnyArray, "*N T K"]


@pytree(static=("config", "at"), prints=False)
class ExtremalResult(Printed, OfImages, Saved):
    """The extremal perturbations of one image, or of a batch of N, for K areas each. A pytree, of NumPy arrays if it
    was loaded.

    Attributes:
      masks: (K, H, W) or (N, K, H, W), in [0, 1], of the size of the image or of the layer's activation. What is not an
        image has other axes here and below: the masks of a clip are (K, T, H, W), those of a series (K, T, F).
      params: (..., K, h, w), the masks' parameters, which can be the `initial_params` of another run.
      rewards: (..., K), the game's reward of each mask.
      image_rewards: (...), the response to the image itself.
      areas: (..., K), the share of the image that each mask keeps.
      requested_areas: (..., K), the areas asked for.
      targets: (...) or (..., M), the classes.
      history: the run step by step.
      status: whether the run went well.
      config: the settings, with all lengths in pixels.
      at: the layer whose activation is masked; None: the image.
      masks_with_margin: (..., K, H', W'), the same masks with the margin around the image; None in the results of a
        sweep, which does not keep the margins.
    """

    masks: Float[AnyArray, "..."]
    params: Float[AnyArray, "..."]
    rewards: Float[AnyArray, "*N K"]
    image_rewards: Float[AnyArray, "*N"]
    areas: Float[AnyArray, "*N K"]
    requested_areas: Float[AnyArray, "*N K"]
    targets: Int[AnyArray, "..."]
    history: History
    status: Status
    config: Config
    at: str | None = None
    masks_with_margin: Float[AnyArray, "..."] | None = None

    MARK: ClassVar[str] = "extremal_jax result 1"

    @property
    def _single(self) -> tuple[str, int]:  # type: ignore[override]
        return "masks", 1 + self._rank

    @property
    def _rank(self) -> int:
        """How many axes a mask has."""
        return len(masked(self.config.input_axes))

    def binary_masks(self) -> Float[Array, "..."]:
        """The masks cut to exact areas: the round(a n) largest values of each are 1, the rest 0.

        Returns:
          (..., K, H, W), 0 and 1, in the masks' dtype.
        """
        flat = jnp.asarray(self.masks).reshape(-1, math.prod(self.masks.shape[-self._rank :]))
        areas = jnp.asarray(self.requested_areas).reshape(-1)
        return binarize(flat, areas).reshape(self.masks.shape)

    def ranking(self) -> Int[Array, "..."]:
        """Each image's pixels in order of importance: its masks, made to contain one another, as a single map.

        Pixels are ranked first by the smallest area that keeps them, then by the value of that area's mask, then by the
        saliency. Pixels that no mask keeps come last.

        Returns:
          (..., H, W): each number from 0 to H W − 1 once. `ranking < round(a H W)` is a mask of exactly the area a, and
          lies within the masks of larger areas. For the smallest area asked for it is the binary mask. For other areas
          it is the binary mask, except for the pixels that only smaller masks keep.
        """
        return rank_places(jnp.asarray(self.masks), jnp.asarray(self.requested_areas), self.saliency())

    def saliency(self, smooth: float = SMOOTH) -> Float[Array, "..."]:
        """The mean of the masks over their areas, smoothed: highest where even the smallest masks keep the image.

        Args:
          smooth: standard deviation of a Gaussian blur, as a share of the shorter side; beyond the border the map is
            zero. 0.09 is what TorchRay's pointing game uses.
        """
        check_not_negative("smooth", smooth, ", a share of the shorter side")
        return self._smoothed(jnp.asarray(self.masks).mean(axis=-1 - self._rank), smooth)

    def evidence(self, images: Any, *, smooth: float = 0.05, reference: Float[AnyArray, "..."] | None = None) -> Float[Array, "..."]:
        """The density of the masks at each pixel, times the change that the perturbation makes there.

        The density is the power mean of m_a / a over the areas, with the exponent 1/8, smoothed: divided by their areas,
        all masks count alike, and a place in the masks of all areas counts far more than a place in one. A smooth mask
        covers the gaps in an object as well as the object. A pixel that the perturbation hardly changes carries no
        evidence, so this marks the pixels under the masks that matter.

        Args:
          images: the images that were explained, (H, W, C) or (N, H, W, C), as they were given to the model. For a blur their
            unit does not matter, so that bytes serve as well.
          smooth: as in `saliency`.
          reference: as in `extremal_perturbation`.

        Raises:
          ValueError: if the masks are those of a layer, for images of another shape than those that were explained, or if
            the perturbation needs a reference and there is none.
        """
        if self.at is not None:
            raise ValueError(f"evidence is for masks of images, and these are of the layer {self.at!r}; `saliency()` says where")
        axes, rank = self.config.input_axes, self._rank
        images = as_array("images", images)
        single = images.ndim == len(axes)
        sides = [side for side, axis in zip(images.shape[-len(axes) :], axes, strict=False) if axis.masked]
        if (*images.shape[: -len(axes)], *sides) != (*self.masks.shape[: -1 - rank], *self.masks.shape[-rank:]):
            raise ValueError(f"images must be those that were explained, got {images.shape}, and the masks are {self.masks.shape}")
        batch = jnp.asarray(images[None] if single else images)
        batch = batch.astype(jnp.promote_types(batch.dtype, jnp.float32))  # of bytes, a difference would wrap around
        perturbation = dataclasses.replace(self.config, num_levels=2).perturbation_record()
        if perturbation.needs_reference and reference is None:
            raise ValueError("reference must be the image that the perturbation led to, as it was given to extremal_perturbation")
        levels = perturbation.levels(batch, None if reference is None else jnp.asarray(reference))
        change = jnp.abs(levels[:, -1] - levels[:, 0]).mean(axis=[1 + place for place, axis in enumerate(axes) if not axis.masked])
        areas = jnp.expand_dims(jnp.asarray(self.requested_areas), range(-rank, 0))
        densities = jnp.maximum(jnp.asarray(self.masks) / areas, np.finfo(np.float32).tiny)  # at 0 the root has no gradient
        density = (densities**EXPONENT).mean(axis=-1 - rank) ** (1 / EXPONENT)
        return self._smoothed(density, smooth) * self._smoothed(change[0] if single else change, _DETAIL)

    def point(self, images: Any = None, *, reference: Float[AnyArray, "..."] | None = None) -> Int[Array, "..."]:
        """(..., 2): the row and the column at which the pointing game looks for the target; of masks with n axes (..., n).

        Args:
          images: if given, the point is the highest of `evidence` where `saliency` is near its peak, so that it lies on
            the object and not in a gap of it. If not, it is the peak itself, as in TorchRay.
          reference: as in `extremal_perturbation`, where the perturbation needs one.
        """
        scores = self.saliency()
        if images is not None:
            near = scores >= NEAR * scores.max(axis=tuple(range(-self._rank, 0)), keepdims=True)
            scores = jnp.where(near, self.evidence(images, reference=reference), -1)
        best = scores.reshape(*scores.shape[: -self._rank], -1).argmax(axis=-1)
        return jnp.stack(jnp.unravel_index(best, scores.shape[-self._rank :]), axis=-1)

    def _smoothed(self, maps: Float[Array, "..."], smooth: float) -> Float[Array, "..."]:
        """Maps blurred by a share of the shorter side, or of each side of other axes than those of images."""
        axes, shape = self.config.axes, maps.shape[-self._rank :]
        if axes is None:
            return gaussian_blur(maps[..., None], smooth * min(shape), "zeros")[..., 0]
        return gaussian_blur(maps, each(check_axes(axes), shape, None, lambda side: smooth * side), "zeros")


@pytree(static=("config", "at"), prints=False)
class ChannelResult(Printed, OfImages, Saved):
    """The channels that matter for one image, or for a batch of N, for K counts each. A pytree, of NumPy arrays if it
    was loaded.

    Attributes:
      masks: (K, C) or (N, K, C), in [0, 1]: how much of each channel is kept.
      params: (..., K, C), the masks' parameters at the end of the ascent, which can be the `initial_params` of another
        run.
      rewards: (..., K), the game's reward of each mask.
      image_rewards: (...), the response to the image itself.
      areas: (..., K), the channels that each mask keeps: the sum of the mask.
      requested_areas: (..., K), the channels asked for.
      targets: (...) or (..., M), the classes.
      history: the ascent step by step.
      status: whether the run went well.
      config: the settings.
      at: the layer.
    """

    masks: Float[AnyArray, "*N K C"]
    params: Float[AnyArray, "*N K C"]
    rewards: Float[AnyArray, "*N K"]
    image_rewards: Float[AnyArray, "*N"]
    areas: Float[AnyArray, "*N K"]
    requested_areas: Int[AnyArray, "*N K"]
    targets: Int[AnyArray, "..."]
    history: History
    status: Status
    config: ChannelConfig
    at: str

    MARK: ClassVar[str] = "extremal_jax channels 1"

    _single = "masks", 2

    def binary_masks(self) -> Float[Array, "*N K C"]:
        """The masks as sets of exactly as many channels as asked for: the largest values of each are 1, the rest 0."""
        flat = jnp.asarray(self.masks).reshape(-1, self.masks.shape[-1])
        return select_top(flat, jnp.asarray(self.requested_areas).reshape(-1), "position").reshape(self.masks.shape)

    def channels(self, count: int) -> Int[np.ndarray, "*N count"]:
        """The channels that the mask of a count keeps.

        Args:
          count: one of `requested_areas`.

        Returns:
          (..., count), their indices in ascending order.

        Raises:
          ValueError: if there is no mask of this count (for all images alike).
        """
        requested = np.asarray(self.requested_areas)
        columns = (requested == count).reshape(-1, requested.shape[-1]).all(axis=0)
        if not columns.any():
            known = ", ".join(map(str, np.unique(requested)))
            raise ValueError(f"count must be one of the counts that were asked for, {known}, for all images alike, got {count}")
        kept = np.asarray(self.binary_masks())[..., columns.argmax(), :]
        return np.argsort(-kept, axis=-1, kind="stable")[..., :count]


@pytree()
class Curve:
    """The response as a function of the area, for every area tried, in growing order.

    Attributes:
      areas: (..., M).
      responses: (..., M), to the masks of exactly these areas.
      binary_responses: (..., M), to the round(a n) highest pixels of these masks.
    """

    areas: Float[AnyArray, "*N M"]
    responses: Float[AnyArray, "*N M"]
    binary_responses: Float[AnyArray, "*N M"]


@pytree(static=("config", "at"), prints=False)
class SmallestArea(Printed, OfImages, Saved):
    """The smallest sufficient areas of one image, or of a batch of N. A pytree.

    Attributes:
      areas: (...), a*: the smallest area found whose mask excites the target enough. NaN if none does.
      reached: (...), whether any area suffices.
      masks: (..., H, W) in [0, 1], the mask of exactly this area. Ones, the whole image, if no smaller mask suffices;
        the mask of the highest response if nothing suffices.
      params: (..., h, w), the mask's parameters.
      responses: (...), Φ of the mask.
      binary_responses: (...), Φ of the mask's round(a* n) highest pixels.
      image_responses: (...), Φ of the image itself.
      wanted: (...), Φ₀.
      targets: (...) or (..., M), the classes.
      curve: the response at every area tried.
      status: whether the runs went well, in the order in which areas were tried.
      config: the settings, with all lengths in pixels.
      at: the layer whose activation is masked; None: the image.
      order: (..., H, W), the `ranking`; None unless it was asked for.
    """

    areas: Float[AnyArray, "*N"]
    reached: Bool[AnyArray, "*N"]
    masks: Float[AnyArray, "..."]
    params: Float[AnyArray, "..."]
    responses: Float[AnyArray, "*N"]
    binary_responses: Float[AnyArray, "*N"]
    image_responses: Float[AnyArray, "*N"]
    wanted: Float[AnyArray, "*N"]
    targets: Int[AnyArray, "..."]
    curve: Curve
    status: Status
    config: Config
    at: str | None = None
    order: Int[AnyArray, "..."] | None = None

    MARK: ClassVar[str] = "extremal_jax smallest area 1"

    @property
    def _single(self) -> tuple[str, int]:  # type: ignore[override]
        return "masks", len(masked(self.config.input_axes))

    def ranking(self) -> Int[AnyArray, "..."]:
        """Each image's pixels in order of importance: the masks of all areas tried, made to contain one another, as a
        single map.

        Returns:
          (..., H, W), as `ExtremalResult.ranking`.

        Raises:
          ValueError: unless the search was called with `nested=True`; otherwise it keeps only the smallest sufficient
            mask.
        """
        if self.order is None:
            raise ValueError("there is no ranking in this result; search with smallest_area(..., nested=True)")
        return self.order


def monotone_fraction(responses: Float[Any, "*N K"], tolerance: float = 0.0) -> float:
    """The share of response curves that never fall as the area grows.

    Args:
      responses: (..., K), by growing area.
      tolerance: a fall from one area to the next that does not count, in units of the response.

    Returns:
      From 0 to 1.

    Example:
      >>> monotone_fraction(np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.5]])), monotone_fraction(np.array([1.0, 3.0, 2.5]), tolerance=0.5)
      (0.5, 1.0)
    """
    return float(np.mean(np.all(np.diff(np.asarray(responses), axis=-1) >= -tolerance, axis=-1)))
