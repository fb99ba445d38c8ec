"""Reports of channels, inversions, maps side by side, and of inputs that are no images: what the page holds of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
import report_results
from extremal_jax.operators.axes import AXES
from plot_results import AREAS, picture, result
from report_pages import Page, pixels, written
from report_results import channels, inversion, values


def content(path: Path, kind: str, **options: Any) -> Any:
    """The content of a report on an invented result of some axes."""
    [found] = written(path / "report.html", values(kind), report_results.result(kind), **options).pictures
    return found


def test_channels(tmp_path: Path) -> None:
    page = written(tmp_path / "report.html", one=channels())
    [found] = page.pictures
    assert (found["form"], found["channels"], found["layer"], found["target"]) == ("channels", 12, "blocks.2", "dog")
    assert [stop["asked"] for stop in found["stops"]] == [1, 3, 5]  # they grow
    assert [stop["channels"] for stop in found["stops"]] == [[1], [1, 2, 3], [1, 2, 3, 4, 5]]
    assert [stop["response"] for stop in found["stops"]] == [2, 3, 4]
    assert [stop["share"] for stop in found["stops"]] == [0.25, 0.375, 0.5]
    np.testing.assert_allclose(pixels(found["image"]) / 255, picture() / 255, atol=0.2)  # noise as JPEG
    assert "Channels" in page.texts


def test_pictures_beside_channels(tmp_path: Path) -> None:
    """One of each title, or one for each count, by growing count."""
    levels = np.array([0.8, 0.2, 0.4])  # of the counts 5, 1 and 3
    each = np.broadcast_to(levels[:, None, None, None], (3, 8, 8, 3))
    [found] = written(tmp_path / "report.html", one=channels(), inversions={"kept": each, "all": inversion()}).pictures
    kept, whole = found["found"]
    assert (kept["title"], whole["title"], len(whole["pictures"])) == ("kept", "all", 1)
    np.testing.assert_allclose([pixels(one).mean() / 255 for one in kept["pictures"]], [0.2, 0.4, 0.8], atol=0.01)
    batch = written(tmp_path / "b.html", picture(2), channels(2), inversions={"all": inversion(2)}).pictures
    assert [len(one["found"][0]["pictures"]) for one in batch] == [1, 1]


def test_the_classes_of_channels(tmp_path: Path) -> None:
    """The model's own scores of a set are the rewards of the run."""
    from jax.ad_checkpoint import checkpoint_name

    def model(images: Any) -> Any:
        seen = checkpoint_name(images, "rgb").mean(axis=(1, 2))
        return jnp.stack([seen[:, 1], seen[:, 0] + seen[:, 2]], axis=1)

    image = np.broadcast_to(np.array([0.5, 0.75, 0.25], np.float32), (8, 8, 3))
    one = ej.channel_perturbation(model, image, 1, [2, 1], at="rgb", config=ej.ChannelConfig(num_steps=2))
    [found] = written(tmp_path / "report.html", image, one, ["green", "pink"], model=model).pictures
    assert [stop["channels"] for stop in found["stops"]] == [[0], [0, 2]]
    tops = [{row["name"]: row["score"] for row in top["rows"]} for top in found["classes"]["kept"]]
    assert tops == [{"pink": 0.5, "green": 0}, {"pink": 0.75, "green": 0}]
    assert {row["name"]: row["score"] for row in found["classes"]["without"][1]["rows"]} == {"pink": 0, "green": 0.75}


def test_inversions(tmp_path: Path) -> None:
    page = written(tmp_path / "report.html", picture(2), {"all": inversion(2), "kept": inversion(2, seed=1)}, names=["a.png", "b.png"])
    first, second = page.pictures
    assert (first["form"], first["name"], second["name"], first["stops"]) == ("inversions", "a.png", "b.png", [])
    assert [(one["title"], one["cosine"], one["value"]) for one in first["found"]] == [("all", 0.75, 2.5), ("kept", 0.75, 2.5)]
    np.testing.assert_allclose(first["history"]["responses"][1], inversion(2, seed=1).history[0], rtol=1e-4)
    assert "Feature inversion" in page.texts
    [found] = written(tmp_path / "b.html", one=inversion(config=None)).pictures
    assert [one["title"] for one in found["found"]] == ["picture found"]


def test_maps_side_by_side(tmp_path: Path) -> None:
    path, maps = tmp_path / "report.html", {"grad_cam": np.stack([np.eye(4), np.ones((4, 4))]), "rise": np.ones((2, 4, 4))}
    ej.report.write(path, picture(2), classes=["cat", "dog"], maps=maps, targets=["dog", "cat"])
    found = Page(path.read_text()).pictures
    assert [one["target"] for one in found] == ["dog", "cat"]
    assert [one["name"] for one in found[0]["maps"]] == ["grad_cam", "rise"]
    assert found[0]["maps"][0]["map"] != found[1]["maps"][0]["map"]
    ej.report.write(path, picture(), maps={"m": np.eye(4)})
    assert Page(path.read_text()).pictures[0]["target"] == ""


def test_a_clip_is_slices_one_under_the_other(tmp_path: Path) -> None:
    found = content(tmp_path, "video", maps={"m": np.eye(6)[..., None] * np.ones(6)})
    assert (found["form"], found["noun"], found["labels"][0], found["size"]) == ("slices", "clip", "time", [8, 10])
    assert (found["slices"], found["count"]) == ([0, 1, 2, 3, 4, 5], 6)
    masks = report_results.result("video").masks
    for stop, mask in zip(found["stops"], masks, strict=True):
        np.testing.assert_array_equal(pixels(stop["mask"]).reshape(6, 8, 10), np.rint(mask * 255))
    np.testing.assert_allclose(found["parts"], masks.mean(axis=(2, 3)), rtol=1e-4)
    assert pixels(found["image"]).shape == pixels(found["removed"]).shape == (48, 10, 3)
    assert [one["name"] for one in found["maps"]] == ["extremal_perturbation", "m"]
    assert len(found["maps"][1]["peak"]) == 3  # row, column, slice


def test_a_long_clip_shows_some_of_its_slices(tmp_path: Path) -> None:
    masks = np.zeros((3, 100, 8, 8), np.float32)
    masks[:, 60:] = 1
    one = report_results.result("video", masks=masks, params=masks, areas=masks.mean(axis=(1, 2, 3)))
    [found] = written(tmp_path / "report.html", np.zeros((100, 8, 8, 3), np.float32), one).pictures
    assert (len(found["slices"]), found["slices"][0], found["slices"][-1], found["count"]) == (32, 0, 99, 100)
    assert len(found["parts"][0]) == 100


def test_a_volume_and_a_spectrogram(tmp_path: Path) -> None:
    """A spectrogram has time to the right and frequency upwards."""
    volume, spectrogram = content(tmp_path, "volume"), content(tmp_path, "spectrogram")
    assert (volume["form"], volume["noun"], volume["labels"][0]) == ("slices", "volume", "depth")
    assert (spectrogram["form"], spectrogram["noun"], spectrogram["labels"]) == ("image", "spectrogram", ["frequency", "time"])
    assert (spectrogram["size"], spectrogram["upright"]) == ([12, 20], True)
    mask = report_results.result("spectrogram").masks[2]
    np.testing.assert_array_equal(pixels(spectrogram["stops"][2]["mask"]), np.rint(mask.T[::-1] * 255))


def test_a_spectrogram_of_frequency_and_time_is_shown_as_it_is(tmp_path: Path) -> None:
    time, frequency, channel = AXES["spectrogram"]
    one = report_results.result("spectrogram")
    masks = one.masks.swapaxes(1, 2)
    one = dataclasses.replace(one, masks=masks, params=masks, config=ej.Config(axes=(frequency, time, channel)))
    [found] = written(tmp_path / "report.html", values("spectrogram").swapaxes(0, 1), one).pictures
    assert (found["form"], found["labels"], found["size"], found["upright"]) == ("image", ["frequency", "time"], [12, 20], False)
    np.testing.assert_array_equal(pixels(found["stops"][2]["mask"]), np.rint(masks[2] * 255))


@pytest.mark.parametrize("kind", ["series", "moments"])
def test_a_series_is_lines(tmp_path: Path, kind: str) -> None:
    found = content(tmp_path, kind)
    assert (found["form"], found["noun"], found["labels"], found["size"]) == ("series", "series", ["time"], [4, 30])
    np.testing.assert_allclose(found["values"], values(kind).T, rtol=1e-4)
    assert np.std(found["without"]) < np.std(found["values"])  # a blur
    mask = report_results.result(kind).masks[1]
    np.testing.assert_array_equal(pixels(found["stops"][1]["mask"]), np.broadcast_to(np.rint(255 * mask.T), (4, 30)))


def test_a_long_series_of_many_features_keeps_its_peaks(tmp_path: Path) -> None:
    shape = (5000, 40)
    series, masks = np.zeros(shape, np.float32), np.zeros((3, *shape), np.float32)
    series[4001, 30], masks[:, 3990:4010, 30] = 7, 1
    config = ej.Config(axes="series", perturbation="fade")  # a blur of this length takes long
    one = report_results.result("series", masks=masks, params=masks, areas=masks.mean(axis=(1, 2)), config=config)
    [found] = written(tmp_path / "report.html", series, one).pictures
    assert (len(found["features"]), found["count"]) == (24, 40)
    row = found["features"].index(30)
    place = found["times"][row].index(4001)
    assert (found["values"][row][place], max(map(max, found["values"]))) == (7, 7)
    assert pixels(found["stops"][0]["mask"])[row, place] == 255


def test_masks_of_a_layer_of_a_series(tmp_path: Path) -> None:
    """They have the layer's features and not the input's: each is one for all features."""
    masks = np.zeros((3, 10, 6), np.float32)
    masks[:, 5:] = 1
    one = report_results.result("series", masks=masks, params=masks, areas=np.full(3, 0.5, np.float32), at="inner")
    [found] = written(tmp_path / "report.html", values("series"), one).pictures
    mask = pixels(found["stops"][0]["mask"])
    assert (mask.shape, found["without"]) == ((4, 30), None)
    assert (mask[:, :10].max(), mask[:, 20:].min()) == (0, 255)


def test_axes_of_the_callers_own(tmp_path: Path) -> None:
    """Masked axes may come after others; places on a map are an image."""
    axes = (ej.Axis("variable", masked=False), ej.Axis("latitude", unit="degree"), ej.Axis("longitude", unit="degree"))
    one = report_results.result("spectrogram", config=ej.Config(axes=axes))
    [found] = written(tmp_path / "report.html", np.zeros((2, 20, 12), np.float32), one).pictures
    assert (found["form"], found["noun"], found["labels"], found["size"]) == ("image", "input", ["latitude", "longitude"], [20, 12])


def test_the_classes_of_a_series(tmp_path: Path) -> None:
    def model(series: Any) -> Any:
        return jnp.stack([series[:, :10].mean(axis=(1, 2)), series[:, 10:].mean(axis=(1, 2))], axis=1)

    one = report_results.result("series", config=ej.Config(axes="series", perturbation="fade"), targets=np.array(0))
    series = values("series")
    [found] = written(tmp_path / "report.html", series, one, ["early", "late"], model=model).pictures
    for mask, top in zip(one.masks, found["classes"]["kept"], strict=True):
        expected = (mask * series)[:10].mean()
        assert {row["name"]: row["score"] for row in top["rows"]} == pytest.approx({"early": expected, "late": 0}, rel=1e-3)


def test_the_area_shown_over_the_steps(tmp_path: Path) -> None:
    """It follows from the settings where areas are exact, and is not recorded otherwise."""
    config = ej.Config(num_steps=10)
    [found] = written(tmp_path / "a.html", one=result(config=config)).pictures
    shown = np.asarray(found["history"]["shown"])
    np.testing.assert_allclose(shown[:, -1], AREAS, rtol=1e-4)
    np.testing.assert_allclose(shown[:, 0], np.asarray(AREAS) ** 0.2, rtol=1e-4)  # of five steps, the first
    [loss] = written(tmp_path / "b.html", one=result(config=ej.Config(num_steps=10, exact_area=False))).pictures
    assert loss["history"]["shown"] is None
    [sets] = written(tmp_path / "c.html", one=channels()).pictures
    assert [line[-1] for line in sets["history"]["shown"]] == [1, 3, 5]


@pytest.mark.parametrize("kind", list(report_results.SHAPES))
def test_a_batch_of_other_axes(tmp_path: Path, kind: str) -> None:
    page = written(tmp_path / "report.html", values(kind, 2), report_results.result(kind, 2))
    assert [one["target"] for one in page.pictures] == ["cat", "dog"]
    assert [card["data-name"] for card in page.all("li", **{"class": "card"})] == ["picture 1", "picture 2"]


def test_a_large_clip_fits(tmp_path: Path) -> None:
    """Of 32 frames of noise of 112 pixels, in bytes: the worst for JPEG."""
    rng = np.random.default_rng(0)
    masks = np.zeros((3, 32, 112, 112), np.float32)
    masks[:, :, 20:60, 20:60] = 1
    one = report_results.result("video", masks=masks, params=masks, areas=masks.mean(axis=(1, 2, 3)))
    path = tmp_path / "report.html"
    written(path, rng.random((32, 112, 112, 3), np.float32), one)
    assert path.stat().st_size < 1_500_000
