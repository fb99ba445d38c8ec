"""A result is laid into arrays and taken out again."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import plot_results
from extremal_jax.sweeps.layout import MASK_TYPES, REASON_BYTES, State, fields, laid, taken

COUNT, AREAS = 3, np.array(plot_results.AREAS, np.float32)
SIZES = [(48, 72), (30, 40), (7, 9)]
FAULTS = dict(
    no_gradient=np.eye(COUNT, dtype=bool),
    nonfinite_image=np.eye(COUNT, dtype=bool)[::-1],
    depends_on_batch=np.tril(np.ones((COUNT, 3), bool)),
    nonfinite_reward=np.eye(COUNT, dtype=bool)[[1, 0, 2]],
    unchanged=np.triu(np.ones((COUNT, 3), bool), 1),
)


def batch(**changes: Any) -> ej.ExtremalResult:
    """A result of a batch of three pictures with faults of all kinds."""
    status = ej.Status(np.arange(-1, 8, dtype=np.int32).reshape(COUNT, 3), **FAULTS)
    return plot_results.result(COUNT, status=status, masks_with_margin=None, **changes)


def read(index: int, values: dict[str, np.ndarray], mask_type: str) -> ej.ExtremalResult:
    return taken({name: np.asarray(value[index]) for name, value in values.items()}, AREAS, ej.Config(), mask_type)


@pytest.mark.parametrize(("mask_type", "tolerance"), [("uint8", 0.5 / 255), ("uint16", 0.5 / 65535), ("float32", 0)])
def test_a_result_comes_back(mask_type: str, tolerance: float) -> None:
    result = batch()
    values = laid(result, SIZES, mask_type)
    for index in range(COUNT):
        found, expected = read(index, values, mask_type), result[index]
        np.testing.assert_allclose(found.masks, expected.masks, rtol=0, atol=tolerance + (1e-7 if tolerance else 0))  # and a rounding
        expected = dataclasses.replace(expected, masks=found.masks, config=ej.Config().resolve((24, 36)))
        jax.tree.map(np.testing.assert_array_equal, found, expected)  # an error for other settings too
        jax.tree.map(lambda one, other: np.testing.assert_equal(one.dtype, other.dtype), found, expected)
        assert found.status.message == result[index].status.message


@pytest.mark.parametrize("mask_type", MASK_TYPES)
def test_types_and_axes(mask_type: str) -> None:
    kinds = fields(mask_type)
    values = laid(batch(), SIZES, mask_type)
    assert set(kinds) - set(values) == {"reasons", "status"}
    for name, value in values.items():
        assert value.dtype == kinds[name].dtype, name
        assert value.ndim == 1 + len(kinds[name].axes), name
        assert len(value) == COUNT
    assert values["sizes"].tolist() == [list(size) for size in SIZES]
    assert kinds["masks"].dtype == mask_type
    assert REASON_BYTES > 200


def test_pictures_that_fill_a_batch_are_left_out() -> None:
    values = laid(batch(), SIZES[:2], "uint8")
    assert {len(value) for value in values.values()} == {2}
    np.testing.assert_array_equal(values["rewards"], batch().rewards[:2])


@pytest.mark.parametrize("mask_type", ["uint8", "uint16"])
def test_quantised_masks(mask_type: str) -> None:
    """0 and 1 stay what they are, and the scale makes shares of the numbers."""
    masks = np.zeros((COUNT, 3, 24, 36), np.float32)
    masks[:, :, 0], masks[:, :, 1] = 1, 0.5
    values = laid(batch(masks=masks), SIZES, mask_type)
    top = np.iinfo(mask_type).max
    assert np.unique(values["masks"]).tolist() == [0, (top + 1) // 2, top]
    assert set(np.unique(read(0, values, mask_type).masks)) >= {0, 1}
    np.testing.assert_allclose(values["masks"] * fields(mask_type)["masks"].attributes["scale_factor"], masks, atol=0.5 / top)
    assert fields("float32")["masks"].attributes == {}


def test_pictures_that_are_smaller_than_others() -> None:
    """They lie in the corner of the store's arrays."""
    result = batch()
    values = laid(result, SIZES, "float32")
    for name in ("masks", "params"):
        values[name] = np.pad(values[name], ((0, 0), (0, 0), (0, 5), (0, 3)))
    found = read(1, values, "float32")
    np.testing.assert_array_equal(found.masks, result.masks[1])
    np.testing.assert_array_equal(found.params, result.params[1])
    assert found.config == ej.Config().resolve((24, 36))


def test_faults_are_bits_with_names() -> None:
    values, attributes = laid(batch(), SIZES, "uint8")["faults"], fields("uint8")["faults"].attributes
    for bit, name in zip(attributes["flag_masks"], attributes["flag_meanings"].split(), strict=True):
        np.testing.assert_array_equal((values & bit) > 0, FAULTS[name])


def test_states() -> None:
    attributes = fields("uint8")["status"].attributes
    assert dict(zip(attributes["flag_meanings"].split(), attributes["flag_values"], strict=True)) == {
        "absent": State.ABSENT,
        "explained": State.EXPLAINED,
        "faulty": State.FAULTY,
        "skipped": State.SKIPPED,
    }
    assert int(State.ABSENT) == 0  # the fill value, so that a picture without a chunk is absent
