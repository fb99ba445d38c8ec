"""I-GOS and iGOS++ by their definitions, and their arguments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax
from attribution_cases import KEY
from extremal_jax.attribution import igos, igos_plus_plus
from extremal_jax.attribution.igos import _parts, _search, _similar, _variation

attribution: Any = extremal_jax.attribution  # called wrongly below, as type checkers would say
SIZE = (12, 16)
QUICK: dict[str, Any] = dict(num_steps=3, num_points=2, resolution=(6, 8), baseline=0.0, noise=0.0, score="logit")
IMAGE = np.random.default_rng(0).uniform(0.5, 1.5, (*SIZE, 3)).astype(np.float32)
METHODS = {"igos": igos, "igos_plus_plus": igos_plus_plus}
each = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def corner(images: Any) -> Any:
    """The light of the upper left quarter, and of the rest."""
    quarter = images[:, :6, :8].mean((1, 2, 3))
    return jnp.stack([quarter, images.mean((1, 2, 3)) - quarter / 4], axis=1)


def saturated(images: Any) -> Any:
    """Scores whose softmax hardly changes before half of the quarter is deleted."""
    return 4 * corner(images) * jnp.array([[1.0, 0.0]])


def late(images: Any) -> Any:
    """Scores that need nearly the whole quarter: the first deletions lose them, the first insertions do not raise them."""
    return jax.nn.relu(corner(images) - 0.9)


def run(method: Any = igos, model: Any = corner, image: Any = IMAGE, target: int = 0, **options: Any) -> np.ndarray:
    return np.asarray(method(model, image, target, **{**QUICK, **options}))


@each
def test_the_map_is_the_evidence(method: Any) -> None:
    found = run(method)
    assert found.shape == SIZE
    assert 0 <= found.min() <= found.max() <= 1
    assert found[:6, :8].mean() > 5 * found[6:, 8:].mean()


def test_one_step_by_its_definition() -> None:
    """A step along the integrated gradient, of the first length that is good, in a slow loop."""
    rows, columns, points, weight, variation = 3, 4, 5, 0.02, 0.3
    image = IMAGE.astype(np.float64)

    def score(mask: Any) -> Any:
        shown = jax.image.resize(mask, SIZE, "bilinear", antialias=False)
        return (corner((shown[..., None] * image)[None].astype(jnp.float32)) ** 2)[0, 0]

    mask = jnp.ones((rows, columns))
    gradient = sum(jax.grad(score)(mask * (s + 1) / points) for s in range(points)) / points - weight / mask.size

    def objective(mask: Any) -> float:
        differences = sum(float((jnp.diff(mask, axis=axis) ** 2).sum()) for axis in (0, 1))
        return float(score(mask)) + weight * float(1 - mask.mean()) + variation * differences / mask.size

    rate = 1 / float(jnp.abs(gradient).max())
    while objective(moved := jnp.clip(mask - rate * gradient, 0, 1)) > objective(mask) - 1e-4 * float((gradient * (mask - moved)).sum()):
        rate /= 2
    options: dict[str, Any] = dict(
        num_steps=1, num_points=points, resolution=(rows, columns), area_weight=weight, variation_weight=variation
    )
    found = run(model=lambda images: corner(images) ** 2, **options)
    np.testing.assert_allclose(found, jax.image.resize(1 - moved, SIZE, "bilinear", antialias=False), atol=1e-5)


def test_integrated_gradients_see_past_saturation() -> None:
    """With one point, the mask itself, there is hardly a gradient to follow."""
    options = dict[str, Any](model=saturated, area_weight=0.5, variation_weight=0.1, score="softmax")
    many, one = (run(num_points=points, **options) for points in (8, 1))
    assert many[:6, :8].mean() > 0.3
    assert one.max() < 0.1


def test_terms_of_igos_plus_plus() -> None:
    """Deletion and insertion count for each mask by itself, and the map is the product's."""
    masks = jnp.asarray(np.random.default_rng(1).uniform(size=(2, 3, 4)), jnp.float32)
    np.testing.assert_allclose(_parts(masks), jnp.stack([*masks, masks[0] * masks[1]]))
    assert _parts(masks[:1]).shape == (1, 3, 4)
    assert run(igos_plus_plus, late)[:6, :8].mean() > run(igos, late)[:6, :8].mean() + 0.1


def test_variation_counts_less_where_colours_differ() -> None:
    image = np.zeros((8, 8, 1), np.float32)
    image[4:] = 1.0
    down, across = _similar(jnp.asarray(image), jnp.float32(0.25), (4, 4))
    assert float(down[1, 0]) < 0.2 < 0.8 < float(down[0, 0])  # the small image is smooth
    np.testing.assert_allclose(across, np.ones((4, 3)), atol=1e-6)
    mask = jnp.ones((4, 4)).at[2:].set(0.0)
    assert float(_variation(mask, (jnp.ones((3, 4)), jnp.ones((4, 3))))) == pytest.approx(4 / 16)
    assert float(_variation(mask, (down, across))) < 0.2 * 4 / 16
    assert float(_variation(mask.T, (down, across))) == pytest.approx(4 / 16, rel=1e-5)


def test_search_takes_the_longest_good_step() -> None:
    masks = jnp.full((1, 1, 2), 0.5)

    def objectives(best: float) -> Any:
        return lambda moved: jnp.abs(moved - best).sum(axis=(1, 2, 3))

    gradient = jnp.ones((1, 1, 2))
    assert _search(objectives(0.0), masks, gradient)[0, 0].tolist() == [0, 0]
    assert _search(objectives(0.4), masks, gradient)[0, 0].tolist() == [0.375, 0.375]
    assert _search(objectives(0.6), masks, gradient)[0, 0].tolist() == [0.5 - 1 / 32] * 2  # none is good
    assert _search(objectives(0.6), masks, 0 * gradient)[0, 0].tolist() == [0.5, 0.5]


@each
@pytest.mark.parametrize(
    "options",
    [
        dict(num_steps=1),
        dict(num_points=5),
        dict(resolution=4),
        dict(area_weight=0.1),
        dict(variation_weight=0.5),
        dict(noise=0.3),
        dict(baseline="blur"),
        dict(baseline=(0.5, 0.1, 0.2)),
        dict(score="softmax"),
    ],
    ids=lambda options: "-".join(options),
)
def test_every_option_matters(method: Any, options: dict[str, Any]) -> None:
    model = lambda images: corner(images) ** 2  # noqa: E731
    assert np.abs(run(method, model, **options) - run(method, model)).max() > 1e-4


def test_similarity_matters() -> None:
    assert np.abs(run(igos_plus_plus, similarity=1e-3) - run(igos_plus_plus, similarity=10.0)).max() > 1e-4


def test_noise_has_a_key() -> None:
    one, same, other = (run(noise=0.2, model=lambda images: corner(images) ** 2, key=key) for key in (KEY, KEY, jax.random.fold_in(KEY, 1)))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_resolution() -> None:
    """None is 28 cells, or as many as the image has pixels; resize and smooth come after."""
    np.testing.assert_array_equal(run(resolution=None), run(resolution=SIZE))
    assert run(resize=(5, 7), smooth=0.1).shape == (5, 7)
    constant = np.ones((*SIZE, 3), np.float32)  # of no range
    assert np.isfinite(run(igos_plus_plus, image=constant, noise=0.1)).all()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_steps=0), "num_steps must be a whole number, at least 1, got 0"),
        (dict(num_points=0), "num_points must be a whole number, at least 1, got 0"),
        (dict(resolution=40), r"resolution must be a number of cells, or \(rows, columns\), from 1 to the image's \(12, 16\), got 40"),
        (dict(area_weight=-1), "area_weight must be zero or a positive number, got -1"),
        (dict(variation_weight="a"), "variation_weight must be zero or a positive number, got 'a'"),
        (dict(noise=-0.1), "noise must be zero or a positive number, a share of the image's range, got -0.1"),
        (dict(score="probability"), "score must be one of 'logit', 'softmax', 'sigmoid', got 'probability'"),
        (dict(baseline="blurred"), "baseline must be one of 'blur', 'mean', 'past_mean', 'rise_blur', got 'blurred'"),
        (dict(chunk_size=0), "chunk_size must be a whole number, at least 1, got 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refusals(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(attribution, name)(corner, IMAGE, 0, **options)


@pytest.mark.usefixtures("unchecked")
def test_similarity_is_refused() -> None:
    with pytest.raises(ValueError, match="similarity must be a positive number, a share of the image's range, got 0"):
        attribution.igos_plus_plus(corner, IMAGE, 0, similarity=0)
