"""What a run gives back: masks, rewards, the path there, and in words whether it went well."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.files import whole_file
from extremal_jax.filters import gaussian_blur
from extremal_jax.perturbation.area import binarize
from extremal_jax.perturbation.config import Config, config_from_json, config_to_json
from extremal_jax.perturbation.inputs import AnyArray
from extremal_jax.perturbation.solver import NEVER
from extremal_jax.pytrees import pytree

_FORMAT = "extremal_jax result 1"


@pytree()
class History:
    """The path of a run.

    Attributes:
      rewards: (..., T, K), the reward of each mask shown, step by step.
      area_losses: (..., T, K), R_a of each mask, before its weight.
    """

    rewards: Float[AnyArray, "*N T K"]
    area_losses: Float[AnyArray, "*N T K"]


@pytree()
class Status:
    """Whether a run went well.

    Attributes:
      nonfinite_step: (..., K), the first step at which a reward or gradient was not finite, or −1. From that step on the mask stayed as it
        was.
    """

    nonfinite_step: Int[AnyArray, "*N K"]

    @property
    def ok(self) -> bool:
        """Whether everything stayed finite."""
        return not np.any(np.asarray(self.nonfinite_step) != NEVER)

    @property
    def message(self) -> str:
        """What went wrong, where and when, in one line for each mask; "finished" if nothing did."""
        steps = np.asarray(self.nonfinite_step)
        lines = []
        for index in np.argwhere(steps != NEVER):
            place = f"image {index[0]}, area {index[1]}" if steps.ndim == 2 else f"area {index[0]}"
            lines.append(
                f"{place}: the reward or its gradient was not finite at step {steps[tuple(index)]}; the mask is that of the step before"
            )
        return "\n".join(lines) or "finished"

    def __str__(self) -> str:
        return self.message


@pytree(static=("config",))
class ExtremalResult:
    """The extremal perturbations of one image, or of a batch of N; K areas each. A pytree, of NumPy arrays if it was loaded.

    Attributes:
      masks: (K, H, W) or (N, K, H, W), in [0, 1].
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

    def binary_masks(self) -> Float[Array, "*N K H W"]:
        """The masks cut to exact areas: the round(a n) largest values of each are 1, the rest 0.

        Returns:
          (..., K, H, W), 0 and 1, in the masks' dtype.
        """
        flat = jnp.asarray(self.masks).reshape(-1, self.masks.shape[-2] * self.masks.shape[-1])
        areas = jnp.asarray(self.requested_areas).reshape(-1)
        return binarize(flat, areas).reshape(self.masks.shape)

    def saliency(self, smooth: float = 0.09) -> Float[Array, "*N H W"]:
        """The mean of the masks over their areas, smoothed: highest where even the smallest masks keep the image.

        Args:
          smooth: standard deviation of a Gaussian blur, as a share of the shorter side; beyond the border the map is zero. 0.09 is what
            TorchRay's pointing game uses.
        """
        height, width = self.masks.shape[-2:]
        mean = jnp.asarray(self.masks).mean(axis=-3)[..., None]
        return gaussian_blur(mean, smooth * min(height, width), "zeros")[..., 0]

    def point(self, smooth: float = 0.09) -> Int[Array, "*N 2"]:
        """(..., 2): row and column of the highest value of `saliency`: where the target is, in the pointing game."""
        saliency = self.saliency(smooth)
        best = saliency.reshape(*saliency.shape[:-2], -1).argmax(axis=-1)
        return jnp.stack(jnp.unravel_index(best, saliency.shape[-2:]), axis=-1)

    def __getitem__(self, index: int) -> ExtremalResult:
        """One image of a batch."""
        if self.masks.ndim == 3:
            raise IndexError("this result is of a single image; only the result of a batch can be indexed")
        return jax.tree.map(lambda x: x[index], self)

    def __len__(self) -> int:
        if self.masks.ndim == 3:
            raise TypeError("this result is of a single image; only the result of a batch has a length")
        return self.masks.shape[0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to an `.npz` file, whole or not at all. Functions among the settings are written by name.

        Raises:
          OSError: if the folder cannot be written.
        """
        content: dict[str, Any] = {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(self)}
        content.update(format=_FORMAT, config=config_to_json(self.config))
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **content)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ExtremalResult:
        """Read a result from a file that `save` wrote. Nothing in it is executed.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if it is truncated or something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no result file {path}")
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a whole result file ({error})") from error
        if str(content.get("format")) != _FORMAT:
            raise ValueError(
                f"{path} is not a result file of this version: expected the mark {_FORMAT!r}, got {str(content.get('format'))!r}"
            )
        fields: dict[str, Any] = {field.name: "" for field in dataclasses.fields(ExtremalResult)}
        fields.update(history=History("", ""), status=Status(""), config=config_from_json(str(content["config"])))  # type: ignore[arg-type]
        skeleton = ExtremalResult(**fields)
        paths, structure = jax.tree_util.tree_flatten_with_path(skeleton)
        missing = [_name(path) for path, _ in paths if _name(path) not in content]
        if missing:
            raise ValueError(f"{path} is not a whole result file: it lacks {', '.join(missing)}")
        return jax.tree.unflatten(structure, [content[_name(path)] for path, _ in paths])


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
