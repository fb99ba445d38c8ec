"""The tests of maps on what is not an image: against loops, and with the laws of tests/evaluation/faithfulness."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import planted

evaluation: Any = ej.evaluation  # called wrongly below, as type checkers would say
TESTS: dict[str, Any] = {
    "insertion": functools.partial(evaluation.insertion, num_steps=5, score="logit", baseline=0.0),
    "deletion": functools.partial(evaluation.deletion, num_steps=5, score="logit"),
    "pixel_flipping": functools.partial(evaluation.pixel_flipping, cell=3),
    "reward_at_areas": functools.partial(evaluation.reward_at_areas, areas=(0.1, 0.3), edge="sharp", baseline="mean"),
    "area_response": functools.partial(evaluation.area_response, areas=(0.1, 0.3, 1.0), score="logit", baseline=0.0),
}
each_case = pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in TESTS for kind in ("series", "video")])
each_kind = pytest.mark.parametrize("kind", ["series", "video", "stations", "moments"])


def good(kind: str) -> np.ndarray:
    """Maps that are highest on the evidence, without ties."""
    noise = np.random.default_rng(2).random((2, *planted.sides(kind)))
    return (planted.truth(kind) + 0.5 * noise).astype(np.float32)


def evaluate(name: str, kind: str, inputs: Any = None, maps: Any = None, **options: Any) -> Any:
    inputs, maps = planted.data(kind) if inputs is None else inputs, good(kind) if maps is None else maps
    found = TESTS[name](planted.model(kind), inputs, 0, maps, axes=planted.KINDS[kind], **options)
    return found if name == "reward_at_areas" else found.scores


usual = functools.cache(evaluate)


def masks_of(kind: str, kept: np.ndarray) -> np.ndarray:
    """Masks (N, *sides) at the axes of the inputs."""
    others = [1 + place for place, axis in enumerate(planted.KINDS[kind]) if not axis.masked]
    return np.expand_dims(kept, tuple(others))


def highest(kind: str, count: int) -> np.ndarray:
    """The `count` highest places of each map."""
    flat = good(kind).reshape(2, -1)
    ranks = np.argsort(np.argsort(-flat, axis=1), axis=1)
    return (ranks < count).reshape(2, *planted.sides(kind))


@each_kind
def test_curves_against_a_loop(kind: str) -> None:
    inputs, model = planted.data(kind), planted.model(kind)
    total = int(np.prod(planted.sides(kind)))
    for name, inserting in (("insertion", True), ("deletion", False)):
        for step, scores in enumerate(np.asarray(usual(name, kind)).T):
            turned = masks_of(kind, highest(kind, total * step // 5))
            np.testing.assert_allclose(scores, model(np.where(turned == inserting, inputs, 0))[:, 0], rtol=1e-4, atol=1e-5)


@each_kind
def test_rewards_against_a_loop(kind: str) -> None:
    inputs, axes = planted.data(kind), planted.KINDS[kind]
    smooth = tuple(1 + place for place, axis in enumerate(axes) if axis.masked and axis.smooth)
    mean = inputs.mean(axis=smooth, keepdims=True)
    for area, rewards in zip((0.1, 0.3), np.asarray(usual("reward_at_areas", kind)).T, strict=True):
        kept = masks_of(kind, highest(kind, round(area * np.prod(planted.sides(kind)))))
        np.testing.assert_allclose(rewards, planted.model(kind)(np.where(kept, inputs, mean))[:, 0], rtol=1e-4)


def test_cells_have_a_side_for_each_axis() -> None:
    """A number holds along time, and features flip one by one. Against a loop."""
    series, model, maps = planted.data("series", 1)[0], planted.model("series"), good("series")[0]
    for cell, sides in ((5, (5, 1)), ((4, 2), (4, 2))):
        cells = [(slice(t, t + sides[0]), slice(f, f + sides[1])) for t in range(0, 24, sides[0]) for f in range(0, 3, sides[1])]
        shown, scores = series.copy(), [model(series[None])[0, 0]]
        for place in sorted(cells, key=lambda place: -maps[place].sum()):
            shown[place] = 0
            scores.append(model(shown[None])[0, 0])
        curve = evaluation.pixel_flipping(model, series, 0, maps, axes="series", cell=cell)
        np.testing.assert_allclose(curve.scores, scores, rtol=1e-4, atol=1e-5)


@each_case
def test_a_batch_is_a_loop_inside_jit_and_vmap(name: str, kind: str) -> None:
    mapped = jax.jit(jax.vmap(lambda one, own: evaluate(name, kind, one, own)))(planted.data(kind), good(kind))
    np.testing.assert_allclose(mapped, usual(name, kind), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TESTS)
def test_chunks_are_the_whole_and_good_maps_win(name: str) -> None:
    np.testing.assert_allclose(evaluate(name, "series", chunk_size=3), usual(name, "series"), rtol=1e-4, atol=1e-5)
    bad = np.asarray(evaluate(name, "series", maps=-good("series")))
    better = np.asarray(usual(name, "series")).mean(axis=-1) > bad.mean(axis=-1)
    assert (better if name not in ("deletion", "pixel_flipping") else ~better).all()


def test_rise_shows_as_many_places_a_step_as_a_time_has() -> None:
    shares = [
        len(evaluation.deletion(planted.model(kind), planted.data(kind), 0, good(kind), axes=kind).shares) for kind in ("series", "video")
    ]
    assert shares == [25, 7]


def test_blur_and_feathers_follow_the_axes() -> None:
    """Features are not blurred into one another: where one feature holds the evidence, the others' level stays."""
    series = planted.data("series")

    def others(x: Any) -> Any:
        return x[:, :, [0, 2]].mean(axis=(1, 2))[:, None]

    options: Any = dict(axes="series", areas=(0.2,))
    blurred = evaluation.reward_at_areas(others, series, 0, good("series"), blur=0.3, **options)
    np.testing.assert_allclose(blurred[:, 0], series[:, :, [0, 2]].mean(axis=(1, 2)), rtol=0.05)
    soft, sharp = (
        evaluation.reward_at_areas(planted.model("series"), series, 0, good("series"), edge=edge, **options)
        for edge in ("feathered", "sharp")
    )
    assert np.abs(soft - sharp).max() > 1e-3
    half = good("video")[:, ::2, ::2, ::2]
    assert evaluation.reward_at_areas(planted.model("video"), planted.data("video"), 0, half, (0.1,), axes="video").shape == (2, 1)


@each_kind
def test_localisation(kind: str) -> None:
    """Against NumPy; the points of good maps hit."""
    maps, truth = good(kind), planted.truth(kind)
    regions, axes, size = np.stack([truth, truth]), planted.KINDS[kind], int(truth.sum())
    inside = maps[:, truth].sum(axis=1)
    np.testing.assert_allclose(evaluation.energy(maps, regions, axes=axes), inside / maps.reshape(2, -1).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(evaluation.relevance_mass(maps, regions, axes=axes), inside / maps.reshape(2, -1).sum(axis=1), rtol=1e-5)
    assert evaluation.relevance_rank(maps, regions, axes=axes).tolist() == [1, 1]
    assert evaluation.iou(maps, regions, axes=axes).tolist() == [1, 1]
    np.testing.assert_allclose(evaluation.iou(maps[0], truth, 0.5 * truth.mean(), axes=axes), round(0.5 * size) / size, rtol=1e-5)
    points = evaluation.highest_point(maps, axes=axes)
    assert points.tolist() == [list(np.unravel_index(one.argmax(), one.shape)) for one in maps]
    assert evaluation.is_hit(points, regions, 1, axes=axes).all()


def test_hits_have_a_tolerance_for_each_axis() -> None:
    region = np.zeros((24, 3), bool)
    region[10, 1] = True
    hit = functools.partial(evaluation.is_hit, regions=region, axes="series")
    assert [bool(hit([time, 1], tolerance=4)) for time in (6, 7, 13, 14)] == [False, True, True, False]
    assert not bool(hit([10, 2], tolerance=4))
    assert bool(hit([10, 2], tolerance=(4, 2)))
    assert not bool(hit([13, 2], tolerance=(4, 1.5)))
    assert not bool(hit([-1, 1], tolerance=24))


SERIES, MAP = planted.data("series", 1)[0], good("series")[0]
MODEL = planted.model("series")
REFUSALS: dict[str, tuple[Any, str]] = {
    "maps": (
        lambda: evaluation.insertion(MODEL, SERIES, 0, MAP[:, 0], axes="series"),
        r"maps must have the shape of the images, \(24, 3\), got \(24,\)",
    ),
    "rank": (
        lambda: evaluation.deletion(MODEL, SERIES[None, None, None], 0, MAP, axes="series"),
        r"\(time, feature\) or \(N, time, feature\)",
    ),
    "cell": (
        lambda: evaluation.pixel_flipping(MODEL, SERIES, 0, MAP, axes="series", cell=(2, 2, 2)),
        r"cell must be a number of places, or \(time, feature\)",
    ),
    "side": (
        lambda: evaluation.pixel_flipping(MODEL, SERIES, 0, MAP, axes="series", cell=(2, 0)),
        "cell must be a whole number, at least 1, got 0",
    ),
    "features": (
        lambda: evaluation.reward_at_areas(MODEL, SERIES, 0, MAP[:, :2], (0.1,), axes="series"),
        "maps must have the 3 places of the images along an axis that is not smooth, got 2",
    ),
    "both": (
        lambda: evaluation.area_response(MODEL, SERIES, 0, MAP, axes="series", blur=0.2, baseline="mean"),
        "pass either blur or baseline, got both, 0.2 and 'mean'",
    ),
    "masks": (
        lambda: evaluation.reward_at_areas(MODEL, SERIES, 0, MAP[0], (0.1, 0.2), axes="series"),
        r"maps must have the shape \(time, feature\) or \(2, time, feature\)",
    ),
    "regions": (
        lambda: evaluation.energy(MAP, MAP[0] > 0, axes="series"),
        r"regions must have the shape \(N, time, feature\) or \(time, feature\)",
    ),
    "points": (lambda: evaluation.is_hit([1], MAP > 0, axes="series"), r"points must be \(time, feature\) for each region, \(2,\)"),
    "tolerance": (
        lambda: evaluation.is_hit([1, 1], MAP > 0, (1, 2, 3), axes="series"),
        "tolerance must be a number, or one for each of time, feature",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.usefixtures("unchecked")
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
