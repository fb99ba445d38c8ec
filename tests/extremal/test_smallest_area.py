"""The smallest sufficient area, and nested masks."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import small
from extremal_jax import Config
from extremal_jax.operators.perturbations import blur_pyramid, perturb
from extremal_jax.perturbation import monotone_fraction, rank_pixels

IMAGES, MODEL = small.images(), small.model()
TARGETS = np.asarray(MODEL(IMAGES)).argmax(axis=1)
AREAS = (0.1, 0.4)
QUICK = Config(num_steps=5, pitch=4, sigma=4.0, num_levels=4, max_blur=4.0)
WHOLE = np.asarray(MODEL(IMAGES))[[0, 1], TARGETS]  # positive


def run(images=IMAGES, targets=TARGETS, model=MODEL, config=QUICK, areas=AREAS, **options):
    options = dict(resolution=0.6, threshold=0.5) | options
    return ej.smallest_area(model, images, targets, areas=areas, config=config, **options)


def light(images):
    """The light of the lowest fifth of the rows, of which a mask of area a can keep 5 a, and the darkness of all."""
    return 1e3 * jnp.stack([images[:, -6:].mean((1, 2, 3)), -images.mean((1, 2, 3))], axis=1)


LIT = np.ones((1, 30, 30, 3), np.float32)
FADE = Config(num_steps=30, perturbation="fade", pitch=2, sigma=2.0, jitter=False)


@pytest.fixture(scope="module")
def lit():
    return ej.smallest_area(light, LIT, 0, threshold=0.5, areas=(0.05, 0.2, 0.4), resolution=0.1, nested=True, config=FADE)


def test_finds_the_area_where_it_is_known(lit):
    """Half the light needs a tenth of the image, and a mask with a soft edge a little more."""
    assert lit.reached.tolist() == [True]
    assert 0.1 <= float(lit.areas[0]) < 0.135
    assert float(lit.responses[0]) >= 500
    np.testing.assert_allclose(lit.wanted, 500, rtol=1e-6)
    np.testing.assert_allclose(lit.image_responses, 1000, rtol=1e-6)


def test_the_area_is_within_the_resolution_of_one_that_does_not_suffice(lit):
    curve = lit.curve
    short = curve.areas[curve.responses < 500]
    assert short.max() < lit.areas[0] <= 1.1 * short.max() * (1 + 1e-5)
    assert np.all(np.diff(curve.areas) >= 0)
    assert set(np.float32([0.05, 0.2, 0.4])) <= set(np.asarray(curve.areas[0]))


def test_the_mask_is_of_the_area_and_what_the_model_answered():
    result = run()
    for i in range(2):
        assert result.reached[i]
        np.testing.assert_allclose(result.masks[i].mean(), result.areas[i], atol=1e-4)
        pyramid = blur_pyramid(jnp.asarray(IMAGES[i]), 4, 4.0)
        n = result.masks[i].size
        binary = np.zeros(n, np.float32)
        binary[np.argsort(result.masks[i], axis=None, kind="stable")[n - round(float(result.areas[i]) * n) :]] = 1
        for mask, response in ((result.masks[i], result.responses[i]), (binary.reshape(20, 24), result.binary_responses[i])):
            np.testing.assert_allclose(response, MODEL(perturb(pyramid, jnp.asarray(mask)[None]))[0, TARGETS[i]], rtol=1e-3, atol=1e-3)


def test_a_soft_mask_that_is_too_large_is_cut_down():
    """Without the projection, masks exceed small areas, and would excite more than their area can."""
    config = dataclasses.replace(FADE, exact_area=False, num_steps=10, pitch=5, sigma=5.0)
    free = ej.extremal_perturbation(light, LIT, 0, (0.02,), config=config)
    assert free.areas[0, 0] > 0.03
    result = ej.smallest_area(light, LIT, 0, response=1.0, areas=(0.02,), resolution=60.0, config=config)
    np.testing.assert_allclose(result.areas, 0.02, rtol=1e-5)
    np.testing.assert_allclose(result.masks.mean(), 0.02, atol=1e-4)
    assert result.responses[0] < free.rewards[0, 0]


def test_what_suffices_at_the_smallest_area():
    result = run(response=-1e3)
    np.testing.assert_allclose(result.areas, AREAS[0], rtol=1e-5)


def test_where_only_the_whole_image_suffices():
    result = ej.smallest_area(light, LIT, 0, areas=(0.05, 0.1, 0.15), resolution=10.0, config=FADE)
    assert result.reached.tolist() == [True]
    assert result.areas.tolist() == [1]
    np.testing.assert_array_equal(result.masks, 1)
    np.testing.assert_array_equal(result.responses, result.image_responses)


def test_what_no_area_reaches():
    result = run(response=np.array([1e3, 0.5 * WHOLE[1]]))
    assert result.reached.tolist() == [False, True]
    assert np.isnan(result.areas[0])
    assert np.isfinite(result.areas[1])
    best = np.nanmax(result.curve.responses[0])
    np.testing.assert_allclose(result.responses[0], best)
    assert result.status.ok


def test_threshold_is_a_share_of_the_response_to_the_image():
    half, more = run(), run(threshold=1.5)
    np.testing.assert_allclose(half.wanted, 0.5 * WHOLE, rtol=1e-5)
    np.testing.assert_allclose(more.wanted, 1.5 * WHOLE, rtol=1e-5)
    np.testing.assert_allclose(run(response=0.5 * WHOLE).areas, half.areas, rtol=1e-6)


def test_binary_masks_may_decide():
    """At an image where the two differ, each decides for itself."""
    soft, binary = run(), run(binary=True)
    for result, name in ((soft, "responses"), (binary, "binary_responses")):
        values, wanted = np.asarray(getattr(result.curve, name)), np.asarray(result.wanted)[:, None]
        assert result.reached.all()
        assert np.all(np.asarray(getattr(result, name)) >= wanted[:, 0])
        chosen = np.asarray(result.curve.areas) < np.asarray(result.areas)[:, None] * (1 - 1e-6)
        assert not (chosen & (values >= wanted)).any()


def test_resolution_and_progress():
    seen = []
    fine = run(resolution=0.1, progress=seen.append)
    coarse = run(resolution=2.0)
    assert coarse.curve.areas.shape == (2, 3)
    assert fine.curve.areas.shape == (2, 6)  # ln 4 halved four times is below ln 1.1
    assert [p.step for p in seen] == sorted(p.step for p in seen)
    assert {p.num_steps for p in seen} == {5 + 4 * 2} == {seen[-1].step}


def test_games_are_judged_by_what_the_mask_keeps():
    deleted = run(config=dataclasses.replace(QUICK, game="delete"), resolution=10.0)
    assert not np.array_equal(deleted.masks, run(resolution=10.0).masks)
    pyramid = blur_pyramid(jnp.asarray(IMAGES[0]), 4, 4.0)
    np.testing.assert_allclose(deleted.responses[0], MODEL(perturb(pyramid, deleted.masks[:1]))[0, TARGETS[0]], rtol=1e-3, atol=1e-3)


def test_a_batch_is_a_loop_in_chunks_and_under_jit():
    sweep = functools.partial(run, resolution=10.0)  # without rounds of bisection
    whole = sweep()

    def close(a, b):
        for name in ("areas", "reached", "masks", "responses", "wanted", "image_responses"):  # binary masks jump by rounding
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-3, rtol=1e-3, err_msg=name)
        assert a.curve.areas.shape == b.curve.areas.shape

    close(run(IMAGES[1], TARGETS[1]), run()[1])
    close(sweep(chunk_size=1), whole)
    close(jax.jit(sweep)(IMAGES), whole)
    assert len(whole) == 2


def test_at_a_layer(lit):
    """Masks of an activation that is half the image's size."""

    def coarse(images):
        return light(checkpoint_name(images[:, ::2, ::2].repeat(3, axis=1)[:, :30], "coarse"))

    config = dataclasses.replace(FADE, num_steps=2, pitch=1)
    result = ej.smallest_area(coarse, LIT, 0, at="coarse", threshold=0.5, areas=(0.5,), resolution=10.0, config=config)
    assert result.masks.shape == (1, 30, 15)
    assert (result.at, lit.at) == ("coarse", None)
    np.testing.assert_allclose(result.masks.mean(), result.areas[0], atol=1e-4)


def test_key_and_reference_are_used():
    assert np.array_equal(run(key=jax.random.key(4)).masks, run(key=jax.random.key(4)).masks)
    assert not np.array_equal(run(key=jax.random.key(4)).masks, run(key=jax.random.key(5)).masks)
    config = dataclasses.replace(QUICK, perturbation="reference")
    assert not np.array_equal(*(run(config=config, reference=value * IMAGES, resolution=10.0).curve.responses for value in (0.0, 0.5)))


def test_other_numbers_compile_nothing(compilations):
    run(response=1.0)
    del compilations[:]
    run(IMAGES[::-1].copy(), response=1.0)
    run(response=2.0)
    assert not compilations


@pytest.mark.parametrize("threshold", [0, -1.0, np.nan, np.inf])
def test_thresholds_that_say_nothing(threshold):
    with pytest.raises(ValueError, match="threshold must be a positive, finite number, got"):
        run(threshold=threshold)


def test_errors():
    with pytest.raises(ValueError, match=r"the response to image 0 is -1000 .*give `response`"):
        ej.smallest_area(light, np.concatenate([LIT, 0 * LIT]), 1, config=FADE)
    with pytest.raises(ValueError, match=r"the response to the image is -1000, and a share"):
        ej.smallest_area(light, LIT[0], 1, config=FADE)
    with pytest.raises(ValueError, match="response must be finite"):
        run(response=np.nan)
    with pytest.raises(ValueError, match=r"response must be one number, or one for each of the images, \(2,\), got the shape \(3,\)"):
        run(response=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="resolution must be a positive"):
        run(resolution=0.0)
    with pytest.raises(ValueError, match="chunk_size must be a whole number, at least 1, got 0"):
        run(chunk_size=0)
    with pytest.raises(ValueError, match=r"reference must have the shape of the images or of one of them"):
        run(reference=np.ones((8, 8, 3), np.float32))
    with pytest.raises(ValueError, match=r"there is no ranking .* smallest_area\(\.\.\., nested=True\)"):
        run().ranking()
    with pytest.raises(ValueError, match=r"areas must be shares of the image in \(0, 1\], got 2"):
        run(areas=(0.1, 2))
    with pytest.raises(IndexError, match="this result is of 2 images, got the index 2"):
        run()[2]


def test_nested_masks_of_a_search(lit):
    """The lowest fifth comes first, where all the light is; the rest follows."""
    ranking = np.asarray(lit.ranking())
    assert ranking.shape == (1, 30, 30)
    assert sorted(ranking.ravel()) == list(range(900))
    assert (ranking[0, -6:] < 180).mean() > 0.8
    smallest = np.asarray(lit.curve.areas).min()
    assert (ranking[0, -6:] < round(smallest * 900)).sum() == round(smallest * 900)
    np.testing.assert_array_equal(lit[0].ranking(), ranking[0])


def test_monotone_fraction():
    curves = np.array([[1.0, 2.0, 2.0], [1.0, 3.0, 2.0], [3.0, 2.0, 4.0], [0.0, 1.0, 5.0]])
    assert monotone_fraction(curves) == 0.5
    assert monotone_fraction(curves, tolerance=1.0) == 1.0
    assert monotone_fraction(curves[1]) == 0.0


def random_masks(num_masks=3, n=60):
    rng = np.random.default_rng(0)
    return jnp.asarray(np.round(rng.random((num_masks, n), np.float32), 1)), jnp.array([0.5, 0.1, 0.25])


def test_nested_masks_contain_each_other_and_have_exact_areas():
    masks, areas = random_masks()
    order = np.asarray(rank_pixels(masks, areas, jnp.zeros(60)))
    assert sorted(order) == list(range(60))
    first = order < 6
    assert np.asarray(masks[1])[first].min() >= np.asarray(masks[1])[~first].max()
    second = order < 15  # the smallest, and the best of the next among the rest
    rest = np.asarray(masks[2])
    assert rest[second & ~first].min() >= rest[~second].max()
    for a, b in ((0, 6), (6, 15), (15, 30)):  # within a level, by value
        mask = np.asarray(masks[{0: 1, 6: 2, 15: 0}[a]])
        values = mask[np.argsort(order)[a:b]]
        assert np.all(np.diff(values) <= 0)


def test_importance_decides_between_equals():
    importance = jnp.asarray(np.random.default_rng(1).random(60), jnp.float32)
    order = np.asarray(rank_pixels(jnp.ones((1, 60)), jnp.array([1.0]), importance))
    np.testing.assert_array_equal(order, np.argsort(np.argsort(-np.asarray(importance))))


def test_ranking_of_a_result(classifier, images, targets):
    """One map for all areas, and little is lost: nested masks excite the target almost as much as free ones."""
    areas = (0.2, 0.05, 0.1)
    result = ej.extremal_perturbation(classifier, images, targets, areas, config=Config(num_steps=20))
    ranking = np.asarray(result.ranking())
    assert ranking.shape == (2, 128, 128)
    np.testing.assert_array_equal(ranking[0], result[0].ranking())
    nested = np.stack([ranking < round(a * 128 * 128) for a in areas], axis=1)
    free = np.asarray(result.binary_masks())
    np.testing.assert_array_equal(nested[:, 1], free[:, 1])
    assert np.all(nested[:, 1] <= nested[:, 2])
    assert np.all(nested[:, 2] <= nested[:, 0])
    pyramids = [blur_pyramid(jnp.asarray(image), 8, result.config.max_blur) for image in images]

    def responses(masks):
        return np.array(
            [classifier(perturb(p, jnp.asarray(m, jnp.float32)))[:, t] for p, m, t in zip(pyramids, masks, targets, strict=True)]
        )

    assert responses(nested).mean() > 0.95 * responses(free).mean()
