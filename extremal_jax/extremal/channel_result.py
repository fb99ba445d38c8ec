"""What channel attribution gives back."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.extremal.channel_config import ChannelConfig
from extremal_jax.extremal.result import History
from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.operators.area import select_top
from extremal_jax.optimise.results import OfImages
from extremal_jax.optimise.status import Status
from extremal_jax.optimise.storage import Saved


@pytree(static=("config", "at"))
class ChannelResult(OfImages, Saved, mark="extremal_jax channels 1", settings=ChannelConfig, history=History, status=Status):
    """The channels that matter for one image, or for a batch of N; K counts each. A pytree, of NumPy arrays if it was loaded.

    Attributes:
      masks: (K, C) or (N, K, C), in [0, 1]: how much of each channel is kept.
      params: (..., K, C), the masks' parameters at the end of the ascent: `initial_params` of a next run.
      rewards: (..., K), the reward of each mask: of the response to what it keeps, or, in the game of deletion, minus that to what it
        leaves.
      image_rewards: (...), the response to the image itself.
      areas: (..., K), the channels that each mask keeps: the sum of the mask.
      requested_areas: (..., K), the channels asked for.
      targets: (...) or (..., M), the classes.
      history: the path of the ascent, step by step.
      status: whether everything stayed finite.
      config: the settings.
      at: the layer.
    """

    masks: Float[AnyArray, "*N K C"]
    params: Float[AnyArray, "*N K C"]
    rewards: Float[AnyArray, "*N K"]
    image_rewards: Float[AnyArray, "*N"]
    areas: Float[AnyArray, "*N K"]
    requested_areas: Int[AnyArray, "*N K"]
    targets: Int[AnyArray, ...]
    history: History
    status: Status
    config: ChannelConfig
    at: str

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
