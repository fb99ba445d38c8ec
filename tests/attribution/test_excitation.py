"""Excitation backpropagation and the other backward rules by their definitions, one unit at a time, in slow loops."""

from __future__ import annotations

from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from attribution_cases import close, draw
from extremal_jax import attribution
from extremal_jax.attribution import CONTRAST, DECONVNET, EXCITATION, GUIDED
from extremal_jax.graph import with_backward_rules


def sent(function: Any, table: Any, x: Any, g: Any) -> Any:
    """What a table's rules send back through a function."""

    @jax.jit
    def back(x: Any, g: Any) -> Any:
        return jax.vjp(with_backward_rules(function, table), x)[1](g)[0]

    return back(x, g)


def shared(x: Any, sees: Any, g: Any) -> Any:
    """Pass the values of units down to the units that excite them, in proportion.

    x: values by index; sees: for each unit above, {index below: weight}; g: of each unit above.
    """
    shares = np.zeros(x.shape)
    for unit, weights in sees.items():
        total = sum(max(w, 0.0) * float(x[j]) for j, w in weights.items())
        for j, w in weights.items():
            shares[j] += max(w, 0.0) * float(x[j]) / total * float(g[unit]) if total else 0
    return shares


def test_dense() -> None:
    x, w, g = abs(draw(2, 4)), draw(4, 3), draw(2, 3)
    sees = {(n, i): {(n, j): float(w[j, i]) for j in range(4)} for n in range(2) for i in range(3)}
    for function in (lambda x: x @ w, lambda x: (w.T @ x.T).T, lambda x: x @ w + 1):  # on either side; with a bias
        close(sent(function, EXCITATION, x, g), shared(x, sees, g))


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution(stride: int) -> None:
    x, w = abs(draw(1, 5, 6, 2)), draw(3, 3, 2, 3)

    def function(x: Any) -> Any:
        return lax.conv_general_dilated(x, w, (stride, stride), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC"))

    g = draw(*jax.eval_shape(function, x).shape)
    sees = {}
    for _, row, column, i in np.ndindex(*g.shape):
        places = [(a, b, stride * row + a - 1, stride * column + b - 1) for a in range(3) for b in range(3)]
        inside = [(a, b, y, z) for a, b, y, z in places if 0 <= y < 5 and 0 <= z < 6]
        sees[0, row, column, i] = {(0, y, z, c): float(w[a, b, c, i]) for a, b, y, z in inside for c in range(2)}
    close(sent(function, EXCITATION, x, g), shared(x, sees, g))


def test_pools_and_means() -> None:
    x = abs(draw(1, 4, 4, 2))
    g = draw(1, 2, 2, 2)
    windows = {(0, i, j, c): {(0, 2 * i + a, 2 * j + b, c): 0.25 for a in range(2) for b in range(2)} for i, j, c in np.ndindex(2, 2, 2)}
    close(sent(lambda x: linen.avg_pool(x, (2, 2), (2, 2)), EXCITATION, x, g), shared(x, windows, g))
    whole = {(0, c): {(0, i, j, c): 1 / 16 for i, j in np.ndindex(4, 4)} for c in range(2)}
    close(sent(lambda x: x.mean(axis=(1, 2)), EXCITATION, x, g[:, 0, 0]), shared(x, whole, g[:, 0, 0]))
    highest = {  # all that the window's maximum gets
        unit: {max(below, key=lambda index: x[index]): 1.0} for unit, below in windows.items()
    }
    pooled = lambda x: linen.max_pool(jax.nn.relu(x), (2, 2), (2, 2))  # noqa: E731
    close(sent(pooled, EXCITATION, x, g), shared(x, highest, g))


def test_sums_of_two() -> None:
    x, g = abs(draw(6)), draw(6)
    first, second = 2.0, 0.5

    def function(x: Any) -> Any:
        return x * first + x * second  # two branches of one value

    close(sent(function, EXCITATION, x, g), g)
    close(sent(lambda x: jnp.concatenate([x, x * 2]), EXCITATION, x, np.tile(g, 2)), 2 * g)
    a, b = abs(draw(3)), abs(draw(3))
    shares = sent(lambda x: x[:3] + x[3:], EXCITATION, np.concatenate([a, b]), g[:3])
    close(shares, np.concatenate([a / (a + b) * g[:3], b / (a + b) * g[:3]]))


def test_normalisations_pass_everything_on() -> None:
    x, g, scale = draw(4), draw(4), draw(4)
    close(sent(lambda x: (x - 0.3) * scale / 2.0 + 1.0, EXCITATION, x, g), g)
    close(sent(lambda x: scale * x, EXCITATION, x, g), g)


def test_rectifiers() -> None:
    x, g = np.array([-1.0, 0.0, 2.0, 3.0], np.float32), np.array([1.0, 2.0, -3.0, 4.0], np.float32)
    assert sent(jax.nn.relu, GUIDED, x, g).tolist() == [0, 2, 0, 4]  # zero counts as active
    assert sent(jax.nn.relu, DECONVNET, x, g).tolist() == [1, 2, 0, 4]
    assert sent(jax.nn.relu, EXCITATION, x, g).tolist() == [0, 0, -3, 4]
    assert sent(lambda x: jnp.maximum(0, x), GUIDED, x, g).tolist() == [0, 2, 0, 4]


def test_contrast_negates_the_last_linear_layer_alone() -> None:
    x, w, head, g = abs(draw(1, 4)), draw(4, 3), draw(3, 2), np.array([[1.0, 0.0]], np.float32)
    hidden = np.maximum(x @ w, 0)
    above = shared(hidden, {(0, k): {(0, i): -float(head[i, k]) for i in range(3)} for k in range(1)}, g)
    below = shared(x, {(0, i): {(0, j): float(w[j, i]) for j in range(4)} for i in range(3) if hidden[0, i] > 0}, above)
    close(sent(lambda x: jax.nn.relu(x @ w) @ head, CONTRAST, x, g), below)


def test_zeros_pass_nothing_on() -> None:
    assert sent(lambda x: x @ jnp.ones((3, 1)), EXCITATION, np.zeros((1, 3), np.float32), np.ones((1, 1), np.float32)).tolist() == [
        [0, 0, 0]
    ]
    assert sent(lambda x: x + x, EXCITATION, np.zeros(1, np.float32), np.ones(1, np.float32)).tolist() == [0]


def positive(x: Any) -> Any:
    """Every kind of operation that has a rule; all weights positive, so that nothing is lost."""
    weights = iter(np.abs(np.random.default_rng(1).standard_normal((4, 3, 3, 4, 4))).astype(np.float32))

    def conv(x: Any, size: Any) -> Any:
        kernel = next(weights)[:size, :size, : x.shape[-1]]
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    x = checkpoint_name(jax.nn.relu(conv(x, 3) * 0.3 + 0.1), "conv")
    x = checkpoint_name(linen.max_pool(x, (2, 2), (2, 2)), "max_pool")
    x = checkpoint_name(jax.nn.relu(x + conv(x, 1)), "residual")
    x = checkpoint_name(jnp.concatenate([x, conv(x, 3)], axis=-1), "concatenated")
    x = checkpoint_name(linen.avg_pool(x, (2, 2), (2, 2)), "avg_pool")
    return x.mean(axis=(1, 2)) @ jnp.ones((8, 3))


def test_excitation_is_conserved() -> None:
    layers = (None, "conv", "max_pool", "residual", "concatenated", "avg_pool")
    totals = jax.jit(lambda image: [attribution.excitation_backprop(positive, image, 1, at=at).sum() for at in layers])
    np.testing.assert_allclose(totals(abs(draw(8, 12, 3))), np.ones(len(layers)), rtol=1e-5)


def test_folded_batch_norms_change_nothing() -> None:
    """Where their scales are positive."""
    kernel, scale, mean = draw(3, 4), np.array([0.5, 1, 2, 3], np.float32), draw(4)
    norm = lambda x: jax.nn.relu(scale * ((x @ kernel) - mean)).mean(axis=(1, 2))  # noqa: E731
    folded = lambda x: jax.nn.relu(x @ (kernel * scale) - scale * mean).mean(axis=(1, 2))  # noqa: E731
    image = abs(draw(6, 6, 3))
    close(attribution.excitation_backprop(folded, image, 2), attribution.excitation_backprop(norm, image, 2), 1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_small_totals_in_half_precision(dtype: Any) -> None:
    """g / total would be infinite in float16, and zero times it not a number."""
    head = jnp.array([[0.0, 1.0], [1.0, 0.5], [2.0, 0.25]])

    def model(x: Any) -> Any:
        return jax.nn.relu(x).mean(axis=(1, 2)) @ head.astype(x.dtype)

    image = 1e-5 * jnp.asarray(draw(4, 4, 3) ** 2 + 0.5)
    expected = attribution.excitation_backprop(model, image, 0)
    found = attribution.excitation_backprop(model, image.astype(dtype), 0)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(), expected.sum(), rtol=0.4)  # of numbers that are hardly above the smallest
