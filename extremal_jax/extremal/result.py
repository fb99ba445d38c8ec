"""What a run gives back: masks, rewards, the path there, and in words whether it went well."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.extremal.config import Config
from extremal_jax.extremal.problem import perturbation_pyramid
from extremal_jax.ground.filters import gaussian_blur
from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.operators.area import binarize
from extremal_jax.operators.nesting import rank_places
from extremal_jax.optimise.results import OfImages
from extremal_jax.optimise.status import Status
from extremal_jax.optimise.storage import Saved

_DETAIL = 0.01  # the finest detail of `evidence`, as a share of the shorter side
_NEAR = 0.8  # of the peak of the saliency: where `point` looks for evidence


@pytree()
class History:
    """The path of a run.

    Attributes:
      rewards: (..., T, K), the reward of each mask shown, step by step.
      area_losses: (..., T, K), R_a of each mask, before its weight.
    """

    rewards: Float[AnyArray, "*N T K"]
    area_losses: Float[AnyArray, "*N T K"]


@pytree(static=("config", "at"))
class ExtremalResult(OfImages, Saved, mark="extremal_jax result 1", settings=Config, history=History, status=Status):
    """The extremal perturbations of one image, or of a batch of N; K areas each. A pytree, of NumPy arrays if it was loaded.

    Attributes:
      masks: (K, H, W) or (N, K, H, W), in [0, 1]. H and W are those of the image, or of the layer's activation.
      masks_with_margin: (..., K, H', W'), the same masks beyond the image's border.
      params: (..., K, h, w), the masks' parameters: `initial_params` of a next run.
      rewards: (..., K), the reward of each mask: of the response to what it keeps, or, in the game of deletion, minus that to what it
        leaves.
      image_rewards: (...), the response to the image itself.
      areas: (..., K), the share of the image that each mask keeps.
      requested_areas: (..., K), the areas asked for.
      targets: (...) or (..., M), the classes.
      history: the path, step by step.
      status: whether everything stayed finite.
      config: the settings, with all lengths in pixels.
      at: the layer whose activation is masked; None: the image.
    """

    masks: Float[AnyArray, "*N K H W"]
    masks_with_margin: Float[AnyArray, "*N K H2 W2"]
    params: Float[AnyArray, "*N K h w"]
    rewards: Float[AnyArray, "*N K"]
    image_rewards: Float[AnyArray, "*N"]
    areas: Float[AnyArray, "*N K"]
    requested_areas: Float[AnyArray, "*N K"]
    targets: Int[AnyArray, ...]
    history: History
    status: Status
    config: Config
    at: str | None = None

    def binary_masks(self) -> Float[Array, "*N K H W"]:
        """The masks cut to exact areas: the round(a n) largest values of each are 1, the rest 0.

        Returns:
          (..., K, H, W), 0 and 1, in the masks' dtype.
        """
        flat = jnp.asarray(self.masks).reshape(-1, self.masks.shape[-2] * self.masks.shape[-1])
        areas = jnp.asarray(self.requested_areas).reshape(-1)
        return binarize(flat, areas).reshape(self.masks.shape)

    def ranking(self) -> Int[Array, "*N H W"]:
        """Each image's pixels in order of importance: its masks, made to contain one another, as a single map.

        A pixel comes the sooner, the smaller the area whose mask keeps it; then by the value that this mask gives it; then by the saliency.
        Pixels that no mask keeps come last.

        Returns:
          (..., H, W): each number from 0 to H W − 1 once. `ranking < round(a H W)` is a mask of area a, exactly, and lies within those of
          larger areas. For the smallest area asked for it is the binary mask; for the others, the binary mask but for what the smaller
          masks keep outside of it.
        """
        return rank_places(jnp.asarray(self.masks), jnp.asarray(self.requested_areas), self.saliency())

    def saliency(self, smooth: float = 0.09) -> Float[Array, "*N H W"]:
        """The mean of the masks over their areas, smoothed: highest where even the smallest masks keep the image.

        Args:
          smooth: standard deviation of a Gaussian blur, as a share of the shorter side; beyond the border the map is zero. 0.09 is what
            TorchRay's pointing game uses.
        """
        mean = jnp.asarray(self.masks).mean(axis=-3)
        return _smoothed(mean, smooth)

    def evidence(
        self, images: Float[AnyArray, "*N H W C"], *, smooth: float = 0.05, reference: Float[AnyArray, "*M H W C"] | None = None
    ) -> Float[Array, "*N H W"]:
        """The saliency of each pixel times what the perturbation would take from it.

        A smooth mask covers the gaps in an object as well as the object. Where an image hardly differs from its perturbed self there is
        nothing to keep: of the pixels under a mask, this marks those that matter.

        Args:
          images: the images that were explained, (H, W, C) or (N, H, W, C), as they were given to the model.
          smooth: as in `saliency`.
          reference: as in `extremal_perturbation`.

        Raises:
          ValueError: if the masks are those of a layer.
        """
        if self.at is not None:
            raise ValueError(f"evidence is for masks of images, and these are of the layer {self.at!r}; `saliency()` says where")
        config = dataclasses.replace(self.config, num_levels=2)
        two_levels = perturbation_pyramid(config, jnp.asarray(images), None if reference is None else jnp.asarray(reference))
        loss = jnp.abs(two_levels[..., 1, :, :, :] - two_levels[..., 0, :, :, :]).mean(axis=-1)
        return self.saliency(smooth) * _smoothed(loss, _DETAIL)

    def point(self, images: Float[AnyArray, "*N H W C"] | None = None) -> Int[Array, "*N 2"]:
        """(..., 2): row and column of where the target is, in the pointing game.

        Args:
          images: if given, the point is the highest of `evidence` where `saliency` is near its peak, so that it lies on the object and not
            in a gap of it; if not, it is the peak itself, as in TorchRay.
        """
        scores = self.saliency()
        if images is not None:
            near = scores >= _NEAR * scores.max(axis=(-2, -1), keepdims=True)
            scores = jnp.where(near, self.evidence(images), 0)
        best = scores.reshape(*scores.shape[:-2], -1).argmax(axis=-1)
        return jnp.stack(jnp.unravel_index(best, scores.shape[-2:]), axis=-1)


def _smoothed(maps: Float[Array, "*N H W"], smooth: float) -> Float[Array, "*N H W"]:
    return gaussian_blur(maps[..., None], smooth * min(maps.shape[-2:]), "zeros")[..., 0]
