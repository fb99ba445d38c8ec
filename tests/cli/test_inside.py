"""The commands `channels`, `smallest-area` and `invert`, and `explain --at`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import pytest
from matplotlib.figure import Figure
from PIL import Image

import extremal_jax as ej
import plot_results
from command_line import document, fails, invoke, succeeds
from extremal_jax.data.scenes import CLASSES

pytestmark = pytest.mark.usefixtures("folder", "tiny")


def width(path: Any) -> Any:
    with Image.open(path) as picture:
        return picture.width


def test_smallest_area() -> None:
    output = succeeds("smallest-area", "a.png", "--num-steps", 2, "--resolution", 2, "--threshold", 0.5, "--target", 3)
    result = ej.SmallestArea.load("out/a.npz")
    area, whole, response = float(result.areas), float(result.image_responses), float(result.responses)
    assert output.startswith(
        f"a.png: {CLASSES[3]}, response {whole:.2f}; {area:.1%} of the image: response {response:.2f}\nwrote out/a.png"
    )
    assert result.masks.shape == (32, 32)
    assert Path("out/a.png").stat().st_size > 5_000


def test_options_of_smallest_area(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(ej, "smallest_area", lambda *_, **options: calls.append(options) or plot_results.smallest(2))  # type: ignore[func-returns-value]
    monkeypatch.setattr(ej.plots, "smallest_area", lambda *_: Figure(figsize=(1, 1)))
    output = succeeds("smallest-area", "a.png", "b.png", "--response", 7, "--seed", 3, "--chunk-size", 2)
    expected = dict(threshold=1.0, response=7.0, resolution=0.1, config=ej.Config(), key=jax.random.key(3), progress=False, chunk_size=2)
    assert calls == [expected]
    assert "b.png: wolf, response 16.00; no area suffices; the best: response 6.00" in output
    first, second = document("smallest-area", "a.png", "b.png")["images"]
    assert first["target"] == {"index": 0, "name": CLASSES[0]}
    assert {name: first[name] for name in ("response", "wanted", "reached", "area", "response_of_area")} == dict(
        response=8, wanted=2, reached=True, area=0.25, response_of_area=3
    )
    assert (second["reached"], second["area"]) == (False, None)
    assert succeeds("smallest-area", "a.png", "b.png", "--quiet") == ""


def test_a_threshold_that_is_not_finite() -> None:
    fails(invoke("smallest-area", "a.png", "--threshold", "nan"), 2, "threshold must be a positive, finite number, got nan")


def test_invert(monkeypatch: pytest.MonkeyPatch) -> None:
    output = succeeds("invert", "a.png", "--at", "blocks.3", "--steps", 3, "--channels", "0,2", "--objective", "l2")
    for name in ("(all channels)", "(kept channels)", "(dropped channels)", "wrote out/a.png"):
        assert name in output
    result = ej.InversionResult.load("out/a.npz")
    assert (result.images.shape, result.history.shape) == ((3, 32, 32, 3), (3, 3))
    wide = width("out/a.png")

    calls = []
    first = jax.tree.map(lambda leaf: leaf[:1], result)
    monkeypatch.setattr(ej, "invert_features", lambda *_, **options: calls.append(options) or first)  # type: ignore[func-returns-value]
    assert "dropped" not in succeeds("invert", "a.png", "--at", "blocks.3")
    assert width("out/a.png") < wide
    expected = dict(at="blocks.3", shape=(32, 32), config=ej.InversionConfig(), key=jax.random.key(0), progress=False, chunk_size=None)
    assert calls == [expected]
    found = document("invert", "a.png", "--at", "blocks.3")
    assert (found["at"], found["images"][0]["cosines"]) == ("blocks.3", {"all channels": pytest.approx(float(first.cosines[0]))})
    assert succeeds("invert", "a.png", "--at", "blocks.3", "--quiet") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "blocks.4"), "unknown activation 'blocks.4'; did you mean 'blocks."),
        (("--at", "blocks.3", "--channels", "1,64"), "the channels of blocks.3 go from 0 to 63, got 64"),
        (("--at", "blocks.3", "--channels", "some"), "expected indices of channels, such as 3,17, separated by commas, got 'some'"),
        (("--at", "blocks.3", "--objective", "l3"), "unknown name 'l3'; choose from 'dot', 'l2'"),
        ((), "Missing option '--at'"),
    ],
)
def test_arguments_that_invert_refuses(arguments: Any, message: str) -> None:
    fails(invoke("invert", "a.png", *arguments), 2, message)


def test_channels() -> None:
    output = succeeds("channels", "a.png", "--at", "blocks.3", "--areas", "1,2", "--num-steps", 3, "--target", 4)
    assert f"a.png: {CLASSES[4]}, response" in output
    assert "to 64 channels of blocks.3" in output
    saved = ej.ChannelResult.load("out/a.npz")
    assert (saved.requested_areas.tolist(), saved.config.num_steps, int(saved.targets)) == ([1, 2], 3, 4)
    assert " ".join(map(str, saved.channels(2))) in output
    assert Path("out/a.png").stat().st_size > 5_000
    found = document("channels", "a.png", "--at", "blocks.3", "--areas", "1,2", "--num-steps", 3, "--target", 4)
    assert (found["at"], found["images"][0]["response"]) == ("blocks.3", pytest.approx(float(saved.image_rewards)))
    assert [(one["count"], one["channels"]) for one in found["images"][0]["sets"]] == [
        (count, saved.channels(count).tolist()) for count in (1, 2)
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--at", "blocks.3", "--areas", "0,1"], 2, "expected numbers of channels, such as 1,5,25, separated by commas, got '0,1'"),
        (["--at", "blocks.3", "--areas", "many"], 2, "got 'many'"),
        (["--at", "blocks.3", "--areas", "1,65"], 2, "areas"),
        (["--at", "blocks.4"], 2, "unknown activation 'blocks.4'; did you mean 'blocks."),
        ([], 2, "Missing option '--at'"),
    ],
)
def test_arguments_that_channels_refuses(arguments: Any, code: int, message: str) -> None:
    fails(invoke("channels", "a.png", *arguments), code, message)


def test_explain_at_a_layer() -> None:
    """The masks have the layer's size."""
    succeeds("explain", "a.png", "--at", "blocks.3", "--num-steps", 2, "--areas", "0.3")
    assert ej.ExtremalResult.load("out/a.npz").masks.shape == (1, 4, 4)
