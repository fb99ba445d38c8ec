"""Channels of classes: which channels of a layer stand for a class, over many of its images.

    s_c = mean over images of class c of m_{a*},    a* = min { a : Φ(m_a · x) ≥ threshold · Φ(x) }

m_a is the set of a channels that excites the class most, and a* the least count that suffices for the image.

Source: Fong, Patrick and Vedaldi (2019), section 4.2.
"""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from extremal_jax.boundary.inputs import check_images
from extremal_jax.boundary.layers import activation_at
from extremal_jax.boundary.models import Model, check_model
from extremal_jax.extremal.channel_config import ChannelConfig
from extremal_jax.extremal.channel_result import ChannelResult
from extremal_jax.extremal.channels import channel_perturbation
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.pytrees import pytree
from extremal_jax.operators.rewards import REWARDS
from extremal_jax.optimise.settings import check_settings, is_positive
from extremal_jax.optimise.storage import Saved


@pytree(static=("at",))
class ClassChannels(Saved, mark="extremal_jax class channels 1"):
    """The channels that stand for some classes.

    Attributes:
      classes: (M,), the classes of which there were images, in ascending order.
      attributions: (M, C), the share of a class's images whose smallest sufficient set holds a channel; zeros where no image has one.
      precedence: (M, C), how early sets take a channel up: the share of the sets up to the sufficient one that hold it, in the mean over
        the images. It decides between channels of equal attribution.
      images_per_class: (M,), how many images that is a mean over.
      counts: (N,), a* of each image; C where `reached` is false.
      reached: (N,), whether a set of the counts that were tried sufficed; the others do not count. False too where the response to the
        whole activation is not positive, of which a share says nothing.
      at: the layer.
    """

    classes: Int[np.ndarray, " M"]
    attributions: Float[np.ndarray, "M C"]
    precedence: Float[np.ndarray, "M C"]
    images_per_class: Int[np.ndarray, " M"]
    counts: Int[np.ndarray, " N"]
    reached: Bool[np.ndarray, " N"]
    at: str

    def top(self, count: int) -> Int[np.ndarray, "M count"]:
        """(M, count): the channels of the highest attribution of each class, the highest first, among equals those of the highest
        precedence; −1 where a class has fewer channels of any attribution.

        Raises:
          ValueError: if there are not so many channels.
        """
        channels = self.attributions.shape[1]
        if not isinstance(count, numbers.Integral) or not 1 <= count <= channels:
            raise ValueError(f"count must be from 1 to the {channels} channels of {self.at!r}, got {count!r}")
        order = np.lexsort((-self.precedence, -self.attributions), axis=1)[:, :count]
        return np.where(np.take_along_axis(self.attributions, order, axis=1) > 0, order, -1)

    def overlap(self, count: int) -> Float[np.ndarray, "M M"]:
        """(M, M): the share of their top channels that two classes have in common, of the larger number if one has fewer than `count`; 0
        for a class without any."""
        tops = [set(row.tolist()) - {-1} for row in self.top(count)]
        return np.array([[len(a & b) / max(len(a), len(b), 1) for b in tops] for a in tops])


def class_channels(
    model: Model,
    images: Any,
    targets: Any,
    at: str,
    *,
    threshold: float = 1.0,
    counts: Any = None,
    config: ChannelConfig | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> ClassChannels:
    """The channels of a layer that stand for classes: the mean of the smallest sufficient sets over the images of each class.

    Args:
      model: as in `channel_perturbation`.
      images: (N, H, W, C), of one or several classes.
      targets: (N,), the class of each image: indices, or names where the model has `classes`.
      at: the name of the layer's activation.
      threshold: Φ₀, what suffices, as a share of the response to the whole activation.
      counts: (K,), the numbers of channels that are tried, or shares of them below 1; None: powers of two up to half of the channels. More
        counts, finer a*.
      config: as in `channel_perturbation`; its game must be "preserve", and its reward one of a single class. Sets of exactly so many
        channels decide, also where its masks are soft.
      progress, chunk_size: as in `channel_perturbation`.

    Returns:
      A `ClassChannels`.

    Raises:
      TypeError, ValueError: as `channel_perturbation` does; if the threshold is not positive and finite, or the images no batch;
        and under `jit`, since it counts on the host.

    Example:
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):  # class 0 sees the first channel, class 1 the others
      ...     x = checkpoint_name(images, "rgb").mean(axis=(1, 2))
      ...     return jnp.stack([x[:, 0], x[:, 1] + x[:, 2]], axis=1)
      >>> found = class_channels(model, jnp.ones((4, 2, 2, 3)), [0, 0, 1, 1], at="rgb", counts=(1, 2))
      >>> found.attributions.tolist(), found.counts.tolist()
      ([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [1, 1, 2, 2])
    """
    check_model(model)
    if isinstance(images, Tracer):
        raise TypeError("class_channels counts on the host: call it outside of jit, vmap and grad")
    images = check_images("images", images)
    if images.ndim != 4:
        raise ValueError(f"images must be a batch (N, H, W, C), got the shape {images.shape}")
    if not is_positive(threshold):
        raise ValueError(f"threshold must be a positive, finite share of the response, got {threshold!r}")
    settings = check_settings(config, ChannelConfig)
    if settings.game != "preserve":
        raise ValueError(f"class_channels asks for what suffices, which is the game 'preserve', got {settings.game!r}")
    if not callable(settings.reward) and REWARDS[settings.reward].arity != 1:
        raise ValueError(f"class_channels asks for the channels of one class per image, got the reward {settings.reward!r}, of several")
    if counts is None:
        channels = activation_at(model, at, jnp.asarray(images[:1])).shape[-1]
        counts = [2**power for power in range(max(1, (channels // 2).bit_length()))]
    result = channel_perturbation(model, images, targets, at, counts, config=settings, progress=progress, chunk_size=chunk_size)
    if not settings.swap_rounds:
        result = _of_sets(result, model, images, chunk_size)
    whole = np.asarray(result.image_rewards)
    growing = np.argsort(np.asarray(result.requested_areas)[0], kind="stable")
    masks, asked, rewards = (np.asarray(x)[:, growing] for x in (result.binary_masks(), result.requested_areas, result.rewards))
    enough = (rewards >= threshold * whole[:, None] - _ROUNDING) & (whole > 0)[:, None]
    reached = np.asarray(enough.any(axis=1))
    first = enough.argmax(axis=1)
    rows = np.arange(len(masks))
    smallest = masks[rows, first] * reached[:, None]
    up_to = np.arange(masks.shape[1]) <= first[:, None]  # (N, K)
    early = (masks * up_to[..., None]).sum(axis=1) / up_to.sum(axis=1)[:, None] * reached[:, None]
    labels = np.asarray(result.targets)
    classes = np.unique(labels)
    members = (labels == classes[:, None]) & reached  # (M, N)
    sizes = members.sum(axis=1)
    return ClassChannels(
        classes=classes,
        attributions=(members @ smallest / np.maximum(sizes, 1)[:, None]).astype(np.float32),
        precedence=(members @ early / np.maximum(sizes, 1)[:, None]).astype(np.float32),
        images_per_class=sizes,
        counts=np.where(reached, asked[rows, first], masks.shape[-1]),
        reached=reached,
        at=at,
    )


def _of_sets(result: ChannelResult, model: Model, images: Any, chunk_size: int | None) -> ChannelResult:
    """What the model answers to the sets of a result, in the place of its soft masks: a run that goes nowhere."""
    still = dataclasses.replace(result.config, num_steps=1, learning_rate=0.0, area_weight=0.0, exact_area=False, swap_rounds=0)
    sets, counts = result.binary_masks(), np.asarray(result.requested_areas)
    return channel_perturbation(model, images, result.targets, result.at, counts, config=still, initial_params=sets, chunk_size=chunk_size)


_ROUNDING = 1e-5  # of a response: two orders of one sum
