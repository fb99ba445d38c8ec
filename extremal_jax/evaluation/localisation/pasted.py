"""Tests with pasted objects: whether attribution follows the importance of an object across models and images.

An object that was pasted on an image matters to a model that names objects, and not to one that names something else.
These are the tests of BAM, on generated scenes.

Source: Yang and Kim, "Benchmarking Attribution Methods with Relative Feature Importance", arXiv:1907.09701, 2019.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, UInt8

from extremal_jax.data.scenes import BACKGROUND, generate
from extremal_jax.evaluation.localisation.overlap import check_pairs
from extremal_jax.ground.checks import check_positive

_OFFSET = 2**32  # the first index of scenes whose objects are pasted; those of the scenes themselves are below
_TRIES = 1000


class PastedPairs(NamedTuple):
    """Scenes with and without a pasted object.

    Attributes:
      images_with: (N, H, W, 3), uint8, RGB: the scenes, with one more object.
      images_without: (N, H, W, 3), the scenes.
      regions: (N, H, W), the pixels that differ: the pasted object.
      labels: (N,), the class of the scene's own object.
      pasted: (N,), the class of the pasted object, always another.
    """

    images_with: UInt8[np.ndarray, "N H W 3"]
    images_without: UInt8[np.ndarray, "N H W 3"]
    regions: Bool[np.ndarray, "N H W"]
    labels: Int[np.ndarray, " N"]
    pasted: Int[np.ndarray, " N"]


def pasted_pairs(seed: int, count: int, size: int | tuple[int, int] = 128, *, first: int = 0) -> PastedPairs:
    """Make scenes of one object with and without another object, pasted beside it.

    The pasted object is cut out of another scene by its exact mask. It covers no pixel of the scene's own object.

    Args:
      seed: any non-negative integer; the scenes are those of `data.scenes.generate(seed, count, size, objects=1)`.
      count: the number of pairs, at least 1.
      size: height and width in pixels, or one number for both; at least 32.
      first: the index of the first pair: nine pairs are five, and four with first=5.

    Returns:
      `PastedPairs`.

    Raises:
      ValueError: if a number is out of range.

    Example:
      >>> pairs = pasted_pairs(0, 2, size=32)
      >>> differ = (pairs.images_with != pairs.images_without).any(axis=-1)
      >>> bool((differ <= pairs.regions).all()), bool((pairs.labels != pairs.pasted).all())
      (True, True)
    """
    scenes = generate(seed, count, size, objects=1, first=first)
    images, regions, pasted = scenes.images.copy(), [], []
    for index, own in enumerate(scenes.segmentation):
        start = _OFFSET + (first + index) * _TRIES
        for attempt in range(_TRIES):
            other = generate(seed, 1, size, objects=1, first=start + attempt)
            region = other.segmentation[0] != BACKGROUND
            label = int(other.segmentation[0].max())
            if label != own.max() and not (own[region] != BACKGROUND).any():
                break
        else:
            raise ValueError(f"no object found room beside that of scene {first + index} of seed {seed}; take another seed")
        images[index][region] = other.images[0][region]
        regions.append(region)
        pasted.append(label)
    labels = scenes.segmentation.max(axis=(1, 2)).astype(np.int32)
    return PastedPairs(images, scenes.images, np.stack(regions), labels, np.array(pasted, np.int32))


def model_contrast(maps_object_model: Any, maps_scene_model: Any, regions: Any) -> Float[Array, ""]:
    """The model contrast score: how much more attribution a pasted object gets from a model to which it matters.

        MCS = mean over images of g(model of objects) − g(model of scenes),   g: the mean of a map over the region

    The larger, the better. Values depend on the maps' scale: bring maps to [0, 1] before, and compare only methods
    whose maps were brought there alike.

    Args:
      maps_object_model: (N, H, W), or (H, W) for a single image: maps for a model that names the pasted object.
      maps_scene_model: the same shape: maps of the same images for a model that names the scene.
      regions: the same shape; True, or not zero, in the pasted object. Keep only images that both models recognise.

    Returns:
      (). Constant maps score the difference of their values, and NaN or infinity gives NaN. So does an empty region,
      over which there is no mean.

    Raises:
      TypeError, ValueError: if maps and regions are not arrays of one shape.

    Example:
      >>> region = [[True, False]]
      >>> float(model_contrast([[0.75, 0.0]], [[0.25, 1.0]], region))
      0.5
    """
    return (_mean_inside(maps_object_model, regions) - _mean_inside(maps_scene_model, regions)).mean()


def input_dependence(maps_with: Any, maps_without: Any, regions: Any) -> Float[Array, ""]:
    """The input dependence rate: how often a pasted object gets less attribution than the pixels that it covers.

        IDR = share of images with g(image with the object) < g(image without),   g: the mean of a map over the region

    The model is one to which the object does not matter, so the larger, the better. 1 − IDR is the rate of false
    positives.

    Args:
      maps_with: (N, H, W), or (H, W) for a single image: maps of images with the pasted object.
      maps_without: the same shape: maps of the images without it.
      regions: the same shape; True, or not zero, in the pasted object. Keep only images that the model recognises both
        with and without it.

    Returns:
      (), in [0, 1]. Maps that are equal in the region, such as constant ones, do not count, nor do those with NaN or an
      empty region.

    Raises:
      TypeError, ValueError: as `model_contrast` does.

    Example:
      >>> float(input_dependence([[0.25, 1.0]], [[0.5, 0.0]], [[True, False]]))
      1.0
    """
    lower = _mean_inside(maps_with, regions) < _mean_inside(maps_without, regions)
    return lower.astype(jnp.float32).mean()


def input_independence(maps: Any, maps_perturbed: Any, regions: Any, threshold: float = 0.1) -> Float[Array, ""]:
    """The input independence rate: how often an object that changes no score hardly changes the attribution.

        IIR = share of images with |g(perturbed) − g(image)| < threshold |g(image)|,   g: the mean of a map over the region

    The perturbed images have a patch, such as an object, that leaves the model's scores as they are, so the larger,
    the better.

    Args:
      maps: (N, H, W), or (H, W) for a single image: maps of the images.
      maps_perturbed: the same shape: maps of the perturbed images.
      regions: the same shape; True, or not zero, in the patch.
      threshold: the change that counts as small, as a share of the image's own; positive.

    Returns:
      (), in [0, 1]. Equal constant maps count, unless they are zero: then there is no attribution to keep. Maps with
      NaN, infinity or an empty region do not count.

    Raises:
      TypeError, ValueError: as `model_contrast` does, and for a threshold that is not positive.

    Example:
      >>> float(input_independence([[0.5, 0.0]], [[0.525, 1.0]], [[True, False]]))
      1.0

    Differences from BAM's code: the absolute value on the right, so that negative attribution can be kept too.
    """
    check_positive("threshold", threshold)
    before, after = _mean_inside(maps, regions), _mean_inside(maps_perturbed, regions)
    return (jnp.abs(after - before) < threshold * jnp.abs(before)).astype(jnp.float32).mean()


def _mean_inside(maps: Any, regions: Any) -> Float[Array, "*N"]:
    return _mean(*check_pairs(maps, regions))


@jax.jit
def _mean(maps: Float[Array, "*N H W"], regions: Bool[Array, "*N H W"]) -> Float[Array, "*N"]:
    """The mean of each map over its region; NaN where that is empty, or the map not finite."""
    size = regions.sum(axis=(-2, -1), dtype=jnp.int32)
    mean = jnp.where(regions, maps, 0).sum(axis=(-2, -1)) / jnp.maximum(size, 1).astype(maps.dtype)
    return jnp.where(jnp.isfinite(maps).all(axis=(-2, -1)) & (size > 0), mean, jnp.nan)
