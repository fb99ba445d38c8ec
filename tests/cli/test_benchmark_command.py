"""`extremal-jax benchmark`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import document, fails, files, invoke, succeeds
from extremal_jax.data import SceneDataset
from extremal_jax.data.scenes import CLASSES

pytestmark = pytest.mark.usefixtures("folder", "tiny")
QUICK = ("--methods", "gradient,center", "--limit", 3, "--resume", "out")


def test_a_table() -> None:
    output = succeeds("benchmark", "energy", "pointing-game", *QUICK)
    assert "| model | method | pointing-game hit ↑ | energy energy ↑" in output  # in the order of the table of tests
    assert "| scenes | center |" in output
    assert "wrote out/table.md, table.csv and table.json" in output
    assert files("out") == ["rows-1-of-1.jsonl", "settings.json", "settings.lock", "table.csv", "table.json", "table.md"]
    assert Path("out/table.md").read_text() in output
    assert json.loads(Path("out/table.json").read_text())["rows"][0]["images"] == 3
    before = Path("out/rows-1-of-1.jsonl").read_bytes()
    succeeds("benchmark", "energy", "pointing-game", *QUICK)
    assert Path("out/rows-1-of-1.jsonl").read_bytes() == before


def test_the_table_of_what_is_there() -> None:
    output = succeeds("benchmark", "energy", *QUICK)
    assert succeeds("benchmark", "--table", "--resume", "out").strip() in output
    rows = json.loads(Path("out/table.json").read_text())["rows"]
    assert document("benchmark", "--table", "--resume", "out")["rows"] == rows
    assert document("benchmark", "energy", *QUICK)["files"] == ["out/table.md", "out/table.csv", "out/table.json"]
    assert succeeds("benchmark", "energy", *QUICK, "--quiet").strip() in output
    fails(invoke("benchmark", "--table"), 2, "no benchmark in benchmark")
    fails(invoke("benchmark"), 2, "name at least one test, of pointing-game, energy")


def test_shards_and_options() -> None:
    for index in (1, 2):
        output = succeeds("benchmark", "energy", *QUICK, "--shard", f"{index}/2", "--seed", 4, "--batch-size", 2, "--areas", "0.1,0.2")
    assert "Without the shards" not in output
    settings = json.loads(Path("out/settings.json").read_text())
    assert (settings["seed"], settings["shards"], settings["areas"]) == (4, 2, [0.1, 0.2])


def test_a_list_of_difficult_pairs() -> None:
    output = succeeds("benchmark", "pointing-game", *QUICK)
    name, _, label = json.loads(Path("out/rows-1-of-1.jsonl").read_text().splitlines()[0])["case"].split(" ", 2)
    Path("difficult.txt").write_text(f"{name} {label}\nscene-4000-000009.png {CLASSES[SceneDataset(10)[9].labels[0]]}\n")
    assert "difficult" not in output
    output = succeeds("benchmark", "pointing-game", *QUICK[:-1], "other", "--difficult", "difficult.txt", "--torchray-average")
    assert "pointing-game hit, difficult ↑" in output
    assert "counted as zero, as in TorchRay" in output
    assert "counted as zero" in succeeds("benchmark", "--table", "--resume", "other", "--torchray-average")
    assert "counted as zero" not in succeeds("benchmark", "--table", "--resume", "other")


def test_difficult_pairs_beyond_the_default_number_of_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extremal_jax.data.specifications.SCENES", 1)
    example = SceneDataset(3)[2]
    Path("difficult.txt").write_text(f"{example.name} {CLASSES[example.labels[0]]}\n")
    output = succeeds("benchmark", "pointing-game", *QUICK, "--difficult", "difficult.txt")
    assert "pointing-game hit, difficult ↑" in output


def test_a_picture_that_cannot_be_read() -> None:
    Path("labels.csv").write_text("file,label\na.png,dog\nbroken.png,fox\n")
    Path("broken.png").write_bytes(b"no image")
    output = succeeds("benchmark", "reward", *QUICK, "--data", ".:labels.csv")
    assert "1 image skipped, which could not be read: broken.png is not an image" in output
    fails(invoke("benchmark", "reward", *QUICK, "--data", ".:labels.csv", "--strict"), 2, "broken.png is not an image")


def test_transfer_and_photographs() -> None:
    Path("labels.csv").write_text("file,label\na.png,dog\nb.png,fox\n")
    output = succeeds("benchmark", "reward", *QUICK, "--data", ".:labels.csv", "--transfer", "scenes", "--grids", 2, "--strict")
    assert "reward transferred ↑" in output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pointing"], 2, "unknown name 'pointing'; did you mean 'pointing-game'"),
        (["energy", "--shard", "3/2"], 2, "expected i/n with i from 1 to n, such as 2/8, got '3/2'"),
        (["energy", "--methods", "grad_cm"], 2, "unknown method 'grad_cm'; did you mean 'grad_cam'"),
        (["energy", "--models", " ,"], 2, "expected names separated by commas, got ' ,'"),
        (["energy", "--data", "voc:nowhere"], 2, "no folder nowhere"),
        (["energy", "--data", "scene"], 2, "no folder scene; data must be one of scenes, scenes:SEED"),
        (["energy", "--transfer", "scenes"], 2, "Invalid value for --transfer: applies only with the test `reward`"),
        (["reward", "--transfer-weights", "a.png"], 2, "Invalid value for --transfer-weights: applies only with --transfer"),
        (
            ["energy", "--models", "scenes,vit_b_16", "--weights", "a.png"],
            2,
            "Invalid value for --weights: applies only to a single classifier",
        ),
    ],
    ids=str,
)
def test_mistakes(arguments: Any, code: int, message: str) -> None:
    fails(invoke("benchmark", *arguments, "--limit", 1), code, message)
    assert not Path("benchmark").exists()
