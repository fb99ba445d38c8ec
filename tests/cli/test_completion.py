"""Completion: commands, options and the names of the library's tables, from a cache where it is as new as the package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import get_completion_class

from extremal_jax import cli
from extremal_jax.attribution import METHODS
from extremal_jax.cli import tables
from extremal_jax.cli.console import remembered
from extremal_jax.cli.tables import PRESETS
from extremal_jax.models.entries import ENTRIES

VARIABLE = "_EXTREMAL_JAX_COMPLETE"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of names that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return remembered.cache_file()


def complete(*words: str) -> Any:
    """The words that complete the last one, as every shell gets them."""
    shell = get_completion_class("bash")
    assert shell is not None
    return [item.value for item in shell(cli.main, {}, "extremal-jax", VARIABLE).get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["exp"], ["explain", "export"]),
        (["explain", "--pres"], ["--preset"]),
        (["explain", "--preset", ""], list(PRESETS)),
        (["explain", "--preset", "to"], ["torchray"]),
        (["explain", "--method", "grad_cam"], [name for name in METHODS if name.startswith("grad_cam")]),
        (["explain", "--model", "efficientnet_lite"], [f"efficientnet_lite{index}" for index in range(3)]),
        (["explain", "--game", "d"], ["delete", "dual"]),
        (["explain", "--at", "blocks.3"], ["blocks.3"]),
        (["channels", "--model", "googlenet", "--at", "inception4d"], ["inception4d"]),
        (["invert", "--model", "nothing", "--at", ""], []),
        (["benchmark", "--methods", "rise,grad_cam"], ["rise," + name for name in METHODS if name.startswith("grad_cam")]),
        (["benchmark", "--models", "efficientnet_lite0,sce"], ["efficientnet_lite0,scenes"]),
        (["benchmark", "energy", "pointing"], ["pointing-game"]),
        (["export", "--format", "c"], ["coco"]),
        (["plan", "--accelerator", "v5"], ["v5e", "v5p"]),
    ],
    ids=" ".join,
)
def test_words(words: Any, expected: Any) -> None:
    assert complete(*words) == expected


def test_all_classifiers_complete() -> None:
    assert complete("explain", "--model", "") == list(ENTRIES)


def test_images_complete_to_files() -> None:
    shell = get_completion_class("bash")
    assert shell is not None
    [item] = shell(cli.main, {}, "extremal-jax", VARIABLE).get_completions(["explain"], "photo")
    assert item.type == "file"


def test_names_are_remembered(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is loaded once, and again after a change of the package or a damage of the cache."""
    loads = []
    records = tables.Name.records
    monkeypatch.setattr(tables.Name, "records", lambda self: loads.append(self.table) or records(self))  # type: ignore[func-returns-value]
    for _ in range(2):
        assert complete("explain", "--game", "pre") == ["preserve"]
    assert complete("explain", "--reward", "log") == ["logit", "log_probability"]
    assert [table.rpartition(":")[2] for table in loads] == ["GAMES", "REWARDS"]
    kept = json.loads(cache.read_text())
    for damage in (json.dumps(kept | {"stamp": "old"}), json.dumps([1]), "{", json.dumps(kept | {tables.GAMES.table: None})):
        cache.write_text(damage)
        assert complete("explain", "--game", "pre") == ["preserve"]
    assert len(loads) == 6
    assert json.loads(cache.read_text())[tables.GAMES.table].keys() == {"preserve", "delete", "dual"}


def test_a_cache_that_cannot_be_written(cache: Path) -> None:
    cache.parent.parent.touch()  # a file, where a folder should be
    assert complete("explain", "--game", "pre") == ["preserve"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str) -> None:
    """The script that docs/command_line.md tells users to load calls the command for completions."""
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("there is no bash, whose version click asks for")
    made = get_completion_class(shell)
    assert made is not None
    assert f"{VARIABLE}={shell}_complete" in made(cli.main, {}, "extremal-jax", VARIABLE).source()
    assert f"{VARIABLE}={shell}_source extremal-jax" in (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()


def test_a_press_of_tab_loads_no_jax(cache: Path) -> None:
    """Neither for commands nor for names that are remembered, as a shell asks for them."""
    complete("explain", "--method", "")
    code = "import sys; sys.argv[0] = 'extremal-jax'; from extremal_jax.cli import main"
    code += "\ntry: main()\nfinally: print('jax' in sys.modules)"
    for words, number, expected in (("extremal-jax exp", "1", "explain"), ("extremal-jax explain --method ri", "3", "rise")):
        environment = os.environ | {VARIABLE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": number}
        found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.split()
        assert f"plain,{expected}" in found
        assert found[-1] == "False"
