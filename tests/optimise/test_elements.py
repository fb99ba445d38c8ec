"""Elements in chunks: which ones a chunk has, and that none is lost or leaves its block."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.optimise import solver
from extremal_jax.optimise.elements import Chunks, take

SIZES = [
    (images, areas, size, devices)
    for images, areas, devices in itertools.product([1, 2, 6, 8], [1, 3, 4], [1, 8])
    for size in range(1, images * areas, 3)
]


def chunks(count: int, size: int, devices: int) -> list[Any]:
    made = Chunks(count, size, devices)
    return [np.asarray(made.elements(positions)) for positions in made.positions()]


@pytest.mark.parametrize(("images", "areas", "size", "devices"), SIZES)
def test_every_element_in_the_fewest_chunks(images: int, areas: int, size: int, devices: int) -> None:
    found = chunks(images * areas, size, devices)
    assert {chunk.size for chunk in found} == {size}
    assert len(found) == -(-images * areas // size)
    np.testing.assert_array_equal(np.unique(found), np.arange(images * areas))


@pytest.mark.parametrize(("images", "areas", "size", "devices"), SIZES)
def test_values_of_the_elements_and_of_their_images(images: int, areas: int, size: int, devices: int) -> None:
    for chunk in chunks(images * areas, size, devices):
        np.testing.assert_array_equal(take(jnp.arange(images * areas), jnp.asarray(chunk)), chunk.reshape(-1))
        np.testing.assert_array_equal(take(jnp.arange(images), jnp.asarray(chunk // areas)), chunk.reshape(-1) // areas)


@pytest.mark.parametrize(("count", "size"), [(5, 3), (6, 4), (12, 8), (24, 8), (24, 7)])
def test_results_return_to_their_elements(count: int, size: int) -> None:
    params = jax.random.normal(jax.random.key(0), (count, 2, 3))

    def function(params: Any, elements: Any) -> Any:
        assert elements is not None
        return {"elements": elements.reshape(-1), "params": params}

    found = jax.jit(solver.in_chunks(function, size))(params)
    np.testing.assert_array_equal(found["elements"], np.arange(count))
    np.testing.assert_array_equal(found["params"], params)


@pytest.mark.parametrize(("devices", "of"), [(2, 1), (4, 1), (8, 1), (4, 2), (2, 3)])
def test_devices_compute_their_own_part_of_every_chunk(devices: int, of: int) -> None:
    """Where their number divides the images, the chunk and all devices."""
    for images, areas, times in itertools.product([8, 24], [1, 3, 4], [1, 2, 3]):
        if (size := devices * times) < images * areas:
            for chunk in chunks(images * areas, size, of * devices):
                owners = chunk.reshape(-1) // (images * areas // devices)
                np.testing.assert_array_equal(owners, np.repeat(np.arange(devices), times))


def test_one_device_has_chunks_of_consecutive_elements() -> None:
    assert [chunk.tolist() for chunk in chunks(8, 4, 1)] == [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]
