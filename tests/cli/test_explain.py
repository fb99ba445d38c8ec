"""The command `explain`: the options reach the library, and its results reach the terminal and the files."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import extremal_jax as ej
import plot_results
import report_pages
import zoo_weights
from command_line import files, invoke, saved, succeeds
from extremal_jax.cli.console import output as speech
from extremal_jax.data.scenes import CLASSES
from extremal_jax.models.entries import ENTRIES

SCENE = Path(str(importlib.resources.files("extremal_jax.data") / "packaged" / "dog-and-car.png"))


def test_the_packaged_classifier_on_a_packaged_scene(tmp_path: Path) -> None:
    """A whole run, without an invented part."""
    output = succeeds("explain", SCENE, "--target", "dog", "--num-steps", 2, "--areas", "0.05,0.1", "--out", tmp_path)
    assert files(tmp_path) == ["dog-and-car.npz", "dog-and-car.png"]
    one = saved("dog-and-car", tmp_path)
    assert one.masks.shape == (2, 128, 128)
    assert CLASSES[one.targets] == "dog"
    np.testing.assert_allclose(one.areas, [0.05, 0.1], atol=1e-3)  # the precision of exact areas
    title, header, *rows, wrote = output.strip().splitlines()
    assert title == f"{SCENE}: dog, response {one.image_rewards:.2f}"
    assert header.strip().split("  ")[-4:] == ["area asked", "area reached", "response", "of the full image's"]
    for row, asked, area, reward in zip(rows, ("5.0%", "10.0%"), one.areas, one.rewards, strict=True):
        assert row.split() == [asked, f"{area:.1%}", f"{reward:.2f}", f"{reward / one.image_rewards:.0%}"]
    assert wrote == f"wrote {tmp_path}/dog-and-car.png and {tmp_path}/dog-and-car.npz"
    with Image.open(tmp_path / "dog-and-car.png") as figure:
        assert min(figure.size) > 300


DEFAULTS = {"areas": (0.025, 0.05, 0.1, 0.2), "at": None, "config": ej.Config(), "reference": None, "progress": False, "chunk_size": None}


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        ([], {}),
        (["--areas", "0.25,1"], {"areas": (0.25, 1.0)}),
        (["--at", "blocks.3"], {"at": "blocks.3"}),
        (["--chunk-size", 3], {"chunk_size": 3}),
        (["--num-steps", 7], {"config": ej.Config(num_steps=7)}),
        (["--steps", 7], {"config": ej.Config(num_steps=7)}),
        (["--reward", "log_probability"], {"config": ej.Config(reward="log_probability")}),
        (
            ["--preset", "torchray", "--game", "delete", "--perturbation", "fade"],
            {"config": ej.Config.torchray(game="delete", perturbation="fade")},
        ),
        (["--preset", "thorough"], {"config": ej.Config.thorough()}),
        (
            ["--preset", "paper", "--game", "dual", "--reward", "contrastive"],
            {"config": ej.Config.paper(game="dual", reward="contrastive")},
        ),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_options(folder: Any, asked: Any, arguments: Any, changes: Any) -> None:
    succeeds("explain", "a.png", *arguments)
    assert {name: asked[0][name] for name in DEFAULTS} == {**DEFAULTS, **changes}


def test_seed(folder: Any, asked: Any) -> None:
    for call, seed in enumerate((0, 1, 2**32 - 1)):
        succeeds("explain", "a.png", "--seed", seed)
        assert asked[call]["key"] == jax.random.key(seed)


def test_reference(folder: Any, asked: Any, tiny: Any) -> None:
    succeeds("explain", "a.png", "--perturbation", "reference", "--reference", "b.png")
    assert asked[0]["config"].perturbation == "reference"
    np.testing.assert_array_equal(asked[0]["reference"], tiny.preprocess(ej.data.load_image("b.png")))


def test_progress_is_for_people(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "is_terminal", lambda: True)
    succeeds("explain", "a.png")
    assert asked[0]["progress"] is True


def test_several_images_run_as_a_batch(folder: Any, asked: Any, tiny: Any) -> None:
    succeeds("explain", "a.png", "b.png", "--target", "fox")
    [call] = asked
    for image, name in zip(call["images"], ("a.png", "b.png"), strict=True):
        np.testing.assert_array_equal(image, tiny.preprocess(ej.data.load_image(name)))
    assert files() == ["a.npz", "a.png", "b.npz", "b.png"]
    for index, name in enumerate(("a", "b")):
        np.testing.assert_array_equal(saved(name).rewards, plot_results.result(2).rewards[index])


@pytest.mark.parametrize(("target", "index"), [("tomato", CLASSES.index("tomato")), ("0", 0), (str(len(CLASSES) - 1), len(CLASSES) - 1)])
def test_target(folder: Any, asked: Any, target: Any, index: Any) -> None:
    output = succeeds("explain", "a.png", "--target", target)
    assert asked[0]["targets"] == index
    assert f"a.png: {CLASSES[index]}, " in output


@pytest.mark.parametrize("dense", [False, True])
def test_top_is_the_best_class_of_each_image(folder: Any, asked: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch, dense: bool) -> None:
    """Of a dense classifier, in the mean over space."""
    images = np.stack([tiny.preprocess(ej.data.load_image(name)) for name in ("a.png", "b.png")])
    best = tiny(images).argmax(axis=1)
    if dense:
        scores = type(tiny).__call__
        offset = jnp.arange(-1.0, 2.0).reshape(1, 3, 1, 1)
        monkeypatch.setattr(type(tiny), "__call__", lambda self, images: scores(self, images)[:, None, None] + offset)
    succeeds("explain", "a.png", "b.png", "--target", "top")
    np.testing.assert_array_equal(asked[0]["targets"], best)


@pytest.mark.parametrize(
    ("game", "name", "sign"), [("preserve", "response", 1), ("delete", "response left", -1), ("dual", "difference", 1)]
)
def test_columns_are_named_by_the_game(folder: Any, asked: Any, game: str, name: str, sign: int) -> None:
    _, header, row, *_ = succeeds("explain", "a.png", "--game", game).splitlines()
    assert header.strip().split("  ")[-2:] == [name, "of the full image's"]
    value = sign * saved().rewards[0]
    assert row.split()[-2:] == [f"{value:.2f}", f"{value / saved().image_rewards:.0%}"]


def test_a_run_that_is_not_finite(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are written, and the error names the image."""
    answer = ej.extremal_perturbation
    status = ej.Status(np.array([[-1, -1, -1], [-1, 0, 4]], np.int32))
    monkeypatch.setattr(ej, "extremal_perturbation", lambda *args, **options: dataclasses.replace(answer(*args, **options), status=status))
    result = invoke("explain", "a.png", "b.png", "--target", "dog")
    assert result.exit_code == 3
    lines = saved("b").status.message.splitlines()
    assert len(lines) == 2
    assert "not finite at step 0" in lines[0]
    assert result.stderr == "Error: " + "".join(f"b.png, {line}\n" for line in lines)
    assert files() == ["a.npz", "a.png", "b.npz", "b.png"]


@pytest.mark.parametrize(("arguments", "path"), [(["--report"], "out/report.html"), (["--report", "x/cats.htm"], "x/cats.htm")])
def test_report(folder: Any, asked: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch, arguments: Any, path: str) -> None:
    written = []
    monkeypatch.setattr(ej.report, "write", lambda *args, **options: written.append((args, options)))
    output = succeeds("explain", "a.png", "b.png", "--chunk-size", 3, *arguments)
    [((page, images, result), options)] = written
    assert (str(page), options.pop("model")) == (path, tiny)
    assert options == {"names": ["a.png", "b.png"], "reference": None, "chunk_size": 3}
    assert images.shape[0] == len(result) == 2
    assert f"wrote {path}\n" in output
    succeeds("explain", "a.png", "--perturbation", "reference", "--reference", "b.png", *arguments)
    np.testing.assert_array_equal(written[1][1]["reference"], tiny.preprocess(ej.data.load_image("b.png")))


def test_a_report_of_a_whole_run(folder: Any, tiny: Any) -> None:
    """It names the images and the model's classes, also of a run that is written beside figures."""
    succeeds("explain", "a.png", "b.png", "--num-steps", 2, "--areas", "0.1", "--out", "out", "--report")
    assert files() == ["a.npz", "a.png", "b.npz", "b.png", "report.html"]
    page = report_pages.Page(Path("out/report.html").read_text())
    assert [one["name"] for one in page.pictures] == ["a.png", "b.png"]
    assert {row["name"] for row in page.pictures[0]["classes"]["whole"]["rows"]} <= set(CLASSES)


def test_a_report_of_maps(folder: Any, tiny: Any) -> None:
    """Of several methods side by side, with the class of each image."""
    succeeds("explain", "a.png", "b.png", "--method", "gradient", "--method", "occlusion", "--target", "dog", "--report")
    page = report_pages.Page(Path("out/report.html").read_text())
    assert [one["target"] for one in page.pictures] == ["dog", "dog"]
    assert [one["name"] for one in page.pictures[0]["maps"]] == ["gradient", "occlusion"]


@pytest.mark.slow
def test_a_classifier_of_the_zoo(folder: Any) -> None:
    """From a file of weights to masks of a class by name."""
    architecture = ENTRIES["resnet18"].architecture
    zoo_weights.write(Path("random.safetensors"), zoo_weights.wanted(architecture, architecture.layouts[0]))
    options = "--model", "resnet18", "--weights", "random.safetensors", "--target", "tabby", "--num-steps", 2
    assert succeeds("explain", "a.png", *options).startswith("a.png: tabby, response")
