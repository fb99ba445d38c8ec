"""The tables of a benchmark."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from extremal_jax.evaluation.suite.journal import Journal
from extremal_jax.evaluation.suite.summaries import tabulate

SETTINGS = {
    "tests": ["pointing-game", "deletion"],
    "data": "a|b <script>",
    "models": {"net": "0"},
    "methods": {"center": "", "rise": ""},
    "classes": ["cat", "dog", "*owl*"],
    "areas": [0.1],
    "transfer": "other 0123",
    "shards": 1,
    "seed": 0,
    "version": "1.0",
    "environments": {"JAX 0.1, Python 3.11": ""},
}


CAT, DOG = 0, 1


def row(method: str, image: int, class_index: int, hit: float | None, auc: float, difficult: bool = False) -> dict[str, Any]:
    values = {"pointing-game hit": hit, "deletion auc": auc}
    known = dict(of="images", model="net", case=f"{image} {class_index}", name=f"{image}.png", seconds=float(image), difficult=difficult)
    return known | dict(method=method, image=image, class_index=class_index, values=values)


def skipped(model: str, name: str, reason: str, of: str = "images") -> dict[str, Any]:
    return dict(skipped=name, reason=reason, model=model, of=of)


def rows() -> list[dict[str, Any]]:
    found = [row("center", 0, CAT, 1.0, 0.2), row("center", 1, CAT, 1.0, 0.4), row("center", 2, DOG, 0.0, 0.6, difficult=True)]
    return [row("rise", 0, CAT, None, 0.1), *found, skipped("net", "x|y.jpg", "<b>broken</b>")]


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    with Journal(tmp_path, SETTINGS) as journal:
        journal.append(rows())
    return tmp_path


def test_means(folder: Any) -> None:
    center, rise = tabulate(folder).lines  # in the order of the settings
    assert (center.method, rise.method) == ("center", "rise")
    assert (center.images, center.cases, center.seconds) == (3, 3, 1.0)
    assert center.estimates["pointing-game hit"].mean == 0.5  # of the classes' accuracies, 1 and 0
    assert center.estimates["pointing-game hit, difficult"].number == 1
    assert center.estimates["deletion auc"].mean == pytest.approx(0.4)  # of all cases
    assert np.isnan(rise.estimates["pointing-game hit"].mean)
    assert tabulate(folder, torchray_average=True).lines[0].estimates["pointing-game hit"].mean == pytest.approx(1 / 3)


def test_markdown_escapes_names(folder: Any) -> None:
    text = tabulate(folder).markdown()
    header, ruler, *lines = text.split("\n\n")[0].splitlines()
    assert header == "| model | method | pointing-game hit ↑ | deletion auc ↓ | pointing-game hit, difficult ↑ | images | cases | seconds |"
    assert ruler.count("|") == header.count("|") == lines[0].count("|")
    assert r"a\|b \<script\>" in text
    assert r"\<b\>broken\</b\>" in text
    assert r"Classes that no case shows: 1 (\*owl\*), left out." in text
    assert "masks of the areas 0.1, transferred to other; seed 0" in text
    assert "Values of rise on net that are not finite are left out (pointing-game hit: 1)" in text
    assert "deletion: " in text
    assert "AUC = (Σ − first/2 − last/2) / n" in text
    assert "extremal_jax 1.0, JAX 0.1, Python 3.11. In brackets" in text
    assert "counted as zero, as in TorchRay" in tabulate(folder, torchray_average=True).markdown()
    assert "<" not in text.replace(r"\<", "")


def test_csv_and_json(folder: Any) -> None:
    report = tabulate(folder)
    report.save(folder / "tables")
    lines = list(csv.DictReader(io.StringIO((folder / "tables" / "table.csv").read_text())))
    assert [(line["method"], line["deletion auc"]) for line in lines] == [
        ("center", str(report.rows()[0]["deletion auc"])),
        ("rise", "0.1"),
    ]
    assert lines[1]["pointing-game hit"] == ""  # not a number
    content = json.loads((folder / "tables" / "table.json").read_text(), parse_constant=pytest.fail)
    assert content["rows"] == report.rows()
    assert content["skipped"] == {"x|y.jpg": "<b>broken</b>"}
    assert content["settings"]["seed"] == 0
    assert "AUC" in content["tests"]["deletion"]
    assert (lines[1]["seed"], lines[1]["areas"], lines[1]["data"]) == ("0", "0.1", "a|b <script>")
    assert lines[1]["versions"] == "extremal_jax 1.0, JAX 0.1, Python 3.11"
    assert "; deletion: " in lines[1]["tests"]


def test_rows_of_several_versions_of_jax(folder: Any) -> None:
    with Journal(folder, SETTINGS | {"environments": {"JAX 0.2, Python 3.12": ""}}):
        pass
    assert "extremal_jax 1.0, JAX 0.1, Python 3.11 and JAX 0.2, Python 3.12. In brackets" in tabulate(folder).markdown()


def test_missing_shards(tmp_path: Any) -> None:
    with Journal(tmp_path, SETTINGS | {"shards": 3}, (2, 3)) as journal:
        journal.append(rows())
    assert "Without the shards 1, 3 of 3." in tabulate(tmp_path).markdown()


def test_classes_of_one_name_are_two(tmp_path: Any) -> None:
    """As in ImageNet, which has two kinds of cranes."""
    with Journal(tmp_path, SETTINGS | {"classes": ["crane", "dog", "crane"]}) as journal:
        journal.append([row("center", 0, 0, 1.0, 0.2), row("center", 1, 0, 1.0, 0.2), row("center", 2, 2, 0.0, 0.2)])
    report = tabulate(tmp_path)
    assert report.lines[0].estimates["pointing-game hit"].mean == 0.5
    assert report.absent == ["dog"]


def test_the_interval_of_torchrays_average_is_around_its_mean(tmp_path: Any) -> None:
    """A class that no image shows is zero in all resamples; one that a resample happens not to show is left out of it."""
    with Journal(tmp_path, SETTINGS) as journal:
        journal.append([row("center", image, image % 2, float(image > 3), 0.2) for image in range(12)])
    with_zeros, without = (tabulate(tmp_path, torchray_average=flag).lines[0].estimates["pointing-game hit"] for flag in (True, False))
    assert with_zeros[:3] == pytest.approx([2 / 3 * bound for bound in without[:3]])
    assert with_zeros.low < with_zeros.mean < with_zeros.high


def test_an_image_is_skipped_until_the_model_that_could_not_read_it_has(tmp_path: Any) -> None:
    with Journal(tmp_path, SETTINGS) as journal:
        journal.append([row("center", 0, CAT, 1.0, 0.2), skipped("other", "0.png", "too small"), skipped("net", "0.png", "busy")])
    assert tabulate(tmp_path).skipped == {"0.png": "too small"}
