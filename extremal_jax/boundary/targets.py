"""Targets, checked: class indices, or names where the model has them. Under a trace, shapes and dtypes are checked,
values are not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from extremal_jax.ground.checks import as_array, is_array, nearest, quoted, values_of
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.rewards import REWARDS, Reward, RewardFunction

Classes = Collection[str] | Mapping[int, str]  # a NumPy array of names too


def check_targets(
    targets: Any, count: int | None, num_scores: int, reward: str | Reward | RewardFunction, names: Classes | None = None
) -> AnyArray:
    """Targets as an int32 array with a leading axis of images: (N,), or (N, M) where a reward takes several classes.

    `count` is N for a batch, or None. Targets are for all images, or one for each; `names` are those of the classes.
    """
    record = REWARDS[reward] if isinstance(reward, str) else reward
    if isinstance(record, Reward):
        _check_scores(record, num_scores)
    if not isinstance(targets, jax.Array):
        targets = _indices(targets, names)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"targets must be class indices (whole numbers) or names, got {targets.dtype}")
    targets = _one_for_each(targets, count, record.arity if isinstance(record, Reward) else 1, isinstance(record, Reward))
    values = values_of(targets)
    if values is not None and isinstance(record, Reward):
        most = record.num_targets(num_scores)
        bad = values[(values < 0) | (values >= most)]
        if bad.size:
            raise ValueError(f"targets must be class indices from 0 to {most - 1}, got {bad.flat[0]}")
    return targets.astype(np.int32)


def _check_scores(reward: Reward, num_scores: int) -> None:
    """Raise a ValueError unless a model has as many scores as a reward needs."""
    if reward.scores is None and num_scores != 1:
        raise ValueError(f"the reward {reward.name!r} is for models of a single score, and this one has {num_scores}; take 'logit'")
    if reward.scores is not None and num_scores < reward.scores:
        raise ValueError(
            f"the reward {reward.name!r} needs at least {reward.scores} classes, and the model has a single score; take reward='binary',"
            f" with target 1 for the positive class and 0 for the negative one, or 'logit'"
        )


def _one_for_each(targets: AnyArray, count: int | None, arity: int | None, named: bool) -> AnyArray:
    """(N,) or (N, M): one target repeated for all images, or one per image."""
    rank = 1 if arity == 1 else 2
    if count is None:
        targets = targets[None]
    elif targets.ndim == rank - 1:
        targets = jnp.broadcast_to(targets, (count, *targets.shape))
    fits = targets.shape[:1] == (count or 1,) and (not named or targets.ndim == rank)
    if not fits or (rank == 2 and (targets.shape[1] != arity if arity else targets.shape[1] == 0)):
        form = {1: "one class index", 2: "a pair of class indices", None: "a list of class indices"}[arity]
        images, shape = ("the image", targets.shape[1:]) if count is None else (f"each of the {count} images", targets.shape)
        raise ValueError(f"targets must be {form} for {images}, got the shape {shape}")
    return targets


def _indices(targets: Any, names: Classes | None) -> np.ndarray:
    """Class indices from indices or names."""
    if isinstance(targets, list | tuple):
        targets = [as_array("targets", target) if is_array(target) else target for target in targets]
    elif is_array(targets) and getattr(getattr(targets, "dtype", None), "kind", "") not in ("O", "U", "T"):  # names otherwise
        targets = as_array("targets", targets)
    try:
        array = np.asarray(targets)
        if array.dtype.kind not in "UO":
            return array
        array = np.asarray(targets, object)  # NumPy makes text of names and numbers together
    except ValueError as error:
        raise ValueError(f"targets must have one shape, got sequences of different lengths: {targets!r}") from error
    if targets is None:
        raise TypeError("targets must be a class for each image, or one for all, got None")
    if any(isinstance(target, list | tuple) for target in array.ravel()):
        raise ValueError(f"targets must have one shape, got sequences of different lengths: {targets!r}")
    if names is None:
        raise TypeError(f"targets must be class indices, since the model has no `classes` to look a name up in, got {targets!r}")

    def index(name: Any) -> int:
        if not isinstance(name, str):
            if isinstance(name, bool | np.bool) or not hasattr(name, "__index__"):
                raise TypeError(f"targets must be class indices (whole numbers) or names, got {name!r}")
            return int(name)
        try:
            return class_index(str(name), names)
        except ValueError as error:
            raise ValueError(f"targets: {error}") from error

    return np.asarray([index(name) for name in array.ravel()], np.int64).reshape(array.shape)


def class_index(name: str, names: Classes) -> int:
    """The index of the one class of a name, among all names in the order of the scores, or by index.

    Example:
      >>> class_index("wolf", ["dog", "wolf", "fox"])
      1
    """
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
    found = [int(index) for index, other in pairs if other == name]
    if not found:
        raise ValueError(f"unknown class {name!r}; {nearest(name, map(str, names.values() if isinstance(names, Mapping) else names))}")
    if len(found) > 1:
        raise ValueError(f"{len(found)} classes are called {name!r}; give an index: {quoted(found)}")
    return found[0]
