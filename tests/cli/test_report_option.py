"""The option `--report` of the commands beside `explain`: whole runs of a tiny network, and where the page goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import report_pages
from command_line import fails, files, invoke, succeeds

COMMANDS: dict[str, tuple[Any, ...]] = {
    "channels": ("--at", "blocks.3", "--areas", "1,2", "--num-steps", 2, "--target", "dog"),
    "smallest-area": ("--num-steps", 2, "--resolution", 2, "--threshold", 0.5, "--target", "dog"),
    "invert": ("--at", "blocks.3", "--num-steps", 2, "--channels", "0,2"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_of_all_images(folder: Any, tiny: Any, command: str) -> None:
    output = succeeds(command, "a.png", "b.png", *COMMANDS[command], "--report", "x/page.html")
    assert "wrote x/page.html\n" in output
    page = report_pages.Page(Path("x/page.html").read_text())
    assert [one["name"] for one in page.pictures] == ["a.png", "b.png"]
    first = page.pictures[0]
    assert first["form"] == {"channels": "channels", "smallest-area": "image", "invert": "inversions"}[command]
    assert first["target"] == ("" if command == "invert" else "dog")
    assert (first["classes"] is None) == (command == "invert")  # the model is shown the masks
    if command == "invert":
        assert [one["title"] for one in first["found"]] == ["all channels", "kept channels", "dropped channels"]
        assert first["found"][0]["pictures"] != page.pictures[1]["found"][0]["pictures"]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_image_is_no_page(folder: Any, command: str) -> None:
    options = [option for option in COMMANDS[command] if option != "--report"]
    fails(invoke(command, *options, "--report", "a.png"), 2, "the report is a page, FILE.html, got 'a.png'")


@pytest.mark.parametrize(("command", "options"), [("channels", ()), ("smallest-area", ("--response", 1))])
def test_an_answer_of_nan(folder: Any, tiny: Any, command: str, options: Any) -> None:
    """All files are written, though the curve has no point."""
    tiny.network.head[...] = jnp.full_like(tiny.network.head[...], jnp.nan)
    result = invoke(command, "a.png", *COMMANDS[command], *options, "--report")
    assert result.exit_code == 3, result.output
    assert files() == ["a.npz", "a.png", "report.html"]
    assert report_pages.Page(Path("out/report.html").read_text()).pictures[0]["whole"] is None
