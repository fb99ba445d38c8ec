"""Results: the maps and points that are derived from masks."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax import Config, ExtremalResult
from extremal_jax.perturbation import monotone_fraction
from small import CONFIG, IMAGES


@pytest.fixture(scope="module")
def result() -> Any:
    return small.explain()


def assert_same(a: Any, b: Any) -> None:
    structure: Any = jax.tree.structure(b)
    assert jax.tree.structure(a) == structure
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_binary_masks(result: Any) -> None:
    binary, masks = np.asarray(result.binary_masks()), np.asarray(result.masks)
    assert binary.shape == masks.shape
    np.testing.assert_array_equal(binary.sum(axis=(2, 3)), [[48, 144]] * 2)  # of 480 pixels
    assert masks[binary == 1].min() >= 0
    for mask, cut in zip(masks.reshape(4, -1), binary.reshape(4, -1), strict=True):
        assert mask[cut == 1].min() >= mask[cut == 0].max()


def planted(masks: Any, config: Any = CONFIG) -> Any:
    """A result with given masks."""
    masks = np.asarray(masks, np.float32)
    rest = dict.fromkeys(("rewards", "areas", "requested_areas"), masks.mean(axis=(1, 2)))
    return ExtremalResult(
        masks=masks,
        masks_with_margin=masks,
        params=masks,
        image_rewards=np.array(1, np.float32),
        targets=np.array(0),
        history=ej.History(rest["rewards"][None], rest["rewards"][None]),
        status=ej.Status(np.full(len(masks), -1, np.int32)),
        config=config.resolve(masks.shape[1:]),
        **rest,
    )


def test_saliency_is_the_smoothed_mean() -> None:
    masks = np.zeros((2, 20, 30))
    masks[0, 5, 7] = masks[1, 5, 7] = 1
    saliency = np.asarray(planted(masks).saliency(smooth=0.1))
    y, x = np.mgrid[:20, :30]
    gaussian = np.exp(-((y - 5) ** 2 + (x - 7) ** 2) / (2 * 2.0**2))  # a tenth of the shorter side
    np.testing.assert_allclose(saliency, gaussian / (2 * np.pi * 4), atol=1e-4)  # cut off at four deviations
    assert planted(masks).saliency(smooth=0.2).max() < saliency.max()


def test_point_of_the_masks() -> None:
    masks = np.zeros((2, 20, 30))
    masks[:, 12:15, 20:23] = 1
    assert planted(masks).point().tolist() == [13, 21]


def test_evidence_is_where_the_perturbation_changes_the_image() -> None:
    """A ring under a disc of a mask: the peak of the masks is in the hole, and the peak of the evidence on the ring."""
    y, x = np.mgrid[:40, :40]
    distance = np.hypot(y - 20, x - 20)
    image = np.repeat((np.abs(distance - 4) < 1.5)[..., None], 3, axis=-1).astype(np.float32)
    disc = planted((distance < 10)[None], Config(max_blur=12.0))
    assert disc.point().tolist() == [20, 20]
    assert image[tuple(disc.point(image))].all()
    faded = planted((distance < 10)[None], Config(perturbation="fade"))
    assert image[tuple(faded.point(image))].all()
    evidence = disc.evidence(image)
    assert evidence.shape == (40, 40)
    assert not np.array_equal(evidence, disc.evidence(image, smooth=0.2))


def test_masks_count_alike_in_the_evidence() -> None:
    """A small mask has a higher density than a large one, wherever the image changes as much."""
    masks = np.zeros((2, 20, 30), np.float32)
    masks[0, 2:5, 2:12], masks[1, 8:18, 12:27] = 1, 1
    image = (np.indices((20, 30)).sum(axis=0)[..., None] % 2).astype(np.float32) * np.ones(3, np.float32)
    both = dataclasses.replace(planted(masks), requested_areas=np.array([0.05, 0.25], np.float32))
    evidence = np.asarray(both.evidence(image, smooth=0.0))
    np.testing.assert_allclose(evidence[2:5, 3:11].mean() / evidence[9:17, 13:26].mean(), 5, rtol=0.05)


def test_evidence_is_where_the_masks_of_all_areas_agree() -> None:
    """A place in both masks has 2⁸ times the evidence of a place in one. By a plain mean it would have twice as much."""
    masks = np.zeros((2, 20, 30), np.float32)
    masks[:, 2:5, 2:12], masks[1, 8:18, 12:27] = 1, 1
    image = (np.indices((20, 30)).sum(axis=0)[..., None] % 2).astype(np.float32) * np.ones(3, np.float32)
    both = dataclasses.replace(planted(masks), requested_areas=np.array([0.1, 0.1], np.float32))
    evidence = np.asarray(both.evidence(image, smooth=0.0))
    np.testing.assert_allclose(evidence[2:5, 3:11].mean() / evidence[9:17, 13:26].mean(), 2**8, rtol=0.05)


def test_the_evidence_has_a_gradient_where_masks_are_zero() -> None:
    image, masks = np.linspace(0, 1, 1800, dtype=np.float32).reshape(20, 30, 3), np.zeros((2, 20, 30), np.float32)
    masks[0, 5:9, 5:9] = masks[1, 5:12, 5:12] = 0.5
    result = planted(masks)
    slope = jax.grad(lambda masks: dataclasses.replace(result, masks=masks).evidence(image).sum())(masks)
    assert np.isfinite(slope).all()
    assert (slope[:, 5:9, 5:9] > 0).all()


def test_evidence_against_a_reference() -> None:
    image = np.full((20, 30, 3), 0.5, np.float32)
    reference = image.copy()
    reference[4:7, 9:12] = 0
    everywhere = planted(np.ones((1, 20, 30)), Config(perturbation="reference"))
    best = np.unravel_index(np.argmax(everywhere.evidence(image, reference=reference)), (20, 30))
    assert tuple(map(int, best)) == (5, 10)


def test_batches_of_results(result: Any) -> None:
    assert len(result) == 2
    assert_same(result[1], result[-1])
    np.testing.assert_array_equal(result[1].masks, result.masks[1])
    assert result[1].config == result.config
    assert len(list(result)) == 2
    np.testing.assert_array_equal(result.point(IMAGES)[1], result[1].point(IMAGES[1]))
    with pytest.raises(IndexError, match="this result is of 2 images, got the index 2"):
        result[2]
    with pytest.raises(IndexError, match="this result is of a single image"):
        result[0][0]
    with pytest.raises(TypeError, match="this result is of a single image"):
        len(result[0])


def test_results_are_pytrees(result: Any) -> None:
    doubled = jax.tree.map(lambda x: 2 * x, result)
    np.testing.assert_array_equal(doubled.masks, 2 * np.asarray(result.masks))
    assert doubled.config == result.config
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.masks = None


def test_evidence_of_a_layer(result: Any) -> None:
    with pytest.raises(ValueError, match="evidence is for masks of images, and these are of the layer 'first'"):
        dataclasses.replace(result, at="first").evidence(IMAGES)


def test_ranking_of_a_result() -> None:
    """One map for all areas, in any order of the areas."""
    result = small.explain(areas=(0.3, 0.1))
    ranking = np.asarray(result.ranking())
    assert ranking.shape == (2, 20, 24)
    np.testing.assert_array_equal(ranking[0], result[0].ranking())
    for image in range(2):
        assert sorted(ranking[image].ravel()) == list(range(480))
    smallest, largest = ranking < 48, ranking < 144
    np.testing.assert_array_equal(smallest, result.binary_masks()[:, 1])
    assert np.all(smallest <= largest)


def test_monotone_fraction() -> None:
    curves = np.array([[1.0, 2.0, 2.0], [1.0, 3.0, 2.0], [3.0, 2.0, 4.0], [0.0, 1.0, 5.0]])
    assert monotone_fraction(curves) == 0.5
    assert monotone_fraction(curves, tolerance=1.0) == 1.0
    assert monotone_fraction(curves[1]) == 0.0


@pytest.mark.parametrize("images", [small.IMAGES[0], small.IMAGES[:1], small.IMAGES[:, :-1]])
def test_evidence_of_other_images_is_refused(images: Any) -> None:
    with pytest.raises(ValueError, match=r"images must be those that were explained, got .*, and the masks are \(2, 2, 20, 24\)"):
        small.explain().evidence(images)


def test_a_point_in_a_run_with_a_reference() -> None:
    config = dataclasses.replace(small.CONFIG, perturbation="reference")
    reference = 0 * small.IMAGES
    found = small.explain(config=config, reference=reference)
    assert found.point(small.IMAGES, reference=reference).shape == (2, 2)
    with pytest.raises(ValueError, match="reference must be the image that the perturbation led to"):
        found.point(small.IMAGES)


def test_a_point_stays_near_the_peak_where_there_is_no_evidence() -> None:
    found = small.explain(config=dataclasses.replace(small.CONFIG, perturbation="fade"))
    for saliency, (row, column) in zip(found.saliency(), found.point(0 * small.IMAGES), strict=True):
        assert saliency[row, column] >= 0.8 * saliency.max()


def test_evidence_of_a_photograph_of_bytes() -> None:
    """Whose differences would wrap around; a list of rows will do as well."""
    y, x = np.mgrid[:40, :40]
    image = np.repeat((128 + 120 * np.sin(x / 3) * np.cos(y / 4))[..., None], 3, axis=-1).astype(np.uint8)
    disc = planted((np.hypot(y - 20, x - 20) < 10)[None], Config(max_blur=12.0))
    expected = disc.evidence(image.astype(np.float32))
    np.testing.assert_allclose(disc.evidence(image), expected, rtol=1e-4, atol=1e-4)
    assert disc.point(image.tolist()).tolist() == disc.point(image.astype(np.float32)).tolist()


def test_a_smoothing_that_is_negative_is_refused() -> None:
    with pytest.raises(ValueError, match="smooth must be zero or a positive number, a share of the shorter side, got -1"):
        small.explain().saliency(-1)
