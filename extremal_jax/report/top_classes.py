"""The classes that a model sees in the image, in the part that each mask keeps, and in what is left without it."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from extremal_jax.boundary.models import Model, PartedModel, part
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.mask_settings import MaskSettings
from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.perturbations import Fade, interpolate
from extremal_jax.operators.rewards import image_scores

_USUAL_CHUNK = 16  # masks at a time


class TopClasses(NamedTuple):
    """The scores of one image, perturbed by K masks.

    Attributes:
      whole: (classes,), of the image itself.
      kept: (K, classes), of the part that each mask keeps.
      without: (K, classes), of the image without that part.
    """

    whole: Float[np.ndarray, " classes"]
    kept: Float[np.ndarray, "K classes"]
    without: Float[np.ndarray, "K classes"]


class Viewer(NamedTuple):
    """A model that is shown masked images, a chunk at a time."""

    parted: PartedModel

    def look(
        self, image: Float[AnyArray, "..."], masks: Float[AnyArray, "K ..."], config: MaskSettings, reference: AnyArray | None = None
    ) -> TopClasses:
        """The scores of an image, of the part that each mask keeps, and of what is left without it.

        Args:
          image: (H, W, C), or what has other axes.
          masks: (K, h, w), or of the axes that masks have; (K, channels) for the settings of channels.
          config: of the run, with all lengths in pixels.
          reference: as in `extremal_perturbation`.
        """
        values = jnp.asarray(self.parted.activation(jnp.asarray(image)[None]))
        other = None if reference is None else jnp.asarray(self.parted.activation(jnp.asarray(reference)[None]))
        masks = jnp.asarray(masks)
        if isinstance(config, Config):
            [levels] = config.perturbation_record().levels(values, other)
            masks = jnp.expand_dims(masks, [place for place, axis in enumerate(config.input_axes, 1) if not axis.masked])
        else:
            [levels] = Fade().levels(values)
            masks = masks.reshape(len(masks), *(1,) * (values.ndim - 2), -1)
        shown = jnp.concatenate([jnp.ones_like(masks[:1]), masks, 1 - masks])
        length, rows = self.parted.shown, []
        for start in range(0, len(shown), length):
            chosen = jnp.arange(start, start + length).clip(0, len(shown) - 1)  # the last chunk is filled up, so that it compiles nothing
            rows.append(np.asarray(_scores(self.parted.tail, self.parted.arrays, levels, shown[chosen]), np.float32))
        scores = np.concatenate(rows)[: len(shown)]
        return TopClasses(scores[0], scores[1 : 1 + len(masks)], scores[1 + len(masks) :])


def viewer(model: Model, images: AnyArray, at: str | None, num_masks: int, chunk_size: int | None) -> Viewer:
    """Part a model once for images (N, H, W, C), to show it K masks of each.

    Args:
      model: any function from images to scores.
      images: (N, H, W, C), as the model was given them.
      at: the layer whose activation the masks keep; None: the image.
      num_masks: K.
      chunk_size: the most masks shown at once.
    """
    return Viewer(part(model, images[:1], min(chunk_size or _USUAL_CHUNK, 2 * num_masks + 1), at))


@functools.partial(jax.jit, static_argnums=0)
def _scores(program: Program, arrays: Arrays, levels: Any, masks: Any) -> Any:
    """(R, classes): the scores of an image at masks (R, H, W, 1); of a dense classifier, their mean over space."""

    def whole(arrays: Arrays, levels: Any, masks: Any) -> Any:
        return image_scores(program(arrays, interpolate(levels, masks).astype(levels.dtype)))

    return canonical(whole)(arrays, levels, masks)
