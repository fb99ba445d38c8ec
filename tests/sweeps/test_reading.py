"""Pictures are read ahead, in order, and errors become reasons."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from extremal_jax.data import IndexableDataset
from extremal_jax.sweeps.reading import read_ahead
from extremal_jax.sweeps.rows import Group, grouped, list_rows

PICTURES = [np.full((4, 5 + index % 2, 3), index, np.uint8) for index in range(20)]


def groups(items: Any, size: int = 4) -> tuple[list[Group], IndexableDataset]:
    dataset = IndexableDataset(items, ())
    return grouped(list_rows(dataset, labelled=False), [(4, 5)] * len(dataset), size), dataset


def prepare(pixels: np.ndarray) -> np.ndarray:
    time.sleep(0.002 * (pixels.max() % 3))  # so that they end in another order
    return pixels / np.float32(2)


def test_everything_is_read_in_order() -> None:
    batches, dataset = groups(PICTURES)
    found = list(read_ahead(batches, dataset, prepare))
    assert [group for group, _ in found] == batches
    read = [one for _, some in found for one in some]
    assert [float(one.image.max()) for one in read if one.image is not None] == [index / 2 for index in range(20)]
    assert [one.size for one in read] == [picture.shape[:2] for picture in PICTURES]
    assert {one.reason for one in read} == {""}


def test_no_batches() -> None:
    assert list(read_ahead([], IndexableDataset([], ()), prepare)) == []


def test_two_batches_are_read_while_one_is_computed() -> None:
    """No more, so that memory stays small."""
    batches, dataset = groups(PICTURES)
    begun: list[int] = []

    def watched(pixels: np.ndarray) -> np.ndarray:
        begun.append(int(pixels.max()))
        return prepare(pixels)

    reader = read_ahead(batches, dataset, watched)
    for computed in range(5):
        next(reader)
        deadline = time.monotonic() + 5
        while len(begun) < min(4 * (computed + 3), 20) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert sorted(begun) == list(range(min(4 * (computed + 3), 20)))


def test_errors_are_reasons() -> None:
    class Silent(ValueError):
        """An error without a word."""

    def refuse(pixels: np.ndarray) -> np.ndarray:
        if pixels.max() == 3:
            raise OSError("two\n  lines")
        if pixels.max() == 4:
            raise Silent
        return prepare(pixels)

    items: Any = [PICTURES[1], b"no image", None, PICTURES[3], "missing/é.png", (PICTURES[0], "cat"), PICTURES[4]]
    ((_, read),) = read_ahead(*groups(items, 8), refuse)
    assert [(one.image is None, one.size) for one in read] == [(False, (4, 6)), *[(True, (0, 0))] * 6]
    expected = ("", "000001 is not an image", "got NoneType", "two lines", "no image file missing/é.png", "has the class 'cat'", "Silent")
    for one, part in zip(read, expected, strict=True):
        assert part in one.reason
        assert bool(one.reason) == bool(part)


def test_an_error_of_the_program_ends_it() -> None:
    def broken(pixels: np.ndarray) -> np.ndarray:
        raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        next(read_ahead(*groups(PICTURES), broken))


def test_reading_ends_with_the_reader() -> None:
    reader: Any = read_ahead(*groups(PICTURES), prepare)
    next(reader)
    assert any(thread.name.startswith("pictures") for thread in threading.enumerate())
    reader.close()
    assert not any(thread.name.startswith("pictures") for thread in threading.enumerate())
