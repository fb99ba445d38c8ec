"""The names of output files, and what remains of a run that fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import extremal_jax as ej
import report_pages
from command_line import fails, files, invoke, succeeds
from extremal_jax.cli import run


def test_images_of_the_same_name(folder: Any, asked: Any) -> None:
    for sub in ("x", "y"):
        Path(sub).mkdir()
        Path(sub, "a.png").write_bytes(Path("a.png").read_bytes())
    succeeds("explain", "x/a.png", "y/a.png")
    assert files() == ["a-2.npz", "a-2.png", "a.npz", "a.png"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "b.png"], ["a", "b"]),
        (["a.png", "a.jpg"], ["a", "a-2"]),
        (["a.png", "a.jpg", "a-2.png"], ["a", "a-3", "a-2"]),
        (["a-2.png", "a.png", "a.jpg", "x/a.png"], ["a-2", "a", "a-3", "a-4"]),
        (["a.png", "a.png"], ["a", "a-2"]),
        (["cat.jpg", "CAT.jpg", "Cat.png"], ["cat", "CAT-2", "Cat-3"]),
        (["cat.jpg", "CAT.jpg", "Cat-2.png"], ["cat", "CAT-3", "Cat-2"]),
        (["straße.png", "STRASSE.png"], ["straße", "STRASSE-2"]),
        (["caf\u00e9.png", "cafe\u0301.png"], ["caf\u00e9", "cafe\u0301-2"]),
    ],
)
def test_names_are_unique_where_case_and_unicode_forms_are_ignored(names: Any, expected: Any) -> None:
    assert run._stems(tuple(map(Path, names))) == expected


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_formats_of_figures(folder: Any, asked: Any, kind: str, begins: bytes) -> None:
    output = succeeds("explain", "a.png", "--figure-format", kind)
    assert f"wrote out/a.{kind} and out/a.npz\n" in output
    assert files() == sorted(["a.npz", f"a.{kind}"])
    assert Path("out", f"a.{kind}").read_bytes().startswith(begins)


@pytest.mark.parametrize(
    "command", [("explain",), ("explain", "--method", "gradient"), ("channels", "--at", "x"), ("invert", "--at", "x"), ("smallest-area",)]
)
def test_every_command_that_draws_takes_a_format(folder: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*given: Any) -> Any:
        raise ValueError(f"the format is {given[4]}")

    monkeypatch.setattr(run, "start", start)
    fails(invoke(command[0], "a.png", *command[1:], "--figure-format", "svg"), 2, "the format is svg")


def test_names_with_brackets(folder: Any, asked: Any) -> None:
    Path("a.png").rename("a[bold] :dog:.png")
    output = succeeds("explain", "a[bold] :dog:.png")
    assert output.startswith("a[bold] :dog:.png: ")
    assert "wrote out/a[bold] :dog:.png and" in output


@pytest.mark.parametrize("out", [".", "../{}", "x/.."])
def test_an_image_is_never_overwritten(folder: Any, asked: Any, out: str) -> None:
    Path("x").mkdir()
    before = Path("a.png").read_bytes()
    fails(invoke("explain", "a.png", "--out", out.format(folder.name)), 2, "would overwrite the image", "a.png; choose another folder")
    assert Path("a.png").read_bytes() == before
    assert files(".") == ["a.png", "b.png", "x"]


def test_an_image_is_recognised_under_another_name(folder: Any, asked: Any) -> None:
    """On file systems that ignore case, out/b.png and out/B.png are one file, as are two links to it."""
    Path("out").mkdir()
    Path("out/b.png").hardlink_to("a.png")
    fails(invoke("explain", "a.png", "b.png"), 2, "would overwrite the image out/b.png; choose another folder")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.png", ("--perturbation", "reference", "--reference"), "the figure would overwrite the reference image refs/a.png"),
        ("a.npz", ("--weights",), "the result would overwrite the weights refs/a.npz"),
    ],
)
def test_no_other_input_is_overwritten(folder: Any, asked: Any, name: str, options: Any, message: str) -> None:
    Path("refs").mkdir()
    given = Path("refs", name)
    given.write_bytes(Path("b.png").read_bytes())
    fails(invoke("explain", "a.png", *options, given, "--out", "refs"), 2, f"{message}; choose another folder")
    assert given.read_bytes() == Path("b.png").read_bytes()
    assert not asked


def test_weights_on_the_hub_are_no_file(folder: Any, asked: Any) -> None:
    for weights in ("hub", "hub:a/b"):
        succeeds("explain", "a.png", "--weights", weights)
    succeeds("explain", "a.png")  # over its own files
    assert files() == ["a.npz", "a.png"]


def test_a_folder_that_is_given_without_its_name(folder: Any) -> None:
    Path("x").mkdir()
    assert run._stems((Path(), Path("x/.."), Path(".."), Path("/"))) == [folder.name, f"{folder.name}-2", folder.parent.name, "input"]
    assert run.output_paths((Path(),), Path("out"), "png", {}) == [Path("out", folder.name)]
    assert files(".") == ["a.png", "b.png", "out", "x"]


def test_folder_that_cannot_be_written(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ej.models, "load", lambda *_: pytest.fail("the folder was checked after the run"))
    Path("file").touch()
    fails(invoke("explain", "a.png", "--out", "file"), 2, "--out")
    fails(invoke("explain", "a.png", "--out", "file/out"), 1, "cannot write file/out/a.png: ", "choose another output folder")
    fails(invoke("scenes", "--out", "file/out"), 1, "cannot write file/out/", "choose another output folder")


def test_interruption_leaves_no_part_of_a_file(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ej.plots, "overview", interrupted)
    result = invoke("explain", "a.png")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert files() == ["a.npz"]


def test_a_page_that_fails_loses_no_result(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ej.report, "write", full)
    fails(invoke("explain", "a.png", "--report"), 1, "no space left")
    assert files() == ["a.npz", "a.png"]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names of files are Unicode")
def test_a_name_that_is_not_unicode(folder: Any, tiny: Any) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Path("a.png").rename(name)
    output = succeeds("explain", name, "--num-steps", 2, "--areas", "0.1", "--report")
    assert output.startswith("caf?.png: ")
    assert files() == [name.replace(".png", ".npz"), name, "report.html"]
    [found] = report_pages.Page(Path("out/report.html").read_text()).pictures
    assert found["name"] == "caf?.png"


def test_images_of_one_name_have_two_on_the_page(folder: Any, tiny: Any) -> None:
    """The names of their files."""
    Path("x").mkdir()
    Path("x/a.png").write_bytes(Path("b.png").read_bytes())
    succeeds("explain", "a.png", "x/a.png", "--method", "gradient", "--report")
    assert [one["name"] for one in report_pages.Page(Path("out/report.html").read_text()).pictures] == ["a.png", "a-2.png"]
    assert files() == ["a-2.npz", "a-2.png", "a.npz", "a.png", "report.html"]
