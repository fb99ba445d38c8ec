"""The folder of a benchmark: rows survive a kill, and other settings are refused."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from extremal_jax.evaluation.suite.journal import Journal, missing_shards, rows_in
from extremal_jax.ground.locks import locked

SETTINGS = {"tests": ["energy"], "seed": 0}


def append(folder: Any, rows: Any, settings: Any = SETTINGS, shard: tuple[int, int] = (1, 1)) -> None:
    with Journal(folder, settings, shard) as journal:
        journal.append(rows)


def test_rows_come_back(tmp_path: Any) -> None:
    append(tmp_path, [{"case": "a"}, {"case": "b\nc"}])
    append(tmp_path, [{"case": "d"}])
    with Journal(tmp_path, SETTINGS) as journal:
        assert list(journal.own_rows()) == [{"case": "a"}, {"case": "b\nc"}, {"case": "d"}]
    assert list(rows_in(tmp_path)) == [{"case": "a"}, {"case": "b\nc"}, {"case": "d"}]


@pytest.mark.parametrize("torn", ['{"case": "b', '{"case": "b"}', "\x00\x00"])
def test_an_unfinished_line_does_not_count(tmp_path: Any, torn: str) -> None:
    append(tmp_path, [{"case": "a"}])
    with (tmp_path / "rows-1-of-1.jsonl").open("a") as file:
        file.write(torn)
    assert list(rows_in(tmp_path)) == [{"case": "a"}]
    append(tmp_path, [{"case": "b"}])
    assert list(rows_in(tmp_path)) == [{"case": "a"}, {"case": "b"}]


def test_shards_write_files_of_their_own_and_make_one_table(tmp_path: Any) -> None:
    with Journal(tmp_path, SETTINGS, (3, 3)) as third, Journal(tmp_path, SETTINGS, (1, 3)) as first, Journal(tmp_path, SETTINGS, (2, 3)):
        third.append([{"case": "c"}])
        first.append([{"case": "a"}])
        assert list(third.own_rows()) == [{"case": "c"}]
    assert list(rows_in(tmp_path)) == [{"case": "a"}, {"case": "c"}]
    assert missing_shards(tmp_path, 3) == [2]  # its file is empty


def test_a_line_that_another_shard_is_writing_is_left_alone(tmp_path: Any) -> None:
    append(tmp_path, [], shard=(1, 2))
    (tmp_path / "rows-2-of-2.jsonl").write_text('{"case": "b"')
    append(tmp_path, [{"case": "a"}], shard=(1, 2))
    assert list(rows_in(tmp_path)) == [{"case": "a"}]
    assert (tmp_path / "rows-2-of-2.jsonl").read_text() == '{"case": "b"'


def test_a_shard_that_another_process_is_running(tmp_path: Any) -> None:
    with Journal(tmp_path, SETTINGS), pytest.raises(BlockingIOError, match="another process is running shard 1 of 1 in"):
        Journal(tmp_path, SETTINGS | {"seed": 1})
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS
    append(tmp_path, [])


def test_a_shard_without_rows_keeps_its_settings_while_it_runs(tmp_path: Any) -> None:
    """It may still compile: other settings are refused then as well, and other methods added."""
    methods = {"methods": {"gradient": ""}}
    with Journal(tmp_path, SETTINGS | methods, (1, 2)):
        with pytest.raises(ValueError, match="other settings: seed was 0 and is 17"):
            Journal(tmp_path, SETTINGS | {"seed": 17}, (2, 2))
        assert not (tmp_path / "rows-2-of-2.jsonl").exists()
        append(tmp_path, [], SETTINGS | {"methods": {"center": ""}}, (2, 2))
        assert json.loads((tmp_path / "settings.json").read_text())["methods"] == {"gradient": "", "center": ""}


def test_other_settings_are_refused_with_the_difference(tmp_path: Any) -> None:
    append(tmp_path, [{"case": "a"}])
    with pytest.raises(
        ValueError, match=r"holds a benchmark of other settings: seed was 0 and is 1; tests was \['energy'\] and is \['road'\]"
    ):
        Journal(tmp_path, {"tests": ["road"], "seed": 1})
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


def test_a_folder_without_rows_takes_other_settings(tmp_path: Any) -> None:
    append(tmp_path, [])
    append(tmp_path, [{"case": "a"}], {"tests": ["road"], "seed": 1})
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == 1


def test_models_and_methods_may_be_added(tmp_path: Any) -> None:
    append(tmp_path, [{"case": "a"}], SETTINGS | {"methods": {"gradient": "", "rise": "4000"}})
    append(tmp_path, [], SETTINGS | {"methods": {"center": "", "rise": "4000"}})
    assert json.loads((tmp_path / "settings.json").read_text())["methods"] == {"gradient": "", "rise": "4000", "center": ""}
    with pytest.raises(ValueError, match="other settings: methods, rise was '4000' and is '500'"):
        Journal(tmp_path, SETTINGS | {"methods": {"rise": "500"}})


def test_shards_that_start_at_once_take_turns_to_add_to_the_settings(tmp_path: Any) -> None:
    """Otherwise both would read the same settings, and the last would drop what the first has added."""
    append(tmp_path, [{"case": "a"}], SETTINGS | {"methods": {"rise": ""}}, (1, 2))
    second = threading.Thread(target=append, args=(tmp_path, [], SETTINGS | {"methods": {"center": ""}}, (2, 2)))
    with (tmp_path / "settings.lock").open("wb") as guard:
        assert locked(guard)
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert list(json.loads((tmp_path / "settings.json").read_text())["methods"]) == ["rise"]
    second.join(30)
    assert list(json.loads((tmp_path / "settings.json").read_text())["methods"]) == ["rise", "center"]


def test_rows_without_settings_are_refused(tmp_path: Any) -> None:
    (tmp_path / "rows-1-of-1.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="holds rows without settings"):
        Journal(tmp_path, SETTINGS)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_settings(tmp_path: Any, content: str) -> None:
    append(tmp_path, [{"case": "a"}])
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings\.json is damaged"):
        Journal(tmp_path, SETTINGS)


def test_a_path_that_is_a_file_is_an_error(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose another output folder"):
        Journal(Path(tmp_path / "file"), SETTINGS)
