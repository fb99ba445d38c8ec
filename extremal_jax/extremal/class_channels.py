"""Channels of classes: which channels of a layer stand for a class, over many images of the class.

    s_c = mean over images of class c of m_{a*},    a* = min { a : Φ(m_a · x) ≥ threshold · Φ(x) }

m_a is the set of a channels that excites the class most, and a* the smallest count that suffices for the image.

Source: Fong, Patrick and Vedaldi (2019), section 4.2.
"""

from __future__ import annotations

import dataclasses
import numbers
import warnings
from typing import Any, ClassVar

import jax
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Bool, Float, Int

from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.meshes import laid_out_automatically
from extremal_jax.boundary.models import Model, part_before
from extremal_jax.extremal.channels import check_channels, pose_channels, random_start, solve
from extremal_jax.extremal.evaluation import evaluate
from extremal_jax.extremal.mask_settings import ChannelConfig
from extremal_jax.extremal.result import ChannelResult
from extremal_jax.ground.checks import check_key, find, is_positive
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.pytrees import pytree
from extremal_jax.operators.games import GAMES, PRESERVE, Game
from extremal_jax.operators.masks import ChannelMasks
from extremal_jax.operators.rewards import REWARDS, Reward
from extremal_jax.optimise.settings import check_settings
from extremal_jax.optimise.storage import Saved

_ROUNDING = 1e-5  # of a response: two orders of one sum


@pytree(static=("at",))
class ClassChannels(Saved):
    """The channels that stand for some classes.

    Attributes:
      classes: (M,), the classes of the images, in ascending order.
      attributions: (M, C), the share of a class's images whose smallest sufficient set holds a channel; zeros if no
        image has such a set.
      precedence: (M, C), how early sets take a channel up: the share of the sets up to the sufficient one that hold it,
        averaged over the images. It decides between channels of equal attribution.
      images_per_class: (M,), the number of images in these means.
      counts: (N,), a* of each image; C where `reached` is false.
      reached: (N,), whether one of the sets tried sufficed; other images are left out. False too where the response to
        the whole activation is not positive, so that a share of it is undefined.
      at: the layer.
    """

    classes: Int[np.ndarray, " M"]
    attributions: Float[np.ndarray, "M C"]
    precedence: Float[np.ndarray, "M C"]
    images_per_class: Int[np.ndarray, " M"]
    counts: Int[np.ndarray, " N"]
    reached: Bool[np.ndarray, " N"]
    at: str

    MARK: ClassVar[str] = "extremal_jax class channels 1"

    def top(self, count: int) -> Int[np.ndarray, "M count"]:
        """(M, count): the channels of the highest attribution of each class, in descending order, by precedence among
        equals; −1 where a class has fewer channels of any attribution.

        Raises:
          ValueError: if there are fewer channels than that.
        """
        channels = self.attributions.shape[1]
        if not isinstance(count, numbers.Integral) or not 1 <= count <= channels:
            raise ValueError(f"count must be from 1 to the {channels} channels of {self.at!r}, got {count!r}")
        order = np.lexsort((-self.precedence, -self.attributions), axis=1)[:, :count]
        return np.where(np.take_along_axis(self.attributions, order, axis=1) > 0, order, -1)

    def overlap(self, count: int) -> Float[np.ndarray, "M M"]:
        """(M, M): the share of their top channels that two classes have in common, of the larger number where one class
        has fewer than `count`; 0 for a class without any."""
        tops = [set(row.tolist()) - {-1} for row in self.top(count)]
        return np.array([[len(a & b) / max(len(a), len(b), 1) for b in tops] for a in tops])


@laid_out_automatically
def class_channels(
    model: Model,
    images: Any,
    targets: Any,
    counts: Any = None,
    *,
    at: str,
    threshold: float = 1.0,
    config: ChannelConfig | None = None,
    key: Array | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
) -> ClassChannels:
    """Find the channels of a layer that stand for classes: the mean of the smallest sufficient sets over the images of
    each class.

    Args:
      model: as in `channel_perturbation`.
      images: (N, H, W, C), of one or several classes.
      targets: (N,), the class of each image: indices, or names where the model has `classes`.
      counts: (K,), the numbers of channels to try, or shares of them below 1; None: powers of two up to half of the
        channels. More counts give a finer a*.
      at: the name of the layer's activation.
      threshold: Φ₀, the response that suffices, as a share of the response to the whole activation.
      config: as in `channel_perturbation`; its game must be "preserve", and its reward one of a single class. Sets of
        exactly the counts decide, also where the config's masks are soft.
      key, progress, chunk_size: as in `channel_perturbation`.

    Returns:
      A `ClassChannels`.

    Raises:
      TypeError, ValueError: as `channel_perturbation` does; if the threshold is not positive and finite, or the images
        are not a batch; and under `jit`, since it counts on the host.

    Warns:
      UserWarning: if the status of a run is not "finished", with its message.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):  # class 0 sees the first channel, class 1 the others
      ...     x = checkpoint_name(images, "rgb").mean(axis=(1, 2))
      ...     return jnp.stack([x[:, 0], x[:, 1] + x[:, 2]], axis=1)
      >>> found = class_channels(model, jnp.ones((4, 2, 2, 3)), [0, 0, 1, 1], counts=(1, 2), at="rgb")
      >>> found.attributions.tolist(), found.counts.tolist()
      ([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [1, 1, 2, 2])
    """
    if isinstance(images, Tracer):
        raise TypeError("class_channels counts on the host: call it outside of jit, vmap and grad")
    images = check_images("images", images)
    if images.ndim != 4:
        raise ValueError(f"images must be a batch (N, H, W, C), got the shape {images.shape}")
    if not is_positive(threshold):
        raise ValueError(f"threshold must be a positive, finite share of the response, got {threshold!r}")
    settings, key = check_settings(config, ChannelConfig), check_key(key)
    if find("game", settings.game, GAMES, Game) != PRESERVE:
        raise ValueError(f"class_channels searches for sufficient sets, which is the game 'preserve', got {settings.game!r}")
    reward = REWARDS[settings.reward] if isinstance(settings.reward, str) else settings.reward
    if isinstance(reward, Reward) and reward.arity != 1:
        raise ValueError(f"class_channels explains one class per image, got the reward {settings.reward!r}, of several")
    if counts is not None and np.ndim(counts) > 1:
        raise ValueError(f"counts must be numbers of channels (K,), the same for all images, got the shape {np.shape(counts)}")
    if counts is None:
        _, _, activation = part_before(model, at, jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype))
        counts = [2**power for power in range(max(1, (activation.shape[-1] // 2).bit_length()))]
    task, asked = check_channels(model, images, targets, counts, settings, chunk_size, at, "counts")
    masks = ChannelMasks(task.parted.masked.shape[-1])
    problem = pose_channels(task, masks, asked)
    result = solve(task, problem, settings, at, random_start(settings, key, (len(images), asked.shape[-1], masks.channels)), progress)
    if not result.status.ok:
        warnings.warn(f"class_channels: {result.status.message}", stacklevel=2)
    if not settings.swap_rounds:  # sets decide, also where the masks are soft
        sets = result.binary_masks()
        rewards = evaluate(problem, sets.reshape(-1, masks.channels)).rewards[0]
        result = dataclasses.replace(result, masks=sets, rewards=rewards.reshape(result.rewards.shape))
    return _counted(result, threshold)


def _counted(result: ChannelResult, threshold: float) -> ClassChannels:
    """The smallest sufficient sets of the images, counted by class."""
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
        at=result.at,
    )
