"""Rows, a picture and a class each, and the batches that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from extremal_jax.data import IndexableDataset
from extremal_jax.sweeps.rows import UNKNOWN, Row, grouped, list_rows

PIXELS = np.zeros((4, 4, 3), np.uint8)
CLASSES = ["dog", "cat", "fox"]


def dataset(*labels: Any) -> IndexableDataset:
    return IndexableDataset([(PIXELS, label) for label in labels], CLASSES)


def numbered(count: int) -> list[Row]:
    return [Row(index, index, str(index)) for index in range(count)]


def test_a_row_for_each_picture() -> None:
    rows = list_rows(dataset([0, 1], None, "unknown"), labelled=False)
    assert rows == [(0, 0, "000000", UNKNOWN), (1, 1, "000001", UNKNOWN), (2, 2, "000002", UNKNOWN)]


def test_a_row_for_each_class_that_a_picture_shows() -> None:
    """A picture without labels has none."""
    rows = list_rows(dataset([2, 0], None, "cat", [1, 1]), labelled=True)
    assert rows == [(0, 0, "000000", 0), (1, 0, "000000", 2), (2, 2, "000002", 1), (3, 3, "000003", 1)]


def test_a_malformed_label_is_a_row_that_will_be_skipped() -> None:
    assert [row.label for row in list_rows(dataset("cat", "wolf", 2), labelled=True)] == [1, UNKNOWN, 2]


@pytest.mark.parametrize("labels", [(), (None,), ("wolf",), (None, 7)])
def test_no_labels_at_all(labels: Any) -> None:
    with pytest.raises(ValueError, match="no picture of items has a label; targets='top' explains the class of the highest score"):
        list_rows(dataset(*labels), labelled=True)


@pytest.mark.parametrize(("count", "size", "lengths"), [(0, 4, []), (1, 4, [1]), (4, 4, [4]), (9, 4, [4, 4, 1]), (3, 1, [1, 1, 1])])
def test_batches(count: int, size: int, lengths: list[int]) -> None:
    groups = grouped(numbered(count), [(8, 8)] * max(count, 1), size)
    assert [len(group.rows) for group in groups] == lengths
    assert [row for group in groups for row in group.rows] == numbered(count)
    assert {group.shape for group in groups} <= {(8, 8)}


def test_batches_hold_inputs_of_one_shape() -> None:
    """Pictures that cannot be read go with any."""
    shapes = [None, (8, 9), (8, 8), None, (8, 9), (8, 8), (8, 8)]
    groups = grouped(numbered(7), shapes, 2)
    assert [([row.place for row in group.rows], group.shape) for group in groups] == [
        ([0, 1], (8, 9)),
        ([3, 4], (8, 9)),
        ([2, 5], (8, 8)),
        ([6], (8, 8)),
    ]


def test_shapes_belong_to_pictures() -> None:
    """Of rows of some pictures, as a shard has them."""
    rows = [Row(0, 0, "a", 1), Row(2, 3, "d", 1)]
    assert [group.shape for group in grouped(rows, [(8, 8), (1, 1), (1, 1), (4, 4)], 4)] == [(8, 8), (4, 4)]
