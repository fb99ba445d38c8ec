"""Reading and preparing pictures in threads, ahead of the batches that are computed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from extremal_jax.data.examples import Dataset
from extremal_jax.sweeps.rows import Group, Row

_AHEAD = 2  # batches
_THREADS = 8  # at most; decoding takes a core each


class Read(NamedTuple):
    """A picture that was read, or the reason why it could not be.

    Attributes:
      image: (h, w, C), the model's input; None if there is none.
      size: (height, width) of the picture.
      reason: the error; empty if there is none.
    """

    image: np.ndarray | None
    size: tuple[int, int]
    reason: str = ""


def read_ahead(
    groups: Sequence[Group], dataset: Dataset, prepare: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[Group, list[Read]]]:
    """The groups with their pictures, of which the next two are read while one is computed."""
    threads = min(_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "pictures") as pool:
        waiting: deque[tuple[Group, list[Future[Read]]]] = deque()
        left = iter(groups)
        try:
            while True:
                while len(waiting) <= _AHEAD and (group := next(left, None)) is not None:
                    waiting.append((group, [pool.submit(_read, dataset, row, prepare) for row in group.rows]))
                if not waiting:
                    return
                group, futures = waiting.popleft()
                yield group, [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(dataset: Dataset, row: Row, prepare: Callable[[np.ndarray], np.ndarray]) -> Read:
    try:
        pixels = dataset[row.picture].load()
        return Read(np.asarray(prepare(pixels)), (pixels.shape[0], pixels.shape[1]))
    except (OSError, ValueError, TypeError) as error:
        return Read(None, (0, 0), " ".join(str(error).split()) or type(error).__name__)
