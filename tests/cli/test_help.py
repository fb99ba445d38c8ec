"""Help, version, and the lists of names that the library's tables hold."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import extremal_jax as ej
from command_line import fails, invoke, succeeds
from extremal_jax import cli
from extremal_jax.attribution import METHODS
from extremal_jax.cli.tables import PRESETS, Name
from extremal_jax.operators.games import DELETE, GAMES
from extremal_jax.operators.perturbations import PERTURBATIONS
from extremal_jax.operators.rewards import REWARDS


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_the_commands(arguments: Any) -> None:
    output = succeeds(*arguments)
    assert "extremal-jax explain photo.png" in output
    commands = output.split("Commands:")[1].split("\n\n")[0].split("\n")
    assert {line.split()[0]: line.rstrip()[-1] for line in commands if line.strip()} == dict.fromkeys(
        ("benchmark", "channels", "convert", "doctor", "explain", "export", "invert", "models", "plan", "scenes", "smallest-area", "sweep"),
        ".",
    )
    assert "..." not in output.split("Options:")[1]  # nothing is cut short


@pytest.mark.parametrize("command", cli.main.commands.values(), ids=lambda command: command.name)
def test_every_command_and_option_is_explained(command: Any) -> None:
    assert command.help
    assert [option.name for option in command.params if option.param_type_name == "option" and not option.help] == []
    output = succeeds(command.name, "--help")
    assert command.name == "models" or f"  extremal-jax {command.name} " in output
    assert all(
        f"Values of {option.opts[0]}:" in output for option in command.params if isinstance(option.type, Name) and option.type.listed
    )


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("--method", METHODS),
        ("--game", GAMES),
        ("--perturbation", PERTURBATIONS),
        ("--reward", [name for name, reward in REWARDS.items() if reward.arity == 1]),
        ("--preset", PRESETS),
    ],
)
def test_help_lists_the_names_of_the_tables(option: str, names: Any) -> None:
    section = invoke("explain", "--help").output.split(f"Values of {option}:")[1].split("Values of")[0]
    assert [line.split()[0] for line in section.splitlines() if line.startswith("  ") and line[2] != " "] == list(names)


def test_help_describes_the_names() -> None:
    output = " ".join(invoke("explain", "--help").output.split())
    for name, method in METHODS.items():
        assert f"{name} {method.description}" in output


def test_a_record_of_a_table_is_a_choice(folder: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(invoke("explain", "a.png", "--game", "remove"), 2, "--game", "unknown name 'remove'; choose from 'preserve', 'delete', 'dual'")
    monkeypatch.setitem(GAMES, "remove", DELETE)
    assert "\n  remove" in succeeds("explain", "--help")
    invoke("explain", "a.png", "--game", "remove")
    assert asked[0]["config"].game == "remove"


def test_version() -> None:
    assert ej.__version__ in succeeds("--version")


def test_models() -> None:
    output = succeeds("models")
    for entry in ej.models.available():
        assert entry.name in output
        assert f"{entry.parameters:,}" in output
        assert "{}x{}".format(*entry.input_size) in output


def test_help_as_a_module_loads_no_command() -> None:
    """It takes no longer than the import of click."""
    code = """if True:
        import runpy, sys
        sys.argv[1:] = ["--help"]
        try:
            runpy.run_module("extremal_jax", run_name="__main__")
        except SystemExit as end:
            print(end.code, *sys.modules)"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("Usage: ")
    code, *loaded = run.stdout.splitlines()[-1].split()
    assert code == "0"
    heavy = {
        "PIL",
        "jax",
        "numpy",
        "matplotlib",
        "rich",
        "safetensors",
        "extremal_jax.attribution",
        "extremal_jax.data",
        "extremal_jax.models",
    }
    assert heavy & set(loaded) == set()
