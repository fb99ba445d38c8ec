"""`extremal-jax sweep` and `extremal-jax export`."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
import pytest

import command_line
import extremal_jax as ej
from command_line import document, fails, files, invoke, succeeds
from extremal_jax.cli.console import output
from extremal_jax.cli.console.progress import bar
from extremal_jax.cli.sweep import sweep
from extremal_jax.data.scenes import CLASSES
from extremal_jax.sweeps.layout import MASK_TYPES

QUICK = ("--areas", "0.1,0.3", "--steps", 2, "--batch-size", 2, "--out", "out")
SWEEP = ("scenes", "--limit", 3, *QUICK)
classifier = functools.cache(command_line.classifier)  # one for all tests, whose programs compile once


@pytest.fixture(autouse=True)
def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small classifier in place of the packaged one; the names and weights that were asked for."""
    asked: list[Any] = []

    def load(*arguments: Any, **options: Any) -> Any:
        asked.append((*arguments, options))
        return classifier()

    monkeypatch.setattr(ej.models, "load", load)
    return asked


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A finished sweep, and the words that the command ended with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("sweep"))
        patch.setattr(ej.models, "load", lambda *_, **__: classifier())
        yield succeeds("sweep", *SWEEP), Path("out").absolute()


@pytest.fixture
def out(kept: Any, folder: Path) -> Path:
    """The finished sweep, as the folder `out`."""
    Path("out").symlink_to(kept[1])
    return kept[1]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, kept: Any) -> dict[str, Any]:
    """The arguments of `ej.sweep`, which computes nothing."""
    arguments: dict[str, Any] = {}

    def sweep(*positional: Any, **options: Any) -> Any:
        seed = int(jax.random.key_data(options.pop("key"))[-1])
        arguments.update(options, positional=positional, seed=seed)
        return ej.open_sweep(kept[1])

    monkeypatch.setattr(ej, "sweep", sweep)
    return arguments


def test_a_sweep(kept: Any) -> None:
    output, store = kept
    assert output == "Sweep('out', 3 pictures, 2 areas): 3 of 3 done: 3 explained, 0 with faults, 0 skipped\n"
    found = ej.open_sweep(store)
    assert (found.names, found.manifest["targets"]) == (ej.data.SceneDataset(3).names, "top")
    assert [round(float(area), 6) for area in found.areas] == [0.1, 0.3]
    assert (found[2].masks.shape, found.config.num_steps) == ((2, 32, 32), 2)


def test_a_finished_sweep_is_only_told(kept: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extremal_jax.sweeps.running.extremal_perturbation", None)
    assert succeeds("sweep", *SWEEP) == kept[0]


def test_status(kept: Any, out: Path) -> None:
    assert succeeds("sweep", "--status", "out") == kept[0]
    assert succeeds("sweep", "--status", "out", "--quiet") == ""
    assert document("sweep", "--status", "out") == dict(pictures=3, explained=3, faulty=0, skipped=[], absent=0)
    fails(invoke("sweep", "--status", "nowhere"), 2, "no sweep in nowhere")
    fails(invoke("sweep", "--status", "out", "--report", "pages"), 2, "--report: applies only to a sweep that is run, not with --status")


def test_another_sweep_is_refused_with_the_difference(out: Path) -> None:
    fails(
        invoke("sweep", *SWEEP, "--seed", 1), 2, "out holds another sweep: key was [0, 0] and is [0, 1]. Choose another folder, or the same"
    )
    fails(invoke("sweep", *SWEEP, "--steps", 3), 2, "config, num_steps was 2 and is 3")
    fails(invoke("sweep", "scenes:5", *SWEEP[1:]), 2, "data was 'scenes:4000' and is 'scenes:5'; ", "names was")


@pytest.mark.parametrize("after", [0, 1])
def test_an_interruption_keeps_what_was_finished(kept: Any, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    explain, calls = ej.extremal_perturbation, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(options)
        if len(calls) > after:
            raise KeyboardInterrupt
        return explain(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("extremal_jax.sweeps.running.extremal_perturbation", interrupted)
        result = invoke("sweep", *SWEEP)
    assert result.exit_code == 130
    assert result.stderr == "stopped; what was finished is kept, and the same command goes on in out\n"
    assert f": {2 * after} of 3 done: {2 * after} explained, 0 with faults, 0 skipped\n" in succeeds("sweep", "--status", "out")
    assert succeeds("sweep", *SWEEP) == kept[0]


@pytest.mark.slow
def test_an_interruption_by_the_keyboard(tmp_path: Path) -> None:
    """Of a command in a process of its own."""
    program = "import command_line; command_line.ej.models.load = lambda *_, **__: command_line.classifier(); command_line.cli.main()"
    arguments = [str(argument) for argument in ("sweep", "scenes", "--limit", 12, *QUICK)]
    setting = os.environ | {"PYTHONPATH": str(Path(command_line.__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env=setting, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(Path("out/status").glob("c.*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    written, errors = process.communicate(timeout=60)
    assert (process.returncode, written) == (130, b"")
    assert errors.decode() == "stopped; what was finished is kept, and the same command goes on in out\n"
    kept = document("sweep", "--status", "out")["explained"]
    assert 0 < kept < 12
    assert ": 12 of 12 done: 12 explained, 0 with faults, 0 skipped\n" in succeeds(*arguments)


def test_pictures_that_cannot_be_read() -> None:
    for index in range(11):
        Path(f"a é {index:02}.jpg").write_bytes(b"no image")
    output = succeeds("sweep", ".", *QUICK)
    first, *skipped, last = output.splitlines()
    assert first.endswith("13 of 13 done: 2 explained, 0 with faults, 11 skipped")
    assert skipped == [f"  skipped a é {index:02}.jpg: a é {index:02}.jpg is not an image of a known format" for index in range(10)]
    assert last == "  and 1 more"
    skipped = document("sweep", "--status", "out")["skipped"]
    assert [one["picture"] for one in skipped] == [f"a é {index:02}.jpg" for index in range(11)]
    assert skipped[0]["reason"] == "a é 00.jpg is not an image of a known format"
    fails(invoke("sweep", ".", *QUICK[:-1], "strict", "--strict"), 2, "not an image of a known format; without strict it is skipped")


def test_export(out: Path) -> None:
    assert succeeds("export", "out") == "wrote 6 files of 3 pictures to masks\n"
    assert len(files("masks")) == 6
    assert document("export", "out") == dict(folder="masks", files=6, pictures=3)
    assert succeeds("export", "out", "-q") == ""
    assert ej.data.load_image(Path("masks") / files("masks")[0]).shape == (128, 128, 3)
    succeeds("export", "out", "--input-size", "--binary", "--out", "small")
    image = ej.data.load_image(Path("small") / files("small")[0])
    assert image.shape == (32, 32, 3)
    assert set(np.unique(image)) == {0, 255}
    assert succeeds("export", "out", "--format", "npz", "--out", "npz") == "wrote 3 files of 3 pictures to npz\n"
    fails(invoke("export", "nowhere"), 2, "no sweep in nowhere: it has no zarr.json")
    fails(invoke("export", "out", "--format", "jpg"), 2, "'jpg'")
    fails(invoke("export", "out", "--out", "a.png"), 2, "'a.png' is a file")


@pytest.mark.parametrize(
    ("file_format", "option", "message"),
    [
        ("npz", "--binary", "--binary: applies only with --format png"),
        ("coco", "--binary", "--binary: applies only with --format png; masks of COCO are binary"),
        ("npz", "--input-size", "--input-size: applies only with --format png or coco"),
    ],
)
def test_options_of_other_formats(out: Path, file_format: str, option: str, message: str) -> None:
    fails(invoke("export", "out", "--format", file_format, option), 2, message)
    assert not Path("masks").exists()


def test_report(out: Path) -> None:
    assert succeeds("sweep", *SWEEP, "--report", "pages").splitlines()[1:] == [f"wrote {Path('pages/index.html')}"]
    assert files("pages") == ["index.html", "page-0001.html"]
    assert document("sweep", *SWEEP, "--report", "pages")["report"] == "pages/index.html"
    fails(invoke("sweep", *SWEEP, "--report", "a.png"), 2, "'a.png' is a file")


def test_a_report_of_more_scenes_than_there_are_by_default(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extremal_jax.data.specifications.SCENES", 1)
    succeeds("sweep", *SWEEP, "--report", "pages")
    assert files("pages") == ["index.html", "page-0001.html"]


def test_a_report_inside_the_folder_of_the_sweep() -> None:
    for _ in range(2):
        succeeds("sweep", *SWEEP, "--report", "out/pages")
    assert files("out/pages") == ["index.html", "page-0001.html"]


@pytest.mark.parametrize(
    ("report", "code", "message"),
    [
        ("a.png/pages", 1, "cannot write a.png/pages/index.html: Not a directory"),
        ("/proc/pages", 1, "cannot write /proc/pages/index.html: "),
        ("out", 2, "Invalid value for --report: out is the folder of the sweep; choose another one for the pages"),
        ("../{}/out", 2, "/out is the folder of the sweep"),
        ("gs://bucket/pages", 2, "path must be a local file, got the address gs://bucket/pages/index.html"),
    ],
)
def test_a_report_is_checked_before_the_sweep(folder: Path, loaded: Any, report: str, code: int, message: str) -> None:
    fails(invoke("sweep", *SWEEP, "--report", report.format(folder.name)), code, message)
    assert not loaded
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        (("--areas", "0.5"), "areas", (0.5,)),
        (("--batch-size", 6), "batch_size", 6),
        (("--chunk-size", 3), "chunk_size", 3),
        (("--limit", 2), "limit", 2),
        (("--shard", "2/8"), "shard", (2, 8)),
        (("--masks", "uint16"), "masks", "uint16"),
        (("--seed", 5), "seed", 5),
        (("--strict",), "strict", True),
        (("--target", "3"), "targets", 3),
        (("--target", CLASSES[3]), "targets", CLASSES[3]),
        (("--target", "labels"), "targets", "labels"),
        (("--steps", 7, "--reward", "log_probability"), "config", ej.Config(num_steps=7, reward="log_probability")),
        (("--game", "delete", "--perturbation", "fade"), "config", ej.Config(game="delete", perturbation="fade")),
        (("--preset", "torchray"), "config", ej.Config.torchray()),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str | int | tuple) else "",
)
def test_options(given: Any, option: Any, name: str, value: Any) -> None:
    succeeds("sweep", "photographs", "--out", "gs://bucket/sweep", *option)
    defaults = dict(
        areas=(0.025, 0.05, 0.1, 0.2),
        batch_size=None,
        chunk_size=None,
        limit=None,
        shard=None,
        masks="uint8",
        seed=0,
        strict=False,
        targets="top",
        config=ej.Config(),
        progress=None,
        positional=(classifier(), "photographs", "gs://bucket/sweep"),
    )
    assert given == defaults | {name: value}


def test_model_and_weights(given: Any, loaded: Any) -> None:
    succeeds("sweep", "photographs", "--out", "out")
    succeeds("sweep", "photographs", "--out", "out", "--model", "resnet50", "--weights", "a.png")
    assert loaded == [("scenes", {"weights": "default"}), ("resnet50", {"weights": "a.png"})]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["scenes"], 2, "Missing option '--out'"),
        (["--out", "new"], 2, "Missing argument 'SOURCE'"),
        (["nowhere", "--out", "new"], 2, "no folder nowhere; data must be one of scenes"),
        (["scenes", "--out", "new", "--target", "x"], 2, "targets: unknown class 'x'"),
        (["scenes", "--out", "new", "--target", "99"], 2, "targets must be class indices from 0 to"),
        (["scenes", "--out", "new", "--masks", "int8"], 2, "Invalid value for '--masks': 'int8' is not one of"),
        (["scenes", "--out", "new", "--shard", "3/2"], 2, "expected i/n with i from 1 to n, such as 2/8, got '3/2'"),
        (["scenes", "--out", "new", "--batch-size", "3"], 2, "batch_size must be a multiple of the 2 devices that share a batch, got 3"),
        (["scenes", "--out", "new", "--perturbation", "reference"], 2, "a sweep has no reference image"),
        (["scenes", "--out", "a.png"], 1, "cannot write a.png"),
        (["scenes", "--out", "."], 2, ". holds other files, such as a.png; give the sweep a folder of its own"),
        (["scenes", "--out", "s3://bucket/new"], 2, "a sweep cannot be written to s3://bucket/new"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str | int | tuple) else "",
)
def test_mistakes(arguments: Any, code: int, message: str) -> None:
    fails(invoke("sweep", *arguments, *(["--limit", "1"] if "--out" in arguments else [])), code, message)
    assert not Path("new").exists()


def test_a_bar_shows_how_far_a_sweep_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("explaining") as progress:
        assert progress is None  # nobody sees it
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    with bar("explaining") as progress:
        assert progress is not None
        progress(2, 5)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "explaining" in shown.err
    assert "2/5" in shown.err


def test_the_types_of_masks_are_those_of_the_store() -> None:
    [masks] = [option.type for option in sweep.params if option.name == "masks"]
    assert isinstance(masks, click.Choice)
    assert tuple(masks.choices) == MASK_TYPES
