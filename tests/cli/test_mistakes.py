"""Mistakes on the command line: one sentence and an exit code."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import extremal_jax as ej
from command_line import fails, files, invoke

WEIGHTS = Path(str(importlib.resources.files("extremal_jax.models") / "pretrained" / "scenes.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--target", "dgo"], ["--target", "unknown class 'dgo'; did you mean 'dog'"]),
        (["--target", "26"], ["--target", "class indices go from 0 to 25, got 26"]),
        (["--model", "scene"], ["--model", "unknown name 'scene'; did you mean 'scenes'?"]),
        (
            ["--areas", "0.1,x"],
            ["--areas", "expected shares of the image above 0 and at most 1, such as 0.05,0.1, separated by commas, got '0.1,x'"],
        ),
        (["--areas", "5"], ["--areas", "above 0 and at most 1, such as 0.05,0.1, separated by commas, got '5'"]),
        (["--areas", "0.1,nan"], ["--areas", "above 0 and at most 1"]),
        (["--areas", "0"], ["--areas", "above 0"]),
        (["--areas", ""], ["--areas", "expected shares"]),
        (["--game", "play"], ["--game", "'preserve', 'delete', 'dual'"]),
        (["--reward", "x"], ["--reward", "'logit', 'log_probability', 'contrastive'"]),
        (["--reward", "margin"], ["--reward", "unknown name 'margin'"]),
        (["--perturbation", "x"], ["--perturbation", "'blur', 'fade'"]),
        (["--preset", "tochray"], ["--preset", "did you mean 'torchray'?"]),
        (["--steps", "0"], ["--steps", "x>=1"]),
        (["--num-steps", "0"], ["--num-steps", "x>=1"]),
        (["--chunk-size", "0"], ["--chunk-size"]),
        (["--seed", "x"], ["--seed"]),
        (["--seed", "-1"], ["--seed", "0<=x<=4294967295"]),
        (["--seed", str(2**32)], ["--seed", "0<=x<=4294967295"]),
        (["--weights", "missing.safetensors"], ["--weights", "'missing.safetensors' does not exist"]),
        (["missing.png"], ["'missing.png' does not exist"]),
        (["--colour", "red"], ["--colour"]),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_usage(folder: Any, tiny: Any, arguments: Any, parts: Any) -> None:
    fails(invoke("explain", "a.png", *arguments), 2, *parts)


@pytest.mark.parametrize("arguments", [["explain"], ["explan"]])
def test_usage_without_images_or_command(arguments: Any) -> None:
    fails(invoke(*arguments), 2)


@pytest.mark.parametrize("content", [b"no picture", None])
def test_unreadable_image(folder: Any, content: Any) -> None:
    whole = Path("a.png").read_bytes()
    Path("a.png").write_bytes(content or whole[: len(whole) // 2])
    fails(invoke("explain", "a.png"), 2, "a.png")
    assert files() == []


def test_hub_is_no_file(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: Any, weights: Any) -> None:
        asked.append((name, weights))
        raise ConnectionError("the hub cannot be reached")

    monkeypatch.setattr(ej.models, "load", load)
    fails(invoke("explain", "a.png", "--model", "resnet50", "--weights", "hub"), 1, "the hub cannot be reached")
    fails(invoke("explain", "a.png", "--model", "resnet50", "--weights", "hub:a/b@c"), 1)
    assert asked == [("resnet50", "hub"), ("resnet50", "hub:a/b@c")]


@pytest.mark.parametrize(
    "command", [["explain"], ["smallest-area"], ["channels", "--at", "blocks.3"], ["invert", "--at", "blocks.1"]], ids=str
)
def test_images_of_two_sizes_and_no_crop(folder: Any, tiny: Any, command: Any) -> None:
    tiny.preprocessing = dataclasses.replace(tiny.preprocessing, crop=None)
    Image.new("RGB", (96, 48)).save("wide.png")
    fails(invoke(command[0], "a.png", "wide.png", *command[1:]), 2, "got 32x32 for a.png and 32x64 for wide.png; run them one by one")


def test_truncated_weights(folder: Any) -> None:
    Path("part.safetensors").write_bytes(WEIGHTS.read_bytes()[:1000])
    fails(invoke("explain", "a.png", "--weights", "part.safetensors"), 2, "part.safetensors is not a whole safetensors file")


def test_weights_that_do_not_fit(folder: Any) -> None:
    save_file({"a": np.zeros(3, np.float32)}, "other.safetensors")
    fails(invoke("explain", "a.png", "--weights", "other.safetensors"), 2, "other.safetensors do not fit scenes", "unexpected: a (3,)")


def test_traceback_with_debug_only(folder: Any) -> None:
    Path("a.png").write_bytes(b"no picture")
    assert isinstance(invoke("explain", "a.png").exception, SystemExit)
    assert "a.png is not an image" in str(invoke("explain", "a.png", "--debug").exception)
    assert isinstance(invoke("explain", "a.png", "--debug").exception, ValueError)


@pytest.mark.parametrize("arguments", [("--report", "a.png"), ("a.png", "--report", "report.pdf")])
def test_a_report_is_a_page(folder: Any, asked: Any, arguments: Any) -> None:
    """An image after the option is not taken for the page, and overwritten."""
    fails(invoke("explain", *arguments), 2, "--report", "the report is a page, FILE.html, got ", "without a FILE, give the option last")
    assert files(".") == ["a.png", "b.png"]


def test_a_report_that_cannot_be_written(folder: Any, asked: Any) -> None:
    Path("page.html").mkdir()
    Path("file").touch()
    fails(invoke("explain", "a.png", "--report", "page.html"), 1, "cannot write page.html: Is a directory")
    fails(invoke("explain", "a.png", "--report", "file/page.html"), 1, "cannot write file/page.html: File exists")
    assert not asked
