"""Shares of maps, and of their highest pixels, in regions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import small
from extremal_jax.evaluation.localisation.overlap import energy, iou, relevance_mass, relevance_rank
from golden_data import GOLDEN

TESTS = {"energy": energy, "mass": relevance_mass, "rank": relevance_rank, "iou": iou}
MAPS = np.random.default_rng(0).standard_normal((4, 12, 15)).astype(np.float32)
REGIONS = np.random.default_rng(1).random((4, 12, 15)) < np.array([0.05, 0.2, 0.5, 0.9])[:, None, None]
NAN = np.where(np.arange(12 * 15).reshape(12, 15) == 7, np.nan, MAPS[0])

each = pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)


@pytest.fixture(scope="module")
def quantus() -> dict[str, Any]:
    with np.load(GOLDEN / "evaluation" / "localisation.npz") as file:
        data = {name: file[name] for name in file.files}
    return {**data, "regions": np.unpackbits(data["regions"], axis=-1, count=data["signed"].shape[-1]).astype(bool)}


def test_mass_is_that_of_quantus_for_relevance_without_signs(quantus: Any) -> None:
    np.testing.assert_allclose(
        relevance_mass(quantus["positive"], quantus["regions"]), quantus["mass"], rtol=1e-6
    )  # its sums are in float32


def test_mass_of_signed_maps_is_a_share_unlike_that_of_quantus(quantus: Any) -> None:
    assert quantus["mass_signed"].min() < 0 < 1 < quantus["mass_signed"].max()
    ours = np.asarray(relevance_mass(quantus["signed"], quantus["regions"]))
    np.testing.assert_array_equal(ours, relevance_mass(np.maximum(quantus["signed"], 0), quantus["regions"]))
    assert 0 <= ours.min() < ours.max() <= 1


def test_rank_is_that_of_quantus(quantus: Any) -> None:
    for maps, expected in ((quantus["signed"], quantus["rank"]), (quantus["positive"], quantus["rank_positive"])):
        np.testing.assert_allclose(relevance_rank(maps, quantus["regions"]), expected, rtol=1e-6)


@pytest.mark.parametrize("areas", [None, 0.0, 0.1, 1.0, np.array([0.1, 0.2, 0.5, 0.033])], ids=str)
@pytest.mark.parametrize("digits", [0, 7])
def test_iou_against_sets(areas: Any, digits: int) -> None:
    """Also of maps with many ties, zeros of both signs among them."""
    maps = np.round(MAPS, digits)
    shares = REGIONS.mean(axis=(1, 2)) if areas is None else np.broadcast_to(areas, 4)
    for score, values, region, area in zip(np.asarray(iou(maps, REGIONS, areas)), maps, REGIONS, shares, strict=True):
        kept = set(np.argsort(-values.ravel(), kind="stable")[: round(area * values.size)].tolist())
        true = set(np.flatnonzero(region).tolist())
        assert score == pytest.approx(len(kept & true) / len(kept | true), rel=1e-6)


def test_energy_against_a_loop() -> None:
    for score, values, region in zip(np.asarray(energy(MAPS, REGIONS)), MAPS.astype(np.float64), REGIONS, strict=True):
        positive = [max(value, 0) for value in values.ravel()]
        inside = sum(value for value, within in zip(positive, region.ravel(), strict=True) if within)
        np.testing.assert_allclose(score, inside / sum(positive), rtol=1e-6)


def test_sums_of_any_size() -> None:
    """Single precision neither overflows nor loses small maps; energy alone takes a sum below 1e-7 for none."""
    expected = energy(MAPS, REGIONS)
    np.testing.assert_allclose(energy(MAPS * 1e36, REGIONS), expected, rtol=1e-5)
    np.testing.assert_allclose(relevance_mass(MAPS * 1e-34, REGIONS), expected, rtol=1e-5)
    total = np.maximum(MAPS, 0).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_array_equal(energy(0.9e-7 * MAPS / total, REGIONS), 0)
    np.testing.assert_allclose(energy(1.1e-7 * MAPS / total, REGIONS), expected, rtol=1e-5)


@each
def test_a_perfect_map_scores_one(test: Any) -> None:
    np.testing.assert_allclose(test(REGIONS * (2 + np.tanh(MAPS)), REGIONS), 1, rtol=1e-6)


@each
def test_an_empty_region_scores_nothing(test: Any) -> None:
    np.testing.assert_array_equal(test(MAPS, np.zeros_like(REGIONS)), 0)


@each
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_scores_nan_alone(test: Any, value: Any) -> None:
    maps = np.where(np.isnan(np.stack([NAN, *MAPS[1:]])), value, MAPS)
    scores = np.asarray(test(maps, REGIONS))
    assert np.isnan(scores).tolist() == [True, False, False, False]
    np.testing.assert_array_equal(scores[1:], np.asarray(test(MAPS, REGIONS))[1:])


@pytest.mark.parametrize("value", [-1.0, 0.0, 2.0])
def test_constant_maps(value: float) -> None:
    maps, share = np.full_like(MAPS, value), REGIONS.mean(axis=(1, 2))
    for test in (energy, relevance_mass):
        np.testing.assert_allclose(test(maps, REGIONS), share if value > 0 else 0 * share, rtol=1e-6)
    sizes = REGIONS.sum(axis=(1, 2))
    first = [np.count_nonzero(region.ravel()[:size]) for region, size in zip(REGIONS, sizes, strict=True)]
    np.testing.assert_allclose(relevance_rank(maps, REGIONS), np.array(first) / sizes, rtol=1e-6)
    np.testing.assert_allclose(iou(maps, REGIONS), first / (2 * sizes - first), rtol=1e-6)


@each
def test_jit_vmap_and_a_loop(test: Any) -> None:
    expected = np.asarray(test(MAPS, REGIONS))
    assert expected.shape == (4,)
    np.testing.assert_array_equal(jax.jit(test)(MAPS, REGIONS), expected)
    np.testing.assert_array_equal(jax.vmap(test)(MAPS, REGIONS), expected)
    single = test(MAPS[2], REGIONS[2])
    assert single.shape == ()
    np.testing.assert_array_equal(single, expected[2])


@each
def test_other_forms_of_the_same(test: Any) -> None:
    expected = np.asarray(test(MAPS, REGIONS))
    np.testing.assert_array_equal(test(MAPS.astype(np.float64), REGIONS.astype(np.uint8) * 255), expected)
    whole = np.round(MAPS * 100)
    np.testing.assert_array_equal(test(whole.astype(np.int32), REGIONS), test(whole, REGIONS))
    assert test(MAPS[:0], REGIONS[:0]).shape == (0,)


@each
def test_switches_of_jax_and_sharding(test: Any) -> None:
    expected = np.asarray(test(MAPS, REGIONS))
    with small.strict():
        strict = test(MAPS, REGIONS)
    assert strict.dtype == jnp.float32
    np.testing.assert_allclose(strict, expected, rtol=1e-6)
    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("images",)), PartitionSpec("images")
    laid_out = (jax.device_put(array, NamedSharding(mesh, spec)) for array in (MAPS, REGIONS))
    np.testing.assert_allclose(test(*laid_out), expected, rtol=1e-6)
    sharded = jax.jit(jax.shard_map(test, mesh=mesh, in_specs=spec, out_specs=spec))
    np.testing.assert_allclose(sharded(MAPS, REGIONS), expected, rtol=1e-6)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("maps", "regions", "message"),
    [
        (MAPS[:, :-1], REGIONS, "maps must have the shape of the images, .4, 12, 15., got .4, 11, 15."),
        (MAPS, REGIONS[0, 0], "regions must have the shape .N, H, W. or .H, W., got .15,."),
        (MAPS, REGIONS.astype(np.float32), "regions must be booleans, .* got float32; pass regions > 0.5"),
        (MAPS > 0, REGIONS, "maps must hold numbers, got bool"),
        (MAPS[:, :0], REGIONS[:, :0], "regions must have the shape"),
    ],
)
def test_bad_input(maps: Any, regions: Any, message: str) -> None:
    for test in TESTS.values():
        with pytest.raises((TypeError, ValueError), match=message):
            test(maps, regions)


@pytest.mark.usefixtures("unchecked")
def test_bad_areas() -> None:
    with pytest.raises(ValueError, match=r"areas must be shares of the image, from 0 to 1, got 1\.5"):
        iou(MAPS, REGIONS, 1.5)
    with pytest.raises(ValueError, match=r"areas must be one number, or one for each map, \(4,\), got the shape \(3,\)"):
        iou(MAPS, REGIONS, [0.1, 0.2, 0.3])
