"""Fingerprints change with everything that makes a model what it is."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.boundary.fingerprints import fingerprint

ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.int32)]
ONE_BIT = ARRAYS[0].copy()
ONE_BIT.view(np.uint32)[1, 2] ^= 1


def test_it_is_sixteen_hexadecimal_digits_that_stay() -> None:
    """A store holds it, so that it must not change between versions."""
    assert fingerprint(ARRAYS, "a") == fingerprint(iter([array.copy() for array in ARRAYS]), "a")
    assert (fingerprint([]), fingerprint(ARRAYS)) == ("e3b0c44298fc1c14", "ef0ad59932ec5437")


@pytest.mark.parametrize(
    "arrays",
    [
        [ONE_BIT, ARRAYS[1]],
        [ARRAYS[0].reshape(3, 2), ARRAYS[1]],
        [ARRAYS[0].T, ARRAYS[1]],
        [ARRAYS[0].view(np.int32), ARRAYS[1]],
        ARRAYS[::-1],
        ARRAYS[:1],
    ],
    ids=["a bit", "a shape", "a transposition", "a type", "the order", "the number"],
)
def test_arrays(arrays: Any) -> None:
    assert fingerprint(arrays) != fingerprint(ARRAYS)


def test_texts() -> None:
    assert len({fingerprint(ARRAYS, *texts) for texts in ((), ("a",), ("b",), ("a", "b"), ("b", "a"))}) == 5


def test_the_library_and_the_layout_of_an_array_do_not_matter() -> None:
    assert fingerprint(map(jnp.asarray, ARRAYS)) == fingerprint(ARRAYS)
    assert fingerprint([np.asfortranarray(ARRAYS[0]), ARRAYS[1]]) == fingerprint(ARRAYS)


def test_bfloat16_and_numbers() -> None:
    """Every type that weights have."""
    assert fingerprint([jnp.ones(3, jnp.bfloat16)]) != fingerprint([jnp.ones(3, jnp.float16)])
    assert fingerprint([1.0]) != fingerprint([2.0])
