"""Extremal contours by their definition, and their arguments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax
from extremal_jax.attribution import extremal_contours
from extremal_jax.attribution.contours import Contour, draw

attribution: Any = extremal_jax.attribution  # called wrongly below, as type checkers would say
SIZE = (16, 24)
QUICK: dict[str, Any] = dict(areas=(0.1,), harmonics=2, num_steps=6, starts=3, baseline=0.0, score="logit")
IMAGE = np.random.default_rng(0).uniform(0.5, 1.5, (*SIZE, 3)).astype(np.float32)
RNG = np.random.default_rng(1)


def corner(images: Any) -> Any:
    """The light of a place near the upper right corner, and of the rest."""
    place = images[:, 2:8, 14:22].mean((1, 2, 3))
    return jnp.stack([place, images.mean((1, 2, 3)) - place / 8], axis=1)


def run(model: Any = corner, image: Any = IMAGE, target: int = 0, **options: Any) -> np.ndarray:
    return np.asarray(extremal_contours(model, image, target, **{**QUICK, **options}))


def test_the_mask_lies_on_the_evidence_and_has_the_area() -> None:
    found = run(num_steps=40, area_weight=10.0)
    assert found.shape == SIZE
    assert found[2:8, 14:22].sum() > 0.8 * found.sum()
    assert float(found.mean()) == pytest.approx(0.1, rel=0.15)
    assert 2 <= np.unravel_index(np.argmax(found), SIZE)[0] < 8


def test_contours_by_their_definition() -> None:
    """Pixel by pixel, with angles."""
    harmonics, softness, (height, width) = 3, 0.05, SIZE
    a, b = 0.2 * RNG.standard_normal((2, harmonics))
    centre, radius = (0.41, 0.83), 0.3
    expected = np.zeros(SIZE)
    for y, x in np.ndindex(height, width):
        down, across = (y + 0.5) / height - centre[0], (x + 0.5) / height - centre[1]
        angle = np.arctan2(down, across)
        r = radius * np.exp(sum(a[k - 1] * np.cos(k * angle) + b[k - 1] * np.sin(k * angle) for k in range(1, harmonics + 1)))
        expected[y, x] = 1 / (1 + np.exp(-(r - np.hypot(down, across)) / softness))
    parts = (np.array([centre]), np.log([radius]), a[None], b[None])
    found = draw(Contour(*(jnp.asarray(part, jnp.float32) for part in parts)), SIZE, softness)[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gradients_at_the_centre_are_finite() -> None:
    """Where a centre lies on a pixel, its direction is undefined."""
    contour = Contour(jnp.full((1, 2), 0.5 / 4), jnp.zeros(1), jnp.ones((1, 2)), jnp.ones((1, 2)))
    gradients = jax.grad(lambda contour: draw(contour, (4, 4), 0.1).sum())(contour)
    assert all(np.isfinite(part).all() for part in gradients)


def test_the_map_is_the_mean_over_areas() -> None:
    each = [run(areas=(area,)) for area in (0.1, 0.3)]
    np.testing.assert_allclose(run(areas=(0.1, 0.3)), np.mean(each, axis=0), atol=1e-4)
    assert each[1].mean() > 2 * each[0].mean()


def test_starts_find_what_gradients_cannot_see() -> None:
    """A place far from the middle, outside which the score is flat."""
    model = lambda images: jax.nn.relu(images[:, 12:15, 1:5].mean((1, 2, 3)) - 0.5)[:, None]  # noqa: E731
    assert run(model, starts=6, areas=[0.05])[12:15, 1:5].mean() > 0.3
    with pytest.warns(UserWarning, match="extremal_contours: no gradient reached the image"):
        assert not run(lambda images: 0 * images.mean((1, 2, 3))[:, None]).any()


@pytest.mark.parametrize("combine", [jnp.maximum, jnp.minimum])
def test_keeping_and_deleting_both_count(combine: Any) -> None:
    """Of two places, where one is enough, deletion changes nothing; where both are needed, nothing small can be kept."""

    def model(images: Any) -> Any:
        return combine(images[:, 4:10, 1:7].mean((1, 2, 3)), images[:, 4:10, 17:23].mean((1, 2, 3)))[:, None]

    found = run(model, num_steps=10)
    assert max(found[4:10, 1:7].sum(), found[4:10, 17:23].sum()) > 0.5 * found.sum() > 0


@pytest.mark.parametrize(
    "options",
    [
        dict(areas=(0.2,)),
        dict(harmonics=0),
        dict(num_steps=2),
        dict(starts=1),
        dict(learning_rate=0.1),
        dict(area_weight=30.0),
        dict(roughness_weight=3.0),
        dict(softness=0.1),
        dict(baseline="blur"),
        dict(baseline=(0.5, 0.1, 0.2)),
        dict(score="softmax"),
    ],
    ids=lambda options: "-".join(options),
)
def test_every_option_matters(options: dict[str, Any]) -> None:
    model = lambda images: corner(images) ** 2  # noqa: E731
    assert np.abs(run(model, **options) - run(model)).max() > 1e-4


def test_roughness_is_punished() -> None:
    """A mask of a large weight stays a circle."""
    model = lambda images: 9 * corner(images)  # noqa: E731
    circle, rough, smooth = (
        run(model, num_steps=20, **o) for o in (dict(harmonics=0), dict(roughness_weight=0), dict(roughness_weight=99))
    )
    assert np.abs(smooth - circle).mean() < np.abs(rough - circle).mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(areas=(0.1, 1.5)), r"areas must be shares of the image in \(0, 1\], got 1.5"),
        (dict(areas=()), r"areas must have the shape \(K,\), with at least one area"),
        (dict(harmonics=-1), "harmonics must be a whole number, at least 0, got -1"),
        (dict(num_steps=0), "num_steps must be a whole number, at least 1, got 0"),
        (dict(starts=0), "starts must be a whole number, at least 1, got 0"),
        (dict(learning_rate=-1), "learning_rate must be zero or a positive number, got -1"),
        (dict(area_weight=-1), "area_weight must be zero or a positive number, got -1"),
        (dict(roughness_weight="a"), "roughness_weight must be zero or a positive number, got 'a'"),
        (dict(softness=0), "softness must be a positive number, a share of the image's shorter side, got 0"),
        (dict(score="probability"), "score must be one of 'logit', 'softmax', 'sigmoid', got 'probability'"),
        (dict(baseline="blurred"), "baseline must be one of 'blur', 'mean', 'past_mean', 'rise_blur', got 'blurred'"),
        (dict(chunk_size=0), "chunk_size must be a whole number, at least 1, got 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribution.extremal_contours(corner, IMAGE, 0, **options)
