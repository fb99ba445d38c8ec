"""JAX's own switches: 64-bit numbers, and strict promotion of ranks and dtypes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import small


def maximal_channel() -> Any:
    best = np.argsort(small.seen().mean(axis=(0, 1, 2)))[-2:]
    return ej.maximize_channel(small.MODEL, best, at=small.LAYER, config=small.INVERSION_CONFIG, shape=small.IMAGES.shape[1:3])


@pytest.mark.parametrize("call", [*small.CALLS.values(), maximal_channel], ids=[*small.CALLS, "maximal channel"])
def test_switches(call: Any) -> None:
    """Nothing promotes, the arrays stay in single precision, and the masks are the same."""
    expected = call()
    with small.strict():
        found = call()
        assert getattr(found, "status", None) is None or found.status.ok
        for field in ("masks", "images", "attributions"):
            if hasattr(found, field):
                np.testing.assert_allclose(getattr(found, field), getattr(expected, field), atol=1e-5)
                assert getattr(found, field).dtype == np.float32


@pytest.mark.parametrize(
    "changes",
    [dict(game="dual"), dict(area_over="canvas"), dict(exact_area=False), dict(ties="position"), dict(min_strength=0.5, noise=0.1)],
    ids=", ".join,
)
def test_switches_with_other_settings(changes: Any) -> None:
    """Traced only: what promotes, promotes then."""
    config = ej.Config(**{**dict(num_steps=1, pitch=4, sigma=4.0, num_levels=3, max_blur=4.0), **changes})
    with small.strict():
        jax.eval_shape(lambda images: small.explain(images, config=config, chunk_size=3), small.IMAGES)
