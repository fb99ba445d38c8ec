"""What commands print with `--json` and `--quiet`, and the exit codes that they end with."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import extremal_jax as ej
import plot_results
from command_line import document, fails, invoke, saved, succeeds
from extremal_jax import cli
from extremal_jax.cli.console import exits, output
from extremal_jax.data.scenes import CLASSES

CHECKPOINT = Path(__file__).parents[1] / "golden" / "pytorch_files" / "checkpoint.pth.tar"


@pytest.mark.parametrize("command", cli.main.commands.values(), ids=lambda command: command.name)
def test_every_command_has_the_options(command: Any) -> None:
    names = [name for option in command.params for name in option.opts]
    assert {"--json", "--quiet", "-q", "--debug"} <= set(names)
    assert len(names) == len(set(names))


def test_the_document_of_explain(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the numbers of the result, and the paths of the files."""
    monkeypatch.setattr(ej.report, "write", lambda *_, **__: None)
    found = document("explain", "a.png", "b.png", "--target", "fox", "--game", "delete", "--report", "page.html")
    assert (found["model"], found["report"]) == ("scenes", "page.html")
    first, second = found["images"]
    assert second["image"] == "b.png"
    assert second["files"] == {"figure": "out/b.png", "result": "out/b.npz"}
    assert second["target"] == {"index": CLASSES.index("fox"), "name": "fox"}
    assert (second["response"], second["reading"], second["faults"]) == (8, "response left", [])
    one = saved("b")
    for mask, area_asked, area, response in zip(second["masks"], one.requested_areas, one.areas, -one.rewards, strict=True):
        assert mask == pytest.approx({"area_asked": area_asked, "area": area, "response": response, "share": response / 8})
    assert first["masks"][0]["response"] == 1


def test_the_document_of_other_methods(folder: Any, tiny: Any) -> None:
    [found] = document("explain", "a.png", "--method", "gradient", "--target", 3)["images"]
    assert found["target"] == {"index": 3, "name": CLASSES[3]}
    assert found["maps"] == {"gradient": {"size": [32, 32]}}
    assert succeeds("explain", "a.png", "--method", "gradient", "--quiet") == ""


def test_documents_of_lists_and_files(folder: Any) -> None:
    first = document("models")["classifiers"][0]
    assert (first["name"], first["input_size"], "blocks.3" in first["activations"]) == ("scenes", [128, 128], True)
    found = document("convert", CHECKPOINT, "copy.safetensors")
    assert found["file"] == "copy.safetensors"
    assert set(found["tensors"]) == set(load_file("copy.safetensors"))
    [(name, labels)] = document("scenes", "--count", 1)["labels"].items()
    assert name == "scene-0-000.png"
    assert set(labels) <= set(CLASSES)


def test_the_quiet_hear_only_what_they_ask_for(folder: Any, asked: Any) -> None:
    assert succeeds("explain", "a.png", "--quiet") == ""
    assert succeeds("convert", CHECKPOINT, "copy.safetensors", "--quiet") == ""
    assert succeeds("scenes", "--count", 1, "-q") == ""
    assert succeeds("models", "-q") == succeeds("models")


def test_an_answer_that_means_nothing(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document is printed, numbers that are not finite are null, and the exit code is 3."""
    bad = dataclasses.replace(
        plot_results.result(1), rewards=np.full((1, 3), np.nan, np.float32), status=ej.Status(np.array([[-1, 4, -1]], np.int32))
    )
    monkeypatch.setattr(ej, "extremal_perturbation", lambda *_, **__: bad)
    result = invoke("explain", "a.png", "--json")
    assert result.exit_code == exits.MEANINGLESS == 3
    [image] = json.loads(result.stdout)["images"]
    assert [mask["response"] for mask in image["masks"]] == [None] * 3
    assert result.stderr == f"Error: a.png, {image['faults'][0]}\n"
    assert invoke("explain", "a.png", "--quiet").exit_code == 3


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError, 2),
        (TypeError, 2),
        (FileNotFoundError, 2),
        (FileExistsError, 2),
        (PermissionError, 1),
        (ImportError, 1),
        (ConnectionError, 1),
        (MemoryError, 1),
        (RuntimeError, 1),
    ],
)
def test_errors_have_exit_codes(folder: Any, monkeypatch: pytest.MonkeyPatch, error: Any, code: int) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise error("something\n is wrong")

    monkeypatch.setattr(ej.models, "load", load)
    for option in ("--json", "--quiet"):
        result = invoke("explain", "a.png", option)
        fails(result, code, "something is wrong")
        assert result.stdout == ""


def test_a_file_that_cannot_be_written_is_no_mistake() -> None:
    for error in (FileNotFoundError, FileExistsError, PermissionError):
        assert isinstance(exits.end(error("cannot write out/a.png: a reason; choose another output folder")), exits.Failed)


def test_a_reader_that_has_gone_ends_a_command_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(ej.models, "available", gone)
    result = invoke("models")
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize(("command", "sentence"), [("explain", "interrupted"), ("benchmark", "the same command goes on in rows")])
def test_interruptions(folder: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch, command: str, sentence: str) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ej, "extremal_perturbation", interrupted)
    monkeypatch.setattr(ej.evaluation, "benchmark", interrupted)
    result = invoke(command, *(["a.png"] if command == "explain" else ["energy", "--resume", "rows"]))
    assert (result.exit_code, result.stdout) == (130, "")
    assert sentence in result.stderr


def test_progress_is_not_shown_to_the_quiet(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    for option in ("--json", "--quiet"):
        succeeds("explain", "a.png", option)
    assert [call["progress"] for call in asked] == [True, False]


def test_help_lists_the_exit_codes() -> None:
    listed = " ".join(succeeds("--help").split("Exit codes:")[1].split())
    assert all(f"{code} {meaning}" in listed for code, meaning in exits.CODES.items())


def test_the_page_has_the_exit_codes_and_the_commands() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
    assert re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE) == [(str(code), meaning) for code, meaning in exits.CODES.items()]
    does, keys = (page.split(header)[1].split("\n\n")[0] for header in ("| command | does |", "| command | keys |"))
    for table in (does, keys):
        assert {name.split()[0] for name in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)} == set(cli.main.commands)


def test_the_page_has_the_keys_of_the_documents(folder: Any, asked: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
    lines = {line.split("`")[1]: set(re.findall(r"`(\w+)`", line)) for line in page.splitlines() if line.startswith("| `")}
    found = document("explain", "a.png")
    everywhere = {"image", "files", "faults", "report"}
    assert {*found, *found["images"][0], *found["images"][0]["masks"][0]} - everywhere <= lines["explain"]
    assert set(document("models")["classifiers"][0]) <= lines["models"]
    assert set(document("scenes", "--count", 1)) <= lines["scenes"]
    assert set(document("doctor", "--no-speed")) <= lines["doctor"]
    assert set(document("benchmark", "energy", "--methods", "center", "--limit", 1)) <= lines["benchmark"]
