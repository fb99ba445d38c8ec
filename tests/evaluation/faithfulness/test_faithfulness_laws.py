"""Laws of every test of faithfulness: what must not matter (jit, batches, chunks), and what must (maps, targets, keys)."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import small
from extremal_jax.evaluation.faithfulness.curves import deletion, insertion, pixel_flipping
from extremal_jax.evaluation.faithfulness.drop import average_drop
from extremal_jax.evaluation.faithfulness.exact_areas import area_response, reward_at_areas
from extremal_jax.evaluation.faithfulness.infidelity import infidelity
from extremal_jax.evaluation.faithfulness.road import road
from extremal_jax.evaluation.faithfulness.sensitivity_n import sensitivity_n

IMAGES, TARGETS = jnp.asarray(small.images(3)), np.array([4, 3, 4])
MAPS = np.random.default_rng(0).standard_normal(IMAGES.shape[:-1]).astype(np.float32) + 3 * np.asarray(IMAGES.mean(axis=-1))
WEIGHTS = {**small.weights(), "head": small.weights()["head"] / 5}  # probabilities that are neither 0 nor 1
KEY = jax.random.key(0, impl="unsafe_rbg")  # which compiles sooner than the usual kind
TESTS: dict[str, Any] = {
    "insertion": functools.partial(insertion, num_steps=5),
    "deletion": functools.partial(deletion, num_steps=5),
    "pixel_flipping": functools.partial(pixel_flipping, cell=7),
    "area_response": functools.partial(area_response, areas=(0.1, 0.3, 1.0)),
    "road": functools.partial(road, shares=(0.2, 0.6), key=KEY),
    "sensitivity_n": functools.partial(sensitivity_n, sizes=(2, 20), num_subsets=6, key=KEY),
    "infidelity": functools.partial(infidelity, num_samples=5, key=KEY),
    "average_drop": average_drop,
    "reward_at_areas": functools.partial(reward_at_areas, areas=(0.1, 0.3)),
}
RANDOM = ["road", "sensitivity_n", "infidelity"]
each_test = pytest.mark.parametrize("name", TESTS)
each_kind = pytest.mark.parametrize(
    "name", sorted(TESTS.keys() - {"deletion", "pixel_flipping", "area_response"})
)  # one of each computation


def model_of(weights: Any) -> Any:
    return jax.tree_util.Partial(small.classify, weights)


def evaluate(name: str, images: Any = IMAGES, targets: Any = TARGETS, maps: Any = MAPS, model: Any = None, **options: Any) -> Any:
    """The scores of a test without the shares, whose first axis is not that of images."""
    found = TESTS[name](model_of(WEIGHTS) if model is None else model, images, targets, maps, **options)
    return jax.tree.leaves(found._replace(shares=None) if hasattr(found, "shares") else found)


usual = functools.cache(evaluate)  # of a name alone


def close(actual: Any, expected: Any) -> None:
    """Equal up to the roundings of another program."""
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-4 * max(1, float(np.abs(other).max())))


@each_test
def test_numbers_are_finite_and_differ_between_images(name: str) -> None:
    for values in usual(name):
        assert values.shape[0] == 3
        assert values.dtype == jnp.float32
        assert np.isfinite(values).all()
    assert name == "average_drop" or np.ptp(usual(name)[0], axis=0).max() > 0


@each_kind
def test_a_batch_is_a_loop_inside_jit_and_vmap(name: str) -> None:
    close(jax.jit(jax.vmap(functools.partial(evaluate, name)))(IMAGES, TARGETS, MAPS), usual(name))


@pytest.mark.parametrize("name", ["insertion", "infidelity"])
def test_a_single_image(name: str) -> None:
    close(evaluate(name, IMAGES[1], TARGETS[1], MAPS[1]), [values[1] for values in usual(name)])


@each_kind
def test_sharded(name: str) -> None:
    """Each of two devices takes one image."""
    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("images",)), PartitionSpec("images")
    sharded = jax.shard_map(functools.partial(evaluate, name), mesh=mesh, in_specs=spec, out_specs=spec)
    close(jax.jit(sharded)(IMAGES[:2], TARGETS[:2], MAPS[:2]), [values[:2] for values in usual(name)])


@each_kind
def test_chunks_are_the_whole_and_bound_the_batches_of_the_model(name: str) -> None:
    seen = []

    def model(images: Any) -> Any:
        seen.append(len(images))
        return small.classify(WEIGHTS, images)

    close(evaluate(name, model=model, chunk_size=4), usual(name))
    assert 1 < max(seen) <= 4


@each_test
def test_maps_and_targets_count(name: str) -> None:
    for other in (evaluate(name, maps=-MAPS), evaluate(name, targets=np.array([2, 2, 2]))):
        assert max(np.abs(one - two).max() for one, two in zip(other, usual(name), strict=True)) > 1e-3


@pytest.mark.parametrize("name", RANDOM)
def test_keys(name: str) -> None:
    np.testing.assert_array_equal(evaluate(name, key=jax.random.clone(KEY))[0], usual(name)[0])
    assert np.abs(np.asarray(evaluate(name, key=jax.random.key(1, impl="unsafe_rbg"))[0]) - usual(name)[0]).max() > 0


@each_test
def test_a_map_with_nan_has_nan_and_constant_maps_are_finite(name: str) -> None:
    maps = np.array(MAPS)
    maps[0, 3, 4] = np.nan
    maps[1] = 0.3
    for values in evaluate(name, maps=maps):
        assert np.isnan(values[0]).all()
        assert np.isfinite(values[1:]).all()


@each_kind
def test_second_calls_compile_nothing(name: str, compilations: list[str]) -> None:
    """With other images, targets, maps and weights."""
    images, other = np.asarray(IMAGES) * 2, model_of({**small.weights(1), "head": WEIGHTS["head"]})
    evaluate(name, np.asarray(IMAGES))
    del compilations[:]
    evaluate(name, images, TARGETS[::-1].copy(), -MAPS, other)
    assert not compilations


@each_test
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"maps": MAPS[:, :-1]}, "maps must have the shape"),
        ({"maps": MAPS > 0}, "maps must hold numbers, got bool"),
        ({"targets": 9}, "targets must be class indices from 0 to 4, got 9"),
        ({"score": "logits"}, "score must be one of"),
        ({"chunk_size": 0}, "chunk_size must be a whole number, at least 1, got 0"),
        ({"images": np.zeros((0, 20, 24, 3), np.float32)}, "images must not be empty"),
    ],
)
def test_refusals(name: str, options: Any, sentence: str, unchecked: None) -> None:
    if name in ("area_response", "reward_at_areas") and "the shape" in sentence:
        options = {"maps": MAPS[:-1]}  # the size of masks may be another
    with pytest.raises((TypeError, ValueError), match=sentence):
        evaluate(name, **options)
