"""The methods on what is not an image: they point at what was planted, and keep the laws of tests/attribution/test_attribution_laws.py."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import planted
from attribution_cases import KEY
from extremal_jax.attribution import METHODS
from extremal_jax.attribution.rise import draw, enlarge

attribution: Any = ej.attribution  # called wrongly below, as type checkers would say
OF_AXES = [name for name, method in METHODS.items() if method.axes]
QUICK: dict[str, dict[str, Any]] = {
    "extremal_perturbation": dict(areas=(0.1,), config=ej.Config(num_steps=2, perturbation="fade", smoothing=0, feather=0)),
    "integrated_gradients": dict(num_steps=3),
    "smooth_grad": dict(num_samples=3, noise=0.1, key=KEY),
    "rise": dict(num_masks=300, grid=4, score="logit", key=KEY, chunk_size=100),
    "occlusion": dict(window=2, stride=1),
    "grad_cam": dict(at="light"),
    "grad_cam_plus_plus": dict(at="light"),
    "contrastive_excitation_backprop": dict(contrast_at="light"),
}
LAWFUL = [name for name in OF_AXES if name != "extremal_perturbation"]  # it has laws of its own
CASES = [(name, kind) for name in LAWFUL for kind in ("series", "video")]
MORE = [(name, kind) for name in ("occlusion", "rise", "linear_approx") for kind in ("volume", "spectrogram", "moments", "stations")]
MORE += [("extremal_perturbation", "series")]
each_case = pytest.mark.parametrize(("name", "kind"), CASES)


def explain(name: str, kind: str, inputs: Any = None, targets: Any = 0, **options: Any) -> Any:
    inputs = planted.data(kind) if inputs is None else inputs
    settings = dict(axes=planted.KINDS[kind]) | QUICK.get(name, {}) | options
    return METHODS[name].function(planted.model(kind), inputs, targets, **settings)


usual = functools.cache(explain)


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("name", "kind"), CASES + MORE)
def test_maps_point_at_what_was_planted(name: str, kind: str) -> None:
    maps, truth = usual(name, kind), planted.truth(kind)
    assert maps.shape == (2, *planted.sides(kind))
    assert maps.dtype == jnp.float32
    for one in np.asarray(maps):
        assert truth[np.unravel_index(one.argmax(), one.shape)]
        assert one[truth].mean() > one[~truth].mean() + one[~truth].std()


@each_case
def test_a_batch_is_a_loop_inside_jit_and_vmap(name: str, kind: str) -> None:
    mapped = jax.jit(jax.vmap(lambda one: explain(name, kind, one)))(planted.data(kind))
    close(mapped, usual(name, kind))


@pytest.mark.parametrize("name", [name for name in LAWFUL if "chunk_size" in METHODS[name].options])
def test_chunks_are_the_whole_and_a_key_gives_the_same_bits(name: str) -> None:
    close(explain(name, "series", chunk_size=7), usual(name, "series"))
    np.testing.assert_array_equal(explain(name, "series"), usual(name, "series"))


@pytest.mark.parametrize("name", ["occlusion", "rise"])
def test_without_compilation(name: str) -> None:
    options: Any = dict(num_masks=4, chunk_size=None) if name == "rise" else {}
    with jax.disable_jit():
        eager = explain(name, "series", planted.data("series", 1), **options)
    close(eager, explain(name, "series", planted.data("series", 1), **options))


@pytest.mark.parametrize("name", ["gradient", "occlusion", "rise", "integrated_gradients"])
def test_an_image_by_name_or_with_an_axis_of_one_place_is_the_image(name: str) -> None:
    """To the bit, or the roundings of another program; so no algorithm depends on the number of axes."""
    images = planted.data("image")
    plain = METHODS[name].function(planted.model("image"), images, 0, **QUICK.get(name, {}))
    np.testing.assert_array_equal(explain(name, "image", axes="image"), plain)
    options: Any = dict(window=(1, 2, 2)) if name == "occlusion" else {}
    if name == "rise":
        masks = np.asarray(enlarge(draw(KEY, 20, (4, 4), 0.5), (8, 9)))
        plain = attribution.rise(planted.model("image"), images, 0, masks=masks, score="logit")
        options = dict(num_masks=4000, grid=7, key=None, masks=masks[:, None])
    video = METHODS[name].function(
        lambda x: planted.model("image")(x[:, 0]), images[:, None], 0, **{**QUICK.get(name, {}), **options, "axes": "video"}
    )
    close(video[:, 0], plain)


def test_windows_have_a_side_for_each_axis() -> None:
    """A number holds along smooth axes; features are hidden one by one. Against a loop."""
    series, model = planted.data("series", 1)[0], planted.model("series")
    for window, stride, sides, step in ((5, 5, (5, 1), 5), ((4, 2), (4, 2), (4, 2), 4)):
        sums, counts = np.zeros((24, 3)), np.zeros((24, 3))
        for time in sorted({*range(0, 24 - sides[0], step), 24 - sides[0]}):
            for feature in sorted({*range(0, 3 - sides[1], sides[1]), 3 - sides[1]}):
                place = slice(time, time + sides[0]), slice(feature, feature + sides[1])
                hidden = series.copy()
                hidden[place] = 0.5
                sums[place] += float(model(series[None])[0, 0] - model(hidden[None])[0, 0])
                counts[place] += 1
        close(attribution.occlusion(model, series, 0, axes="series", window=window, stride=stride, fill=0.5), sums / counts)
    usual_window = attribution.occlusion(model, series, 0, axes="series", fill=0.5)
    close(usual_window, attribution.occlusion(model, series, 0, axes="series", fill=0.5, window=(3, 1), stride=(2, 1)))


def test_masks_of_features_that_have_no_order_are_not_interpolated() -> None:
    masks = np.asarray(enlarge(draw(KEY, 50, (5, 3), 0.5, (True, False)), (24, 3)))
    assert masks.shape == (50, 24, 3)
    between = (masks > 0.01) & (masks < 0.99)
    assert between.any()
    stations = np.asarray(enlarge(draw(KEY, 50, (3,), 0.5, (False,)), (3,)))
    assert set(np.unique(stations)) == {0, 1}
    correlations = np.corrcoef(masks.transpose(2, 0, 1).reshape(3, -1))
    assert np.abs(correlations - np.eye(3)).max() < 0.2
    apart = np.asarray(enlarge(draw(KEY, 50, (5, 3), 0.5), (24, 3))).transpose(2, 0, 1).reshape(3, -1)
    assert np.corrcoef(apart)[0, 1] > 0.2
    assert abs(masks.mean() - 0.5) < 0.1


def test_every_option_counts() -> None:
    cases: dict[str, list[dict[str, Any]]] = {
        "occlusion": [dict(window=6), dict(stride=2), dict(fill="mean")],
        "rise": [dict(grid=2), dict(grid=(4, 2)), dict(probability=0.3)],
        "integrated_gradients": [dict(baseline="past_mean"), dict(axes="moments")],
        "smooth_grad": [dict(method=attribution.linear_approx), dict(noise=1.0)],
        "gradient": [dict(smooth=0.1), dict(resize=(12, 3))],
    }
    for name, options in cases.items():
        for option in options:
            other = explain(name, "series", **option)
            assert other.shape != usual(name, "series").shape or np.abs(other - usual(name, "series")).max() > 1e-4, (name, option)


def test_post_processing_keeps_features_apart() -> None:
    assert explain("gradient", "video", resize=(3, 4, 5)).shape == (2, 3, 4, 5)
    assert explain("grad_cam", "video", resize=True, smooth=0.1).shape == (2, 6, 8, 7)
    smooth = np.asarray(explain("gradient", "series", smooth=0.1))
    assert smooth[:, :, 1].sum() > 0.999 * smooth.sum()
    assert (smooth[:, :, 1] > 0).sum() > planted.truth("series").sum() * 2


def test_layers_with_as_many_axes() -> None:
    """Grad-CAM of the layer of a clip at half of its size; and of the times of a series."""

    def halved(x: Any) -> Any:
        pooled = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1, 1), (1, 2, 2, 1, 1), "VALID")
        pooled = jax.ad_checkpoint.checkpoint_name(jax.nn.relu(pooled), "pooled")
        return pooled[:, 1:2, 1:3, 1:4].sum((1, 2, 3, 4))[:, None]

    video = planted.data("video")
    assert attribution.grad_cam(halved, video, 0, at="pooled", axes="video").shape == (2, 3, 4, 7)
    times = attribution.grad_cam(planted.model("moments"), planted.data("moments"), 0, at="light", axes="moments")
    assert times.shape == (2, 24)
    with pytest.raises(ValueError, match=r"at must name a map, with 3 axes and channels, .*; 'pooled' is \(1, 2\)"):
        attribution.grad_cam(
            lambda x: jax.ad_checkpoint.checkpoint_name(x.sum((1, 2, 3)), "pooled").repeat(3, 1), video[0], 0, at="pooled", axes="video"
        )


SERIES, VIDEO = planted.data("series", 1)[0], planted.data("video", 1)[0]
MODELS = planted.model("series"), planted.model("video")
REFUSALS: dict[str, tuple[Any, str]] = {
    "rank": (
        lambda: attribution.gradient(MODELS[0], VIDEO, 0, axes="series"),
        r"images must have the shape \(time, feature\) or \(N, time, feature\)",
    ),
    "rank of an image": (lambda: attribution.gradient(MODELS[1], VIDEO[None], 0), 'other inputs than images need `axes`, such as "video"'),
    "unknown axes": (lambda: attribution.rise(MODELS[0], SERIES, 0, axes="sound"), "axes must be one of image, video"),
    "images only": (
        lambda: attribution.igos(MODELS[1], VIDEO, 0, axes="video"),
        "igos explains images only, got the axes time, height, width, channel; these methods take them: extremal_perturbation, .*gradient",
    ),
    "images only, of smooth_grad": (
        lambda: attribution.smooth_grad(MODELS[1], VIDEO, 0, axes="video", method=attribution.igos),
        "igos takes no axes, so it explains images only",
    ),
    "window": (
        lambda: attribution.occlusion(MODELS[0], SERIES, 0, axes="series", window=(25, 1)),
        r"window must be a number of places, or \(time, feature\), from 1 to the input's \(24, 3\), got \(25, 1\)",
    ),
    "window of another length": (
        lambda: attribution.occlusion(MODELS[0], SERIES, 0, axes="series", window=(2, 1, 1)),
        r"window must be .*\(2, 1, 1\)",
    ),
    "stride": (
        lambda: attribution.occlusion(MODELS[0], SERIES, 0, axes="series", window=2, stride=3),
        r"stride must be a number of places, or \(time, feature\), from 1 to the window's \(2, 1\), got 3",
    ),
    "grid": (
        lambda: attribution.rise(MODELS[1], VIDEO, 0, axes="video"),
        r"grid must be a number of cells, or \(time, height, width\), .*\(6, 8, 7\), got 7",
    ),
    "masks": (
        lambda: attribution.rise(MODELS[0], SERIES, 0, axes="series", masks=np.ones((5, 24), np.float32)),
        r"masks must have the shape \(M, time, feature\) = \(M, 24, 3\), got \(5, 24\)",
    ),
    "resize": (lambda: attribution.gradient(MODELS[1], VIDEO, 0, axes="video", resize=(4, 4)), r"\(time, height, width\) in whole places"),
    "fill": (
        lambda: attribution.occlusion(MODELS[0], SERIES, 0, axes="series", fill=np.ones(24)),
        r"fill must be a number, an array of the shape \(3,\), \(24, 3\) or \(1, 24, 3\), or one of \"blur\"",
    ),
    "activation along time": (
        lambda: attribution.grad_cam(
            lambda x: checkpoint_name(jax.nn.relu(x @ jnp.ones((3, 8))), "h").mean(1), SERIES, 0, axes="series", at="h"
        ),
        r"at must name a map, with 2 axes and channels, .*'h' is \(1, 24, 8\)",
    ),
    "channel axis": (lambda: attribution.gradient(MODELS[1], VIDEO, 0, axes="video", channel_axis=3), "got 3 without `at`, for inputs of"),
    "settings of other axes": (
        lambda: attribution.extremal_saliency(MODELS[0], SERIES, 0, axes="series", config=ej.Config(axes="video")),
        "axes and the config's axes differ",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.usefixtures("unchecked")
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_methods_that_take_axes() -> None:
    assert set(METHODS) - set(OF_AXES) == {"igos", "igos_plus_plus", "extremal_contours"}
    with pytest.raises(ValueError, match="these methods take them: " + ", ".join(OF_AXES)):
        attribution.igos(MODELS[1], VIDEO, 0, axes="video")
