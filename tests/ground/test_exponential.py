"""Powers of two: against double precision, over the whole documented range."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.ground.exponential import exp2


def test_powers_agree_with_double_precision() -> None:
    exponents = np.linspace(-126, 127, 100_003, dtype=np.float32)
    for function in (exp2, jax.jit(exp2)):
        np.testing.assert_allclose(function(jnp.asarray(exponents)), 2.0 ** exponents.astype(np.float64), rtol=3e-7)


def test_whole_powers_are_exact() -> None:
    whole = np.arange(-126, 128, dtype=np.float32)
    np.testing.assert_array_equal(exp2(jnp.asarray(whole)), 2.0**whole)


def test_between_two_whole_numbers() -> None:
    """There the rounding of the exponent changes."""
    halves = np.arange(-10, 10, dtype=np.float32) + np.float32(0.5)
    np.testing.assert_allclose(exp2(jnp.asarray(halves)), 2.0**halves, rtol=3e-7)


def test_nan_stays() -> None:
    assert np.isnan(exp2(jnp.array([jnp.nan, 1.0]))).tolist() == [True, False]


def test_derivatives() -> None:
    for derivative, order in ((jax.grad(exp2), 1), (jax.grad(jax.grad(exp2)), 2)):
        assert float(derivative(jnp.array(2.5))) == pytest.approx(np.log(2) ** order * 2**2.5, rel=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_floats_keep_their_type(dtype: str) -> None:
    powers = exp2(jnp.array([3.0, 0.5], dtype))
    assert powers.dtype == dtype
    np.testing.assert_allclose(powers.astype(jnp.float32), [8, np.sqrt(2)], rtol=0.01)


def test_double_precision_is_kept() -> None:
    with jax.enable_x64(True):
        assert float(exp2(jnp.asarray(0.5, jnp.float64))) == pytest.approx(np.sqrt(2), rel=1e-14)
