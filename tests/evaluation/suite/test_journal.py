"""The folder of a benchmark: rows survive a kill, and other settings are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extremal_jax.evaluation.suite.journal import Journal, missing_shards

SETTINGS = {"tests": ["energy"], "seed": 0}


def test_rows_come_back(tmp_path: Any) -> None:
    journal = Journal(tmp_path, SETTINGS)
    journal.append([{"case": "a"}, {"case": "b\nc"}])
    journal.append([{"case": "d"}])
    assert list(journal.rows()) == list(Journal(tmp_path, SETTINGS).own_rows()) == [{"case": "a"}, {"case": "b\nc"}, {"case": "d"}]


@pytest.mark.parametrize("torn", ['{"case": "b', '{"case": "b"}', "\x00\x00"])
def test_an_unfinished_line_does_not_count(tmp_path: Any, torn: str) -> None:
    Journal(tmp_path, SETTINGS).append([{"case": "a"}])
    path = tmp_path / "rows-1-of-1.jsonl"
    with path.open("a") as file:
        file.write(torn)
    assert list(Journal(tmp_path, SETTINGS, (1, 1)).rows()) == [{"case": "a"}]
    journal = Journal(tmp_path, SETTINGS)
    journal.append([{"case": "b"}])
    assert list(journal.rows()) == [{"case": "a"}, {"case": "b"}]


def test_shards_write_files_of_their_own_and_make_one_table(tmp_path: Any) -> None:
    first, third = Journal(tmp_path, SETTINGS, (1, 3)), Journal(tmp_path, SETTINGS, (3, 3))
    third.append([{"case": "c"}])
    first.append([{"case": "a"}])
    assert list(first.rows()) == list(third.rows()) == [{"case": "a"}, {"case": "c"}]
    assert list(third.own_rows()) == [{"case": "c"}]
    assert missing_shards(tmp_path, 3) == [2]


def test_a_line_that_another_shard_is_writing_is_left_alone(tmp_path: Any) -> None:
    (tmp_path / "rows-2-of-2.jsonl").write_text('{"case": "b"')
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    assert list(Journal(tmp_path, SETTINGS, (1, 2)).rows()) == []
    assert (tmp_path / "rows-2-of-2.jsonl").read_text() == '{"case": "b"'


def test_other_settings_are_refused_with_the_difference(tmp_path: Any) -> None:
    Journal(tmp_path, SETTINGS)
    with pytest.raises(
        ValueError, match=r"holds a benchmark of other settings: seed was 0 and is 1; tests was \['energy'\] and is \['road'\]"
    ):
        Journal(tmp_path, {"tests": ["road"], "seed": 1})
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


def test_models_and_methods_may_be_added(tmp_path: Any) -> None:
    Journal(tmp_path, SETTINGS | {"methods": {"gradient": "", "rise": "4000"}})
    assert Journal(tmp_path, SETTINGS | {"methods": {"center": "", "rise": "4000"}}).settings["methods"] == {
        "gradient": "",
        "rise": "4000",
        "center": "",
    }
    with pytest.raises(ValueError, match="other settings: methods, rise, was '4000' and is '500'"):
        Journal(tmp_path, SETTINGS | {"methods": {"rise": "500"}})


def test_rows_without_settings_are_refused(tmp_path: Any) -> None:
    (tmp_path / "rows-1-of-1.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="holds rows without settings"):
        Journal(tmp_path, SETTINGS)


def test_a_path_that_is_a_file_is_an_error(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose another output folder"):
        Journal(Path(tmp_path / "file"), SETTINGS)
