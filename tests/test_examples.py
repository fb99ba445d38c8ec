"""The examples run: with small numbers, and where a font is needed, if it is installed."""

from __future__ import annotations

import functools
import json
import re
import runpy
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import extremal_jax as ej
from command_line import classifier, small_load
from extremal_jax.data.scenes import CELL, CLASSES, COLUMNS

EXAMPLES = Path(__file__).parents[1] / "examples"
FONTS = [
    Path("/usr/share/fonts") / place / "NotoColorEmoji.ttf"
    for place in ("truetype/noto", "noto", "google-noto-color-emoji-fonts", "google-noto-emoji", "truetype")
]
FONT = next((font for font in FONTS if font.exists()), None)


@pytest.fixture
def scenes_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "scenes")


def test_training_resumes_where_it_was_interrupted(tmp_path: Path, scenes_examples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import train

    monkeypatch.setattr(train, "ScenesNetwork", functools.partial(train.ScenesNetwork, widths=(4, 6, 6)))  # to compile faster

    def run(folder: Any) -> Any:
        train.main(f"--steps 4 --batch 2 --save-every 1 --evaluation-scenes 3 --out {tmp_path / folder}".split())
        return load_file(tmp_path / folder / "scenes.safetensors")

    def in_this_process(seed: Any, size: Any, start: Any, stop: Any, last: Any = np.inf) -> Iterator[Any]:
        for index in range(start, stop):
            if index == last:
                raise KeyboardInterrupt
            started.append(index)
            yield train.batch(seed, size, index)

    uninterrupted = run("whole")  # as users run it, with scenes from another process
    record = json.loads((tmp_path / "whole" / "scenes.json").read_text())
    assert tuple(record["classes"]) == CLASSES
    assert 0 <= record["scenes_right"] <= record["labels_right"] <= 1
    assert "--steps 4 --batch 2" in record["command"]
    assert record["evaluation"].startswith("3 fresh scenes")

    started: list[Any] = []
    monkeypatch.setattr(train, "batches", lambda *arguments: in_this_process(*arguments, last=2))  # type: ignore[misc]
    with pytest.raises(KeyboardInterrupt):
        run("parts")
    [state] = (tmp_path / "parts").iterdir()
    assert state.name.startswith("training-0-2x4")

    monkeypatch.setattr(train, "batches", in_this_process)
    resumed = run("parts")
    assert started == [0, 1, 2, 3, 0]  # the last for the evaluation
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["scenes.json", "scenes.safetensors"]
    assert resumed.keys() == uninterrupted.keys()
    for name, values in resumed.items():
        np.testing.assert_array_equal(values, uninterrupted[name], err_msg=name)


def test_every_class_has_a_character(scenes_examples: Any) -> None:
    import render_sprites

    assert tuple(render_sprites.CHARACTERS) == CLASSES
    assert len(set(render_sprites.CHARACTERS.values())) == len(CLASSES)


@pytest.mark.skipif(FONT is None, reason="the font NotoColorEmoji.ttf is not installed (Debian: fonts-noto-color-emoji)")
def test_sprites_can_be_rendered_anew(tmp_path: Path, scenes_examples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import render_sprites

    monkeypatch.setattr("sys.argv", ["render_sprites.py", str(FONT), str(tmp_path / "sheet.png")])
    render_sprites.main()
    with Image.open(tmp_path / "sheet.png") as sheet, Image.open(EXAMPLES.parent / "extremal_jax" / "data" / "sprites.png") as shipped:
        rendered, expected = (np.asarray(image.convert("RGBA"), float) for image in (sheet, shipped))
    assert rendered.shape == (-(-len(CLASSES) // COLUMNS) * CELL, COLUMNS * CELL, 4)
    # Releases of the font differ in details of some characters; two classes differ by at least 24 (test_scenes.py).
    for index, name in enumerate(CLASSES):
        y, x = index // COLUMNS * CELL, index % COLUMNS * CELL
        assert np.abs(rendered - expected)[y : y + CELL, x : x + CELL].mean() < 8, name


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs an example as a user does, with a small classifier in place of the packaged one; returns what it prints."""
    monkeypatch.setattr(ej.models, "load", lambda name: classifier())

    def run(script: Any, *arguments: Any) -> Any:
        monkeypatch.setattr(sys, "argv", [script, "--out", str(tmp_path), *arguments])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_explain(run: Any, tmp_path: Path) -> None:
    printed = run("explain.py", "--steps", "2", "--seed", "3")
    assert printed.startswith("finished\n")
    assert printed.count("the point is") == 4
    result = ej.ExtremalResult.load(tmp_path / "explained.npz")
    assert result.masks.shape == (4, 3, 32, 32)
    assert result.config.num_steps == 2
    assert (tmp_path / "explained.png").stat().st_size > 10_000


def test_photograph(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = EXAMPLES.parent / "extremal_jax" / "data" / "packaged" / "dog-and-car.png"
    arguments = ("--steps", "2", "--targets", "dog", "car", "--areas", "0.2", "0.4")
    printed = run("photograph.py", "--image", str(scene), *arguments)
    assert printed.startswith("finished\n")
    result = ej.ExtremalResult.load(tmp_path / "photograph.npz")
    assert result.masks.shape == (2, 2, 32, 32)
    assert result.config.num_steps == 2
    assert (tmp_path / "photograph.png").stat().st_size > 10_000
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SystemExit, match=r"no photograph is explained: .*pip install 'extremal-jax\[demo\]'"):
        run("photograph.py", *arguments)


@pytest.mark.slow
def test_inside(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three figures of one photograph; a stand-in for scikit-image has it."""
    monkeypatch.setattr(ej.models, "load", small_load)
    arguments = ["--only", "coffee", "--at", "blocks.2", "--count", "2", "--top", "2", "--steps", "2", "--mask-steps", "2"]
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "skimage", None)
        with pytest.raises(SystemExit, match=r"pip install 'extremal-jax\[demo\]'"):
            run("inside.py", *arguments)
    pixels = np.asarray(Image.open(EXAMPLES.parent / "extremal_jax" / "data" / "packaged" / "dog-and-car.png"))
    data = types.SimpleNamespace(coffee=lambda: pixels)
    monkeypatch.setitem(sys.modules, "skimage", types.SimpleNamespace(data=data))  # type: ignore[arg-type]
    printed = run("inside.py", *arguments)
    assert re.search(r"^espresso: 2 of \d+ channels", printed)
    assert [len(line.split(",")) for line in printed.splitlines() if "espresso: channels" in line] == [2]
    for name in ("inversion", "channels", "smallest-area"):
        assert (tmp_path / f"photograph-{name}.png").stat().st_size > 10_000


def test_report(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page, and its picture by a stand-in for the browser; another stands in for scikit-image."""
    pixels = np.asarray(Image.open(EXAMPLES.parent / "extremal_jax" / "data" / "packaged" / "dog-and-car.png"))
    monkeypatch.setitem(sys.modules, "skimage", types.SimpleNamespace(data=types.SimpleNamespace(chelsea=lambda: pixels)))  # type: ignore[arg-type]
    monkeypatch.setattr(ej.models, "load", small_load)
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\nfor argument; do case $argument in --screenshot=*) echo "$@" > "${argument#*=}";; esac; done\n')
    browser.chmod(0o700)
    monkeypatch.setenv("CHROMIUM", str(browser))
    run("report.py", "--steps", "2", "--height", "700", "--picture", str(tmp_path / "report.png"))
    assert "chelsea.png" in (tmp_path / "report.html").read_text()
    drawn = (tmp_path / "report.png").read_text()
    assert "--window-size=1200,700" in drawn
    assert drawn.strip().endswith((tmp_path / "report.html").as_uri())


def test_comparison(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of several methods, and one for each."""
    several = {name: ej.attribution.METHODS[name] for name in ("extremal_perturbation", "gradient", "grad_cam", "rise")}
    monkeypatch.setattr(ej.attribution, "METHODS", several)
    run("comparison.py", "--pictures", str(tmp_path / "pictures"), "--steps", "2", "--masks", "20")
    assert (tmp_path / "comparison.png").stat().st_size > 30_000
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == set(several)


def test_every_method_has_a_page_with_a_picture() -> None:
    documentation = EXAMPLES.parent / "docs"
    for folder in (documentation / "pictures" / "methods", documentation / "methods"):
        assert {path.stem for path in folder.iterdir()} - {"README"} == set(ej.attribution.METHODS)


def test_channels(run: Any, tmp_path: Path) -> None:
    printed = run("channels.py", "--images", "1", "--classes", "dog", "car", "--top", "3", "--steps", "2")
    assert "the best 4 channels are [" in printed
    assert "100%" in printed.split("overlap of the top channels:")[1]
    for name in ("channels.png", "class-channels.png"):
        assert (tmp_path / name).stat().st_size > 5_000


@pytest.mark.parametrize(
    ("script", "picture", "line"),
    [("smallest_area.py", "smallest-area.png", "suffices"), ("invert.py", "inversion.png", "the kept channels show")],
)
def test_examples_inside_the_network(run: Any, tmp_path: Path, script: str, picture: str, line: str) -> None:
    printed = run(script, "--steps", "2", "--scenes", "1")
    assert printed.startswith("finished\n")
    assert line in printed
    assert (tmp_path / picture).stat().st_size > 10_000


def test_series_and_clips(run: Any, tmp_path: Path) -> None:
    printed = run("series_and_clips.py", "--steps", "4")
    assert printed.count("finished") == 2
    for name in ("series.png", "clip.png"):
        assert ej.data.load_image(tmp_path / name).shape[1] > 600


def test_tpu_area_sweep(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, where no coordinator is known, and as the second of two processes, which says nothing."""
    asked: list[dict[str, Any]] = []

    def initialize(**numbers: Any) -> None:
        asked.append(numbers)
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    arguments = ("--steps", "1", "--limit", "2", "--batch-size", "2", "--areas", "0.2")
    printed = run("tpu_area_sweep.py", *arguments)
    assert printed.startswith("1 processes, ")
    assert "2 of 2 pictures" in printed
    assert "of which this process explained 2;" in printed
    assert printed.splitlines()[-1].startswith("20.0%  ")
    assert ej.open_sweep(tmp_path / "area-sweep").counts().explained == 2
    assert asked[0]["num_processes"] is asked[0]["process_id"] is None

    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert run("tpu_area_sweep.py", *arguments) == ""
    for name, value in dict(JAX_COORDINATOR_ADDRESS="host:1234", JAX_NUM_PROCESSES="2", JAX_PROCESS_ID="1").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="coordinator_address"):  # another process would be missed
        run("tpu_area_sweep.py", *arguments)
    assert (asked[-1]["num_processes"], asked[-1]["process_id"]) == (2, 1)


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(ej.models, "load", small_load)
    scene = EXAMPLES.parent / "extremal_jax" / "data" / "packaged" / "dog-and-car.png"
    arguments = ["--image", str(scene), "--pictures", "game", "--steps", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["settings.py", *arguments])
    runpy.run_path(str(EXAMPLES / "settings.py"), run_name="__main__")
    assert capsys.readouterr().out.count("finished") == 3
    assert ej.data.load_image(tmp_path / "game.png").shape[1] > 500
