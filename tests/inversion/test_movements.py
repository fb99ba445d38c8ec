"""Random movements of pictures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from extremal_jax.inversion.movements import draw_movements, move

moved = jax.jit(move)


def test_movements_fill_their_range() -> None:
    drawn = draw_movements(jax.random.key(0), 1000, 3.0, 10.0, 0.2)
    assert {name: values.shape for name, values in drawn.items()} == dict(shift=(1000, 2), angle=(1000,), zoom=(1000,))
    for values, low, high in ((drawn["shift"], -3, 3), (np.rad2deg(drawn["angle"]), -10, 10), (drawn["zoom"], 0.8, 1.2)):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high


def test_a_picture_is_shifted_turned_and_enlarged() -> None:
    image = jnp.asarray(np.random.default_rng(0).random((1, 9, 9, 2)), jnp.float32)
    none, still, one = jnp.zeros(2), jnp.zeros(()), jnp.ones(())
    np.testing.assert_allclose(moved(image, jnp.array([2.0, -3.0]), still, one), jnp.roll(image, (2, -3), (1, 2)), atol=1e-5)
    np.testing.assert_allclose(moved(image, none, jnp.float32(np.pi / 2), one)[0], np.rot90(image[0]), atol=1e-5)
    line = jnp.zeros((1, 1, 17, 1)).at[0, 0, 6:11].set(1)
    assert moved(line, none, still, 2 * one).sum() > 8
