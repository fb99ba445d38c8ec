"""Fingerprints of models, by which a run that goes on knows whether it has the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np


def fingerprint(arrays: Iterable[Any], *texts: str) -> str:
    """A short text that changes with any bit, shape or type of the arrays, and with the texts.

    Args:
      arrays: the weights, in a fixed order, such as `jax.tree.leaves(model)`.
      texts: whatever else makes a model what it is: its preprocessing, its classes.

    Returns:
      16 hexadecimal digits.

    Example:
      >>> fingerprint([np.zeros(2)], "a") == fingerprint([np.zeros(2)], "a"), fingerprint([np.zeros(2)]) == fingerprint([np.ones(2)])
      (True, False)
    """
    digest = hashlib.sha256("".join(texts).encode())
    for array in map(np.asarray, arrays):
        digest.update(repr((array.shape, array.dtype)).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
