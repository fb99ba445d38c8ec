"""Reports of invented results: what the page holds of each, and that each argument reaches it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
import small
from plot_results import AREAS, CLASSES, HEIGHT, WIDTH, picture, result, smallest
from report_pages import Page, pixels, written

ROOT = Path(ej.__file__).parent / "report"


def test_a_single_picture(tmp_path: Path) -> None:
    one = result(targets=np.array(2))
    [found] = written(tmp_path / "report.html", one=one).pictures
    assert (found["target"], found["whole"], found["reading"], found["size"]) == ("fox", 8, "response", [HEIGHT, WIDTH])
    assert [stop["response"] for stop in found["stops"]] == [1, 2, 3]
    assert [stop["share"] for stop in found["stops"]] == [0.125, 0.25, 0.375]
    np.testing.assert_allclose([stop["asked"] for stop in found["stops"]], AREAS)
    np.testing.assert_allclose([stop["area"] for stop in found["stops"]], one.areas, rtol=1e-4)
    for stop, mask in zip(found["stops"], one.masks, strict=True):
        np.testing.assert_array_equal(pixels(stop["mask"]), np.rint(mask * 255))  # to the bit
    np.testing.assert_allclose(pixels(found["image"]) / 255, picture() / 255, atol=0.2)  # noise as JPEG
    np.testing.assert_allclose(found["history"]["responses"], one.history.rewards.T, rtol=1e-4)
    np.testing.assert_allclose(found["history"]["losses"], one.history.area_losses.T, rtol=1e-4)
    assert (found["classes"], found["curve"], found["maps"], found["faults"]) == (None, None, [], [])


def test_what_is_outside_the_masks_is_what_the_model_saw(tmp_path: Path) -> None:
    """The blur of the run; and the picture of the zero that faded inputs have."""
    flat = np.full((HEIGHT, WIDTH, 3), 0.25, np.float32)
    flat[:, WIDTH // 2 :] = 0.75
    [blurred] = written(tmp_path / "a.html", flat, result(config=ej.Config(max_blur=100.0))).pictures
    assert np.ptp(pixels(blurred["removed"]).astype(int)) < 20  # of the 127 between the halves
    assert blurred["removal"] == "Blurred"
    [faded] = written(tmp_path / "b.html", 4 * flat - 2, result(config=ej.Config(perturbation="fade"))).pictures
    np.testing.assert_allclose(pixels(faded["removed"]), 127, atol=2)  # between −1 and 1
    assert faded["removal"] == "Faded"
    reference = np.zeros_like(flat)
    replaced = written(tmp_path / "c.html", flat, result(config=ej.Config(perturbation="reference")), reference=reference).pictures
    np.testing.assert_allclose(pixels(replaced[0]["removed"]), 0, atol=2)


@pytest.mark.parametrize(("game", "reading"), [("delete", "response left"), ("dual", "difference")])
def test_games_are_read_as_in_figures(tmp_path: Path, game: str, reading: str) -> None:
    one = result(game=game)
    [found] = written(tmp_path / "report.html", one=one).pictures
    assert found["reading"] == reading
    assert [stop["response"] for stop in found["stops"]] == [1, 2, 3]
    sign = -1 if game == "delete" else 1
    np.testing.assert_allclose(found["history"]["responses"], sign * one.history.rewards.T, rtol=1e-4)


def test_areas_come_in_growing_order(tmp_path: Path) -> None:
    asked = np.array([0.4, 0.1, 0.2], np.float32)
    [found] = written(tmp_path / "report.html", one=result(requested_areas=asked)).pictures
    assert [stop["response"] for stop in found["stops"]] == [2, 3, 1]
    np.testing.assert_allclose(found["history"]["areas"], sorted(asked))


def test_a_batch_is_a_gallery(tmp_path: Path) -> None:
    page = written(tmp_path / "report.html", picture(3), result(3), names=["a.png", "b.png", "c.png"], title="Three")
    cards = page.all("li", **{"class": "card"})
    assert [card["data-name"] for card in cards] == ["a.png", "b.png", "c.png"]
    assert [card["data-target"] for card in cards] == list(CLASSES)
    assert [float(card["data-share"]) for card in cards] == [3 / 8, 6 / 8, 9 / 8]  # of the best mask
    assert [one["name"] for one in page.pictures] == ["a.png", "b.png", "c.png"]
    assert [anchor["href"] for anchor in page.all("a") if "picture" in anchor["href"]] == ["#picture-1", "#picture-2", "#picture-3"]
    assert page.texts.count("Three") == 2  # the title and the heading


def test_names_without_names(tmp_path: Path) -> None:
    assert [one["name"] for one in written(tmp_path / "a.html", picture(2), result(2)).pictures] == ["picture 1", "picture 2"]
    assert written(tmp_path / "b.html", names="cat.png").pictures[0]["name"] == "cat.png"


def test_the_smallest_area_is_a_stop_and_a_curve(tmp_path: Path) -> None:
    page = written(tmp_path / "report.html", picture(2), result(2), smallest=smallest())
    first, second = page.pictures
    assert [stop["smallest"] for stop in first["stops"]] == [False, False, True, False]  # a quarter, between 0.2 and 0.4
    assert (first["curve"]["area"], first["curve"]["wanted"]) == (0.25, 2)
    np.testing.assert_allclose(first["curve"]["responses"], [1, 2.5, 5])
    assert second["curve"]["area"] is None  # not reached
    assert [card.get("data-area") for card in page.all("li", **{"class": "card"})] == ["0.25", None]


def test_a_search_by_itself(tmp_path: Path) -> None:
    found = written(tmp_path / "report.html", picture(2), smallest()).pictures
    assert [len(one["stops"]) for one in found] == [1, 1]
    assert found[0]["history"] is None
    assert (found[0]["stops"][0]["response"], found[0]["stops"][0]["share"]) == (3, 0.375)


def test_maps(tmp_path: Path) -> None:
    values = np.zeros((4, 6))
    values[1, 2], values[0, 0] = 5, -9
    found = written(tmp_path / "report.html", maps={"grad_cam": values, "rise": -values}).pictures[0]["maps"]
    assert [one["name"] for one in found] == ["extremal_perturbation", "grad_cam", "rise"]
    heat = pixels(found[1]["map"])
    assert heat.shape == (HEIGHT, WIDTH)
    row, column = found[1]["peak"]
    assert heat[row, column] == heat.max() == 255
    assert (6 <= row < 12, 12 <= column < 18) == (True, True)  # within its cell of 6 by 6 pixels
    assert found[2]["peak"] == [0, 0]


def test_maps_of_a_batch(tmp_path: Path) -> None:
    maps = np.stack([np.eye(4), np.eye(4)[::-1]])
    peaks = [one["maps"][1]["map"] for one in written(tmp_path / "report.html", picture(2), result(2), maps={"m": maps}).pictures]
    np.testing.assert_allclose(pixels(peaks[0]), pixels(peaks[1])[::-1].astype(float), atol=1)  # rounding


def test_masks_of_a_layer(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).random((3, 6, 9)).astype(np.float32)
    [found] = written(tmp_path / "report.html", one=result(masks=coarse, at="blocks.3")).pictures
    assert (found["layer"], found["removed"]) == ("blocks.3", None)
    assert pixels(found["stops"][0]["mask"]).shape == (HEIGHT, WIDTH)


def test_faults_are_named(tmp_path: Path) -> None:
    page = written(tmp_path / "report.html", one=result(status=ej.Status(np.array([-1, 3, -1], np.int32))))
    [fault] = page.pictures[0]["faults"]
    assert fault.startswith("area 1: the reward or its gradient was not finite at step 3")
    assert "the run has faults" in page.texts


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    """JSON has no such numbers; they are absent, and not zero."""
    [found] = written(
        tmp_path / "report.html", one=result(rewards=np.array([1, np.nan, np.inf], np.float32), image_rewards=np.array(np.nan, np.float32))
    ).pictures
    assert [stop["response"] for stop in found["stops"]] == [1, None, None]
    assert (found["whole"], found["stops"][0]["share"]) == (None, None)


def test_settings_and_versions(tmp_path: Path) -> None:
    page = written(tmp_path / "report.html", one=result(config=ej.Config(num_steps=37, reward="margin")))
    rows = dict(zip(page.texts, page.texts[1:], strict=False))
    assert (rows["num_steps"], rows["reward"]) == ("37", "margin")
    assert (rows["extremal-jax"], rows["jax"]) == (ej.__version__, jax.__version__)


def test_a_models_classes(tmp_path: Path) -> None:
    """With the model, the classes of the image, of the part that each mask keeps, and of what is left."""
    one = small.explain()
    names = [f"class {index}" for index in range(small.CLASSES)]
    reports = [
        written(tmp_path / "report.html", small.IMAGES, one, classes, model=small.MODEL, chunk_size=chunk_size).pictures
        for classes, chunk_size in ((None, None), (names, 2))
    ]
    assert reports[0] == reports[1]  # chunks change nothing, and neither do names for numbers
    for index, found in enumerate(reports[0]):
        scores = np.asarray(small.MODEL(jnp.asarray(small.IMAGES)))[index]
        top = found["classes"]["whole"]["rows"]
        assert [row["name"] for row in top] == [f"class {k}" for k in np.argsort(-scores)]
        np.testing.assert_allclose([row["score"] for row in top], np.sort(scores)[::-1], rtol=1e-3)
        for kept, reward in zip(found["classes"]["kept"], np.asarray(one.rewards)[index], strict=True):
            [target] = [row for row in kept["rows"] if row["target"]]
            assert target["name"] == f"class {small.TARGETS[index]}"
            np.testing.assert_allclose(target["score"], reward, rtol=1e-3, atol=1e-3)  # the reward of the run, in five digits
            assert kept["rows"][kept["rank"] - 1] == target
    assert reports[0][0]["classes"]["without"] != reports[0][0]["classes"]["kept"]


def test_chunks(tmp_path: Path) -> None:
    """The model is shown no more masks at once than it should be, and all of a picture's if it may."""
    sizes: list[int] = []

    def model(images: Any) -> Any:
        sizes.append(len(images))
        return small.MODEL(images)

    for chunk_size, most in ((None, 5), (2, 2)):
        sizes.clear()
        written(tmp_path / "report.html", small.IMAGES, small.explain(), None, model=model, chunk_size=chunk_size)
        assert max(sizes) == most  # of an image, two masks and two complements


def test_the_scores_left_are_those_of_the_game_delete(tmp_path: Path) -> None:
    one = small.explain(config=dataclasses.replace(small.CONFIG, game="delete"))
    found = written(tmp_path / "report.html", small.IMAGES, one, None, model=small.MODEL).pictures
    for content, rewards in zip(found, np.asarray(one.rewards), strict=True):
        left = [next(row["score"] for row in one["rows"] if row["target"]) for one in content["classes"]["without"]]
        np.testing.assert_allclose(left, -rewards, rtol=1e-3, atol=1e-3)


def test_the_classes_of_masks_of_a_layer(tmp_path: Path) -> None:
    one = small.explain(at=small.LAYER)
    found = written(tmp_path / "report.html", small.IMAGES, one, None, model=small.MODEL).pictures
    for content, rewards in zip(found, np.asarray(one.rewards), strict=True):
        kept = [next(row["score"] for row in one["rows"] if row["target"]) for one in content["classes"]["kept"]]
        np.testing.assert_allclose(kept, rewards, rtol=1e-3, atol=1e-3)


def test_a_classifier_of_this_project_knows_its_pictures(tmp_path: Path, classifier: Any, scene: Any, images: Any) -> None:
    """Its names are those of the report, and its preprocessing makes the pictures."""
    config = ej.Config(num_steps=2)
    one = ej.extremal_perturbation(classifier, images[0], "dog", [0.1], config=config)
    [found] = written(tmp_path / "report.html", images[0], one, None, model=classifier).pictures
    assert found["target"] == "dog"
    error = np.abs(pixels(found["image"]).astype(int) - scene.images[0])
    assert error.mean() < 4  # of 255, by JPEG


def test_size(tmp_path: Path) -> None:
    """A page of noise, the worst for JPEG, of 224 pixels with four masks, in bytes; and the page without a picture."""
    rng = np.random.default_rng(0)
    masks = rng.random((4, 224, 224), np.float32)
    one = result(
        masks=masks,
        params=masks,
        masks_with_margin=None,
        rewards=np.ones(4, np.float32),
        areas=np.ones(4, np.float32),
        requested_areas=np.arange(1, 5, dtype=np.float32) / 10,
        history=ej.History(*rng.random((2, 50, 4), np.float32)),
        status=ej.Status(np.full(4, -1, np.int32)),
    )
    written(tmp_path / "report.html", rng.integers(0, 256, (224, 224, 3), np.uint8), one)
    assert (tmp_path / "report.html").stat().st_size < 1_500_000
    own = [path for path in ROOT.iterdir() if path.suffix in (".html", ".css", ".js") and path.stem != "index"]
    assert sum(path.stat().st_size for path in own) < 60_000


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = written(tmp_path / "report.html", picture(2), result(2), maps={"m": np.ones((2, 4, 4))})
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|\bimport\(", page.text)
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        assert not attributes.get("src", "data:").removeprefix("data:") or attributes["src"].startswith("data:image/jpeg;base64,")
        assert attributes.get("href", "#").startswith(("#", "data:,"))
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    [policy] = [found["content"] for found in page.all("meta") if "http-equiv" in found]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a.html").text == written(tmp_path / "b.html").text


def test_an_old_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "report.html"
    before = written(path).text
    monkeypatch.setattr("extremal_jax.report.writing.describe", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written(path)
    assert Page(path.read_text()).text == before
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def run_script(*parts: str) -> Any:
    """What a script prints as JSON."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    return json.loads(subprocess.run(["node", "-e", "\n".join(parts)], capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(("upright", "direction"), [(True, "upwards"), (False, "downwards")])
def test_the_directions_of_an_image_are_those_of_its_content(upright: bool, direction: str) -> None:
    page = """
const elements = {}, stage = {}, document = { querySelector: () => ({ parentElement: {} }) };
const find = (id) => (elements[id] ??= {});"""
    picture = json.dumps(dict(form="image", noun="spectrogram", labels=["frequency", "time"], stops=[], upright=upright))
    told = f'setForm({picture}); console.log(JSON.stringify(find("directions").textContent));'
    assert run_script(page, (ROOT / "forms.js").read_text(), told) == f"time to the right, frequency {direction}"


def test_charts_of_long_runs() -> None:
    """A call takes only some ten thousand arguments."""
    program = """
const values = Array.from({ length: 300000 }, (_, i) => [0.5, 5, 1][i % 3]);
console.log(JSON.stringify([linear(values, false), linear(values, true), logarithmic(values)].map(({ at }) => [at(0.5), at(5)])));"""
    found = run_script((ROOT / "charts.js").read_text(), program)
    room = np.log(10 * 1.18 / 0.85)
    expected = [[0.06 / 1.12, 1.06 / 1.12], [0.1 / 1.06, 1 / 1.06], [-np.log(0.85) / room, 1 - np.log(1.18) / room]]
    np.testing.assert_allclose(found, expected)
