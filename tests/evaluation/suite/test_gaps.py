"""Benchmarks of data with gaps: classes of one name or of none, shards without images, and images that only a part of a run can read."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import pytest

import extremal_jax as ej
from benchmark_squares import Squares, classifier, rows, run
from extremal_jax.data.examples import Example


def test_classes_without_names(tmp_path: Any) -> None:
    """Their labels are the model's indices, and the model's names are shown."""
    options: Any = dict(difficult=frozenset({("2.png", 2)}), tests=("pointing-game",))
    named = run(dataset=Squares(), folder=tmp_path / "named", **options)
    report = run(dataset=Squares(classes=()), folder=tmp_path / "nameless", **options)
    assert report.rows() == [line | {"seconds": other["seconds"]} for line, other in zip(named.rows(), report.rows(), strict=True)]
    assert report.absent == named.absent == ["grey"]
    average = ej.evaluation.tabulate(tmp_path / "nameless", torchray_average=True)
    assert average.lines[0].estimates["pointing-game hit"].mean == pytest.approx(0.8 * report.lines[0].estimates["pointing-game hit"].mean)


def test_a_shard_without_images_is_not_missing(tmp_path: Any) -> None:
    for index in (1, 2, 3):
        report = run(folder=tmp_path, limit=2, shard=(index, 3), methods=("center",))
        assert report.missing_shards == list(range(index + 1, 4))
    before = rows(tmp_path)
    run(folder=tmp_path, limit=2, shard=(3, 3), methods=("center",))
    assert rows(tmp_path) == before


class Failing(Squares):
    """Squares whose second image lacks its regions: grids can show it, and tests that need regions cannot."""

    def example(self, index: int) -> Example:
        found = super().example(index)
        if index != 1:
            return found
        return dataclasses.replace(found, size=None, objects=tuple(dataclasses.replace(one, box=None) for one in found.objects))


def test_an_image_that_only_other_tests_skip_stays_in_grids(tmp_path: Any) -> None:
    """A method that is added later is tested on the same grids."""
    options: Any = dict(models={"colours": classifier(300.0)}, num_grids=6, tests=("grid-pointing", "energy"), dataset=Failing(13))
    assert list(run(folder=tmp_path / "twice", methods=("gradient",), **options).skipped) == ["1.png"]
    run(folder=tmp_path / "twice", methods=("gradient", "center"), **options)
    run(folder=tmp_path / "once", methods=("gradient", "center"), **options)
    assert rows(tmp_path / "twice") == rows(tmp_path / "once")
    assert collections.Counter(row["of"] for row in rows(tmp_path / "twice"))["grids"] == 12


def test_a_benchmark_that_tests_nothing_claims_no_folder(tmp_path: Any) -> None:
    class Empty(Squares):
        def example(self, index: int) -> Example:
            return dataclasses.replace(super().example(index), objects=())

    for seed in (0, 1):
        with pytest.raises(ValueError, match="no image of squares could be tested"):
            run(dataset=Empty(1), tests=("insertion",), methods=("center",), folder=tmp_path, seed=seed)
