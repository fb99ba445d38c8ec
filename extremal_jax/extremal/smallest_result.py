"""What the search for the smallest area gives back."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from extremal_jax.extremal.config import Config
from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.optimise.results import OfImages
from extremal_jax.optimise.status import Status
from extremal_jax.optimise.storage import Saved


@pytree()
class Curve:
    """The response as a function of the area: every area that was tried, in growing order.

    Attributes:
      areas: (..., M).
      responses: (..., M), to what the masks of exactly these areas keep.
      binary_responses: (..., M), to what the masks keep when they are cut to their round(a n) highest pixels.
    """

    areas: Float[AnyArray, "*N M"]
    responses: Float[AnyArray, "*N M"]
    binary_responses: Float[AnyArray, "*N M"]


@pytree(static=("config", "at"))
class SmallestArea(OfImages, Saved, mark="extremal_jax smallest area 1", settings=Config, curve=Curve, status=Status):
    """The smallest sufficient areas of one image, or of a batch of N. A pytree.

    Attributes:
      areas: (...), a*: the smallest area found whose mask excites the target enough. NaN where none does.
      reached: (...), whether any does.
      masks: (..., H, W), the mask of this area, exactly: in [0, 1], with the mean a*. The whole image's, ones, where nothing less suffices;
        where nothing does, the mask of the highest response.
      params: (..., h, w), the mask's parameters.
      responses: (...), Φ of what the mask keeps.
      binary_responses: (...), Φ of what it keeps when it is cut to its round(a* n) highest pixels.
      image_responses: (...), Φ of the image itself.
      wanted: (...), Φ₀.
      targets: (...) or (..., M), the classes.
      curve: the response at every area that was tried.
      status: whether everything stayed finite, in the order in which areas were tried.
      config: the settings, with all lengths in pixels.
      at: the name of the activation that is masked; None where it is the image.
      order: (..., H, W), what `ranking` gives; None unless it was asked for.
    """

    areas: Float[AnyArray, "*N"]
    reached: Bool[AnyArray, "*N"]
    masks: Float[AnyArray, "*N H W"]
    params: Float[AnyArray, "*N h w"]
    responses: Float[AnyArray, "*N"]
    binary_responses: Float[AnyArray, "*N"]
    image_responses: Float[AnyArray, "*N"]
    wanted: Float[AnyArray, "*N"]
    targets: Int[AnyArray, ...]
    curve: Curve
    status: Status
    config: Config
    at: str | None = None
    order: Int[AnyArray, "*N H W"] | None = None

    _single = "masks", 2

    def ranking(self) -> Int[AnyArray, "*N H W"]:
        """Each image's pixels in order of importance: the masks of all areas that were tried, made to contain one another, as a single map.

        Returns:
          (..., H, W): each number from 0 to H W − 1 once. `ranking < round(a H W)` is a mask of area a, exactly, and lies within those of
          larger areas.

        Raises:
          ValueError: unless the search was asked for it, with `nested=True`: it keeps no masks but the smallest that suffices.
        """
        if self.order is None:
            raise ValueError("there is no ranking in this result; search with smallest_area(..., nested=True)")
        return self.order


def monotone_fraction(responses: Float[Any, "*N K"], tolerance: float = 0.0) -> float:
    """The share of response curves that never fall as the area grows.

    Args:
      responses: (..., K), by growing area.
      tolerance: the fall from one area to the next that is let pass, in units of the response.

    Example:
      >>> monotone_fraction(np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.5]])), monotone_fraction(np.array([1.0, 3.0, 2.5]), tolerance=0.5)
      (0.5, 1.0)
    """
    return float(np.mean(np.all(np.diff(np.asarray(responses), axis=-1) >= -tolerance, axis=-1)))
