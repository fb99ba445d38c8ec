"""Extremal perturbations of what is not an image: clips, volumes, spectrograms and series."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
from extremal_jax.operators.axes import AXES, masked

# The planted evidence of each kind: a shape, and where its target is.
PLANTED: dict[str, tuple[tuple[int, ...], tuple[slice, ...]]] = dict(
    image=((16, 20, 3), (slice(4, 8), slice(10, 15), slice(None))),
    video=((8, 12, 16, 3), (slice(2, 5), slice(4, 8), slice(8, 13), slice(None))),
    volume=((10, 12, 9, 1), (slice(5, 8), slice(4, 8), slice(1, 5), slice(None))),
    spectrogram=((24, 10, 1), (slice(6, 12), slice(2, 5), slice(None))),
    series=((40, 4), (slice(15, 23), slice(2, 3))),
    moments=((40, 4), (slice(15, 23), slice(None))),
)
CONFIG = ej.Config(perturbation="fade", num_steps=12, smoothing=0, feather=0)


def model_of(kind: str) -> Any:
    """A classifier whose first class is the light at the planted place, and whose second is all light."""
    _, where = PLANTED[kind]

    def model(x: Any) -> Any:
        axes = tuple(range(1, x.ndim))
        return jnp.stack([x[:, *where].sum(axes), x.sum(axes)], axis=-1)

    return model


def data_of(kind: str, count: int | None = None) -> Any:
    shape = PLANTED[kind][0]
    return np.random.default_rng(0).uniform(0.5, 1, (*(() if count is None else (count,)), *shape)).astype(np.float32)


def share_of(kind: str) -> float:
    """The share of the input that is planted evidence."""
    shape, where = PLANTED[kind]
    truth = np.zeros(shape)
    truth[where] = 1
    return float(truth.mean())


def run(kind: str, data: Any = None, **options: Any) -> ej.ExtremalResult:
    settings: Any = dict(areas=[2 * share_of(kind)], axes=kind, config=CONFIG) | options
    return ej.extremal_perturbation(model_of(kind), data_of(kind) if data is None else data, 0, **settings)


@pytest.mark.parametrize("kind", list(AXES))
def test_masks_lie_on_what_was_planted(kind: str) -> None:
    result = run(kind, areas=[share_of(kind), 2 * share_of(kind)], config=ej.Config(perturbation="fade"))
    shape, where = PLANTED[kind]
    own = tuple(part for part, axis in zip(where, AXES[kind], strict=True) if axis.masked)
    sides = tuple(n for n, axis in zip(shape, AXES[kind], strict=True) if axis.masked)
    assert result.status.ok
    assert result.masks.shape == (2, *sides)
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=1e-4)
    assert result.rewards[1] > 0.8 * result.image_rewards
    assert float(result.masks[0][own].sum() / result.masks[0].sum()) > 0.6
    assert all((part.start or 0) <= place < (part.stop or shape[-1]) for part, place in zip(own, result.point().tolist(), strict=True))
    ranking = np.asarray(result.ranking())
    assert np.array_equal(np.sort(ranking, axis=None), np.arange(ranking.size))
    kept = np.asarray(result.binary_masks()).reshape(2, -1).sum(axis=1)
    assert kept.tolist() == [round(float(area) * ranking.size) for area in result.requested_areas]


@pytest.mark.parametrize("kind", ["video", "series"])
def test_a_batch_is_a_loop(kind: str) -> None:
    data = data_of(kind, 2)
    batch = run(kind, data)
    assert len(batch) == 2
    for index in range(2):
        one = run(kind, data[index])
        np.testing.assert_allclose(batch[index].masks, one.masks, atol=1e-5)
        np.testing.assert_allclose(batch[index].evidence(data[index]), one.evidence(data[index]), atol=1e-5)
        np.testing.assert_allclose(batch.evidence(data)[index], batch[index].evidence(data[index]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["video", "series"])
def test_chunks_and_jit_are_the_whole(kind: str) -> None:
    data = data_of(kind, 3)
    whole = run(kind, data)
    np.testing.assert_allclose(run(kind, data, chunk_size=2).masks, whole.masks, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda data: run(kind, data))(data).masks, whole.masks, atol=1e-5)


def test_an_image_with_axes_is_an_image() -> None:
    """With any settings: jitter, blur and all lengths are the same, given as numbers or as one for each axis."""
    data, config = data_of("image"), ej.Config(num_steps=6)
    plain = ej.extremal_perturbation(model_of("image"), data, 0, [0.1], config=config)
    named = ej.extremal_perturbation(model_of("image"), data, 0, [0.1], config=config, axes="image")
    np.testing.assert_allclose(named.masks, plain.masks, atol=1e-5)
    assert named.config.sigma == (plain.config.sigma, plain.config.sigma)


def test_features_have_nothing_in_common() -> None:
    """Masks of features that have no evidence stay empty beside one that has it all."""
    masks = np.asarray(run("series", areas=[share_of("series")], config=ej.Config(perturbation="fade")).masks[0])
    assert masks[:, 2].sum() > 0.9 * masks.sum()


def test_axes_stand_for_the_axes_of_the_config() -> None:
    config = dataclasses.replace(CONFIG, axes="series")
    np.testing.assert_array_equal(run("series", axes=None, config=config).masks, run("series").masks)
    with pytest.raises(ValueError, match="axes and the config's axes differ: time, height, width, channel and time, feature"):
        run("series", axes="video", config=config)


@pytest.mark.parametrize("name", ["pitch", "sigma", "smoothing", "feather", "max_blur"])
def test_a_length_for_each_axis(name: str) -> None:
    """Each is in the result's settings, and changes the masks."""
    lengths: Any = dict(pitch=(1, 1), sigma=(3.0, 3.0), max_blur=(2.0, 2.0), smoothing=(1.0, 1.0), feather=(0.5, 0.5))
    other = (2, 3) if name == "pitch" else (2.5, 1.25)
    first, second = (
        run("spectrogram", axes=None, config=ej.Config(axes="spectrogram", num_steps=6, **given))
        for given in (lengths, lengths | {name: other})
    )
    assert getattr(second.config, name) == other
    assert float(jnp.abs(first.masks - second.masks).max()) > 1e-3


def test_results_keep_their_axes(tmp_path: Path) -> None:
    result = run("series")
    result.save(tmp_path / "series.npz")
    loaded = ej.ExtremalResult.load(tmp_path / "series.npz")
    assert loaded.config == result.config
    assert loaded.config.axes == AXES["series"]
    np.testing.assert_array_equal(loaded.saliency(), result.saliency())


def test_smallest_area() -> None:
    options: Any = dict(axes="series", areas=(0.02, 0.05, 0.1, 0.2), threshold=0.8, config=CONFIG, nested=True)
    found = ej.smallest_area(model_of("series"), data_of("series", 2), 0, **options)
    assert found.masks.shape == found.ranking().shape == (2, 40, 4)
    assert len(found) == 2
    assert bool(found.reached.all())
    assert 0.5 * share_of("series") < float(found.areas.min()) <= float(found.areas.max()) < 4 * share_of("series")


def test_jitter_follows_the_axes() -> None:
    """What has a width is flipped, and what has a height or width is shifted."""
    resolved = {kind: ej.Config(axes=axes).resolve((40,) * len(masked(axes))) for kind, axes in AXES.items()}
    assert {kind for kind, config in resolved.items() if config.jitter} == {"image", "video", "volume"}
    assert {kind for kind, config in resolved.items() if config.shift} == {"image", "video", "volume"}


def test_the_layers_of_a_clip() -> None:
    """Masks of an inner activation, at half of the clip's size."""

    def halved(x: Any) -> Any:
        pooled = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 2, 1), (1, 2, 2, 2, 1), "VALID")
        pooled = jax.ad_checkpoint.checkpoint_name(pooled, "pooled")
        return pooled[:, 1:3, 2:4, 4:7].sum((1, 2, 3, 4))[:, None]

    def of_series(x: Any) -> Any:
        return halved(jnp.broadcast_to(x[..., None, None], (*x.shape, 16, 1)))

    config = ej.Config(num_steps=20)
    result = ej.extremal_perturbation(halved, data_of("video"), 0, [0.1], axes="video", at="pooled", config=config)
    assert result.masks.shape == (1, 4, 6, 8)
    assert float(result.masks[0, 1:3, 2:4, 4:7].mean()) > 0.7
    with pytest.raises(ValueError, match=r"activation of shape \(B, time, feature\), floats; 'pooled' is"):
        ej.extremal_perturbation(of_series, data_of("series"), 0, axes="series", at="pooled")


@pytest.mark.parametrize("perturbation", ["blur", "moving_average", "past_mean", "reference"])
@pytest.mark.parametrize("kind", ["video", "series", "moments"])
def test_perturbations(kind: str, perturbation: str) -> None:
    """Of any axes: the last level is the input, and the first is what is said."""
    data = data_of(kind)
    reference = np.zeros_like(data) if perturbation == "reference" else None
    config = ej.Config(axes=kind, perturbation=perturbation, num_steps=2)
    result = run(kind, axes=None, config=config, reference=reference)
    assert result.status.ok
    levels = result.config.perturbation_record().levels(jnp.asarray(data[None]), None if reference is None else jnp.asarray(reference))
    np.testing.assert_array_equal(levels[0, -1], data)
    if perturbation == "past_mean":
        np.testing.assert_allclose(levels[0, 0], [data[: t + 1].mean(axis=0) for t in range(len(data))], rtol=1e-5)
    if perturbation == "moving_average" and kind != "video":
        radius = round(result.config.max_blur[0])  # type: ignore[index]
        padded = np.pad(data, [(radius, radius), (0, 0)], mode="edge")
        np.testing.assert_allclose(levels[0, 0], [padded[t : t + 2 * radius + 1].mean(axis=0) for t in range(len(data))], rtol=1e-5)
    if perturbation == "blur" and kind == "video":  # along time, height and width, and not along channels
        light = np.zeros_like(data)
        light[4, 6, 8, 1] = 1
        blurred = result.config.perturbation_record().levels(jnp.asarray(light[None]))[0, 0]
        assert [float(blurred[place]) > 0 for place in ((3, 6, 8, 1), (4, 5, 8, 1), (4, 6, 7, 1), (4, 6, 8, 0))] == [
            True,
            True,
            True,
            False,
        ]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(axes="vido"), ValueError, "axes must be one of image, video"),
        (
            dict(axes="video"),
            ValueError,
            r"\(time, height, width, channel\) or \(N, time, .*\), got \(40, 4\)",
        ),
        (dict(axes=None), ValueError, r"\(H, W, C\) or \(N, H, W, C\), got \(40, 4\); other inputs than images need `axes`"),
        (dict(data=[np.ones((40, 4), np.float32), np.ones((30, 4), np.float32)]), ValueError, "one shape, got a sequence of"),
        (dict(data=np.full((40, 4), np.nan, np.float32)), ValueError, "fill in missing values first"),
        (dict(areas=[1e-3]), ValueError, "areas must be at least a pixel"),
        (
            dict(areas=[0.01], config=ej.Config(axes="series", pitch=(3, 1))),
            ValueError,
            "at least a cell of the lattice, 3 of the 160 places",
        ),
        (dict(config=ej.Config(smoothing=30.0)), ValueError, "smoothing must be at most 20 pixels, half of the side along time, got 30"),
        (
            dict(config=ej.Config(perturbation="reference"), reference=np.ones((40, 5), np.float32)),
            ValueError,
            "reference must have the shape",
        ),
    ],
)
def test_bad_calls(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        run("series", **options)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(sigma=(1.0, 2.0)), "sigma must be a number, or a tuple if the settings have `axes`"),
        (dict(axes="video", sigma=(1.0, 2.0)), "sigma must be a number, or one for each of time, height, width"),
        (dict(axes="video", pitch=3, sigma=(1.0, 3.0, 3.0)), "sigma must be at least the pitch of 3 pixels along time"),
        (dict(axes="video", sigma=(-1.0, 3.0, 3.0)), "sigma along time must be zero or a positive number"),
        (dict(axes="series", pitch=(0, 1)), "pitch along time must be a whole number, at least 1"),
        (dict(axes="video", feather=(1.0, 1.0, -1.0)), "feather along width must be zero or a positive number"),
    ],
)
def test_bad_settings(fields: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ej.Config(**fields)


def test_sweeps_explain_images(tmp_path: Path) -> None:
    model = ej.models.load("scenes")
    with pytest.raises(ValueError, match="a sweep explains images, and the config's axes are time, feature"):
        ej.sweep(model, ej.data.SceneDataset(2), tmp_path / "store", areas=[0.1], config=ej.Config(axes="series"))
