"""The smallest sufficient area."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
from extremal_jax import Config
from extremal_jax.extremal.smallest_area import _from_neighbours
from extremal_jax.graph import functional
from extremal_jax.operators.perturbations import blur_pyramid, perturb
from small import CONFIG, IMAGES, LAYER, MAX_BLUR, MODEL

TARGETS = np.asarray(MODEL(IMAGES)).argmax(axis=1)
WHOLE = np.asarray(MODEL(IMAGES))[[0, 1], TARGETS]  # positive
AREAS = (0.1, 0.4)


def run(images: Any = IMAGES, targets: Any = TARGETS, areas: Any = AREAS, **options: Any) -> Any:
    return ej.smallest_area(MODEL, images, targets, areas, **dict[str, Any](config=CONFIG, resolution=0.6, threshold=0.5) | options)


def light(images: Any) -> Any:
    """The light of the lowest fifth of the rows, of which a mask of area a can keep 5 a, and the darkness of all."""
    return 1e3 * jnp.stack([images[:, -6:].mean((1, 2, 3)), -images.mean((1, 2, 3))], axis=1)


LIT = np.ones((1, 30, 30, 3), np.float32)
FADE = Config(num_steps=30, perturbation="fade", pitch=2, sigma=2.0, jitter=False)


@pytest.fixture(scope="module")
def lit() -> Any:
    return ej.smallest_area(light, LIT, 0, threshold=0.5, areas=(0.05, 0.2, 0.4), resolution=0.1, nested=True, config=FADE)


def test_finds_the_area_where_it_is_known(lit: Any) -> None:
    """Half the light needs a tenth of the image, and a mask with a soft edge a little more."""
    assert lit.reached.tolist() == [True]
    assert 0.1 <= float(lit.areas[0]) < 0.135
    assert float(lit.responses[0]) >= 500
    np.testing.assert_allclose(lit.wanted, 500, rtol=1e-6)
    np.testing.assert_allclose(lit.image_responses, 1000, rtol=1e-6)


def test_starts_where_the_settings_say() -> None:
    config = dataclasses.replace(FADE, num_steps=1, learning_rate=0.0, start=0.25)
    still = ej.smallest_area(light, LIT, 0, response=np.float32(1e9), areas=(0.5,), resolution=1.0, config=config)
    np.testing.assert_array_equal(still.params, 0.25)


def test_the_area_is_within_the_resolution_of_one_that_does_not_suffice(lit: Any) -> None:
    curve = lit.curve
    short = curve.areas[curve.responses < 500]
    assert short.max() < lit.areas[0] <= 1.1 * short.max() * (1 + 1e-5)
    assert np.all(np.diff(curve.areas) >= 0)
    assert set(np.array([0.05, 0.2, 0.4], np.float32)) <= set(np.asarray(curve.areas[0]))


def test_nested_masks_of_a_search(lit: Any) -> None:
    """The lowest fifth, with all the light, comes first; the rest follows."""
    ranking = np.asarray(lit.ranking())
    assert ranking.shape == (1, 30, 30)
    assert sorted(ranking.ravel()) == list(range(900))
    assert (ranking[0, -6:] < 180).mean() > 0.8
    smallest = np.asarray(lit.curve.areas).min()
    assert (ranking[0, -6:] < round(smallest * 900)).sum() == round(smallest * 900)
    np.testing.assert_array_equal(lit[0].ranking(), ranking[0])


def test_only_the_whole_image_suffices() -> None:
    result = ej.smallest_area(light, LIT, 0, areas=(0.05, 0.1, 0.15), resolution=10.0, config=FADE)
    assert result.reached.tolist() == [True]
    assert result.areas.tolist() == [1]
    np.testing.assert_array_equal(result.masks, 1)
    np.testing.assert_array_equal(result.responses, result.image_responses)


def test_a_soft_mask_that_is_too_large_is_cut_down() -> None:
    """Without the projection, masks exceed small areas, and would excite more than their area can."""
    config = dataclasses.replace(FADE, exact_area=False, num_steps=10, pitch=5, sigma=5.0)
    free = ej.extremal_perturbation(light, LIT, 0, (0.02,), config=config)
    assert free.areas[0, 0] > 0.03
    result = ej.smallest_area(light, LIT, 0, response=1.0, areas=(0.02,), resolution=60.0, config=config)
    np.testing.assert_allclose(result.areas, 0.02, rtol=1e-5)
    np.testing.assert_allclose(result.masks.mean(), 0.02, atol=1e-4)
    assert result.responses[0] < free.rewards[0, 0]


def test_masks_have_their_area_and_their_responses() -> None:
    result = run()
    for i in range(2):
        assert result.reached[i]
        np.testing.assert_allclose(result.masks[i].mean(), result.areas[i], atol=1e-4)
        pyramid = blur_pyramid(jnp.asarray(IMAGES[i]), CONFIG.num_levels, MAX_BLUR)
        n = result.masks[i].size
        binary = np.zeros(n, np.float32)
        binary[np.argsort(result.masks[i], axis=None, kind="stable")[n - round(float(result.areas[i]) * n) :]] = 1
        for mask, response in ((result.masks[i], result.responses[i]), (binary.reshape(20, 24), result.binary_responses[i])):
            np.testing.assert_allclose(response, MODEL(perturb(pyramid, jnp.asarray(mask)[None]))[0, TARGETS[i]], rtol=1e-3, atol=1e-3)


def test_the_smallest_area_of_the_sweep_suffices() -> None:
    result = run(response=-1e3)
    np.testing.assert_allclose(result.areas, AREAS[0], rtol=1e-5)


def test_no_area_suffices() -> None:
    result = run(response=np.array([1e3, 0.5 * WHOLE[1]]))
    assert result.reached.tolist() == [False, True]
    assert np.isnan(result.areas[0])
    assert np.isfinite(result.areas[1])
    np.testing.assert_allclose(result.responses[0], np.nanmax(result.curve.responses[0]))
    assert result.status.ok


def test_threshold_is_a_share_of_the_response_to_the_image() -> None:
    half, more = run(), run(threshold=1.5)
    np.testing.assert_allclose(half.wanted, 0.5 * WHOLE, rtol=1e-5)
    np.testing.assert_allclose(more.wanted, 1.5 * WHOLE, rtol=1e-5)
    np.testing.assert_allclose(run(response=0.5 * WHOLE).areas, half.areas, rtol=1e-6)


def test_binary_masks_may_decide() -> None:
    """In either case, the area is the smallest one tried whose own response suffices."""
    for result, name in ((run(), "responses"), (run(binary=True), "binary_responses")):
        values, wanted = np.asarray(getattr(result.curve, name)), np.asarray(result.wanted)[:, None]
        assert result.reached.all()
        assert np.all(np.asarray(getattr(result, name)) >= wanted[:, 0])
        smaller = np.asarray(result.curve.areas) < np.asarray(result.areas)[:, None] * (1 - 1e-6)
        assert not (smaller & (values >= wanted)).any()


def test_resolution_and_progress() -> None:
    seen: list[Any] = []
    fine = run(resolution=0.1, progress=seen.append)
    coarse = run(resolution=2.0)
    assert coarse.curve.areas.shape == (2, 3)
    assert fine.curve.areas.shape == (2, 6)  # ln 4 halved four times is below ln 1.1
    assert [p.step for p in seen] == sorted(p.step for p in seen)
    assert {p.num_steps for p in seen} == {4 + 4 * 2} == {seen[-1].step}


def test_responses_of_any_game_are_those_to_the_kept_pixels() -> None:
    deleted = run(config=dataclasses.replace(CONFIG, game="dual"), resolution=10.0)
    assert not np.array_equal(deleted.masks, run(resolution=10.0).masks)
    pyramid = blur_pyramid(jnp.asarray(IMAGES[0]), CONFIG.num_levels, MAX_BLUR)
    np.testing.assert_allclose(deleted.responses[0], MODEL(perturb(pyramid, deleted.masks[:1]))[0, TARGETS[0]], rtol=1e-3, atol=1e-3)
    assert deleted.status.ok


def close(a: Any, b: Any) -> None:
    for name in ("areas", "reached", "masks", "responses", "wanted", "image_responses"):  # binary masks jump by rounding
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-3, rtol=1e-3, err_msg=name)
    assert a.curve.areas.shape == b.curve.areas.shape


def test_a_batch_is_a_loop_in_chunks() -> None:
    close(run(IMAGES[1], TARGETS[1], chunk_size=1), run()[1])
    assert len(run()) == 2


def test_inside_jit() -> None:
    sweep = functools.partial(run, resolution=10.0)  # without bisection
    close(jax.jit(sweep)(IMAGES), sweep())


def test_at_a_layer(lit: Any) -> None:
    """Masks of an activation of another shape than the image."""

    def coarse(images: Any) -> Any:
        return light(checkpoint_name(images[:, ::2, ::2].repeat(3, axis=1)[:, :30], "coarse"))

    config = dataclasses.replace(FADE, num_steps=2, pitch=1)
    result = ej.smallest_area(coarse, LIT, 0, at="coarse", threshold=0.5, areas=(0.5,), resolution=10.0, config=config)
    assert result.masks.shape == (1, 30, 15)
    assert (result.at, lit.at) == ("coarse", None)
    np.testing.assert_allclose(result.masks.mean(), result.areas[0], atol=1e-4)


def test_key_and_reference_are_used() -> None:
    np.testing.assert_array_equal(run(key=jax.random.key(4)).masks, run(key=jax.random.key(4)).masks)
    assert not np.array_equal(run(key=jax.random.key(4)).masks, run(key=jax.random.key(5)).masks)
    config = dataclasses.replace(CONFIG, perturbation="reference")
    assert not np.array_equal(*(run(config=config, reference=value * IMAGES, resolution=10.0).curve.responses for value in (0.0, 0.5)))


def test_settings_of_the_last_update_hold_here_too() -> None:
    last, before = (run(config=dataclasses.replace(CONFIG, final_update=final), resolution=10.0) for final in (True, False))
    assert not np.array_equal(last.masks, before.masks)


def test_other_numbers_compile_nothing(compilations: list[str]) -> None:
    run(response=1.0)
    del compilations[:]
    run(IMAGES[::-1].copy(), response=1.0)
    run(response=2.0)
    assert not compilations


@pytest.mark.parametrize("at", [None, LAYER])
def test_the_model_is_parted_once(monkeypatch: pytest.MonkeyPatch, at: Any) -> None:
    calls: list[Any] = []

    def partition(*arguments: Any) -> Any:
        calls.append(arguments)
        return functional.partition(*arguments)

    monkeypatch.setattr("extremal_jax.boundary.models.partition", partition)
    run(at=at, config=dataclasses.replace(CONFIG, num_steps=1), response=1.0, resolution=10.0)
    assert len(calls) == 1


@pytest.mark.parametrize(("chunk_size", "traces"), [(None, 2), (1, 1)])
def test_a_closure_is_traced_once_for_each_number_of_rows(chunk_size: Any, traces: int) -> None:
    calls = []

    def model(images: Any) -> Any:
        calls.append(images.shape)
        return MODEL(images)

    config = dataclasses.replace(CONFIG, num_steps=1)
    ej.smallest_area(model, IMAGES, TARGETS, AREAS, response=1.0, resolution=10.0, config=config, chunk_size=chunk_size)
    assert len(calls) == traces


@pytest.mark.parametrize("threshold", [0, -1.0, np.nan, np.inf])
def test_thresholds_that_are_not_positive_and_finite(threshold: Any) -> None:
    with pytest.raises(ValueError, match="threshold must be a positive, finite number, got"):
        run(threshold=threshold)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(response=np.nan), "response must be finite"),
        (dict(response=[1.0, 2.0, 3.0]), r"response must be one number, or one for each of the images, \(2,\), got the shape \(3,\)"),
        (dict(resolution=0.0), "resolution must be a positive"),
        (dict(areas=(0.1, 2)), r"areas must be shares of the image in \(0, 1\], got 2"),
        (dict(areas=[[0.1], [0.2]]), r"areas must have the shape \(K,\)"),
    ],
)
def test_errors(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_a_share_of_a_response_that_is_not_positive() -> None:
    with pytest.raises(ValueError, match=r"the response to image 0 is -1000 \(and to 1 more\), .*pass `response`"):
        ej.smallest_area(light, np.concatenate([LIT, LIT]), 1, areas=(0.1,), config=FADE)
    with pytest.raises(ValueError, match=r"the response to the image is -1000, and a share"):
        ej.smallest_area(light, LIT[0], 1, areas=(0.1,), config=FADE)


def test_errors_of_results() -> None:
    with pytest.raises(ValueError, match=r"there is no ranking .* smallest_area\(\.\.\., nested=True\)"):
        run().ranking()
    with pytest.raises(IndexError, match="this result is of 2 images, got the index 2"):
        run()[2]
    with pytest.raises(TypeError, match="areas must be known numbers, not traced"):
        jax.eval_shape(lambda areas: run(areas=areas).areas, np.array(AREAS, np.float32))


@pytest.mark.parametrize("ramp", [np.geomspace(0.15, 0.02, 4), lambda step: 0.15 * 0.5**step], ids=["values", "function"])
def test_a_ramp_given_for_each_step(ramp: Any) -> None:
    """Masks that start from a neighbour take fewer steps, and end with the same width."""
    config = dataclasses.replace(CONFIG, ramp=ramp)
    shorter = _from_neighbours(config)
    assert shorter.num_steps < config.num_steps
    assert shorter.schedules()["ramp"][-1] == pytest.approx(config.schedules()["ramp"][-1])
    assert run(config=config).status.ok
