"""The command line: what it writes and prints, and what it says when it cannot."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from flax import nnx
from PIL import Image
from safetensors.numpy import load_file, save_file

import extremal_jax as ej
import zoo_weights
from extremal_jax import cli
from extremal_jax.data.scenes import CLASSES, generate
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.formats.pytorch import read_tensors
from extremal_jax.models.preprocessing import Preprocessing

PACKAGED = Path(str(importlib.resources.files("extremal_jax.data") / "packaged"))
WEIGHTS = Path(str(importlib.resources.files("extremal_jax.models") / "pretrained" / "scenes.safetensors"))


class Tiny(nnx.Module):
    """A network that compiles in a moment: the brightness of 8x8 cells, weighted by class."""

    def __init__(self):
        weights = np.random.default_rng(0).normal(size=(4 * 4 * 3, len(CLASSES)))
        self.weights = nnx.Param(jnp.asarray(weights, jnp.float32))

    def __call__(self, images):
        cells = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4))
        return 5 + cells.reshape(len(images), -1) @ self.weights[...]


@pytest.fixture
def tiny(monkeypatch):
    """The classifier that the commands load, in place of the packaged one, where a test is of the options alone."""
    model = ej.models.Classifier(Tiny(), "scenes", CLASSES, Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3))
    monkeypatch.setattr(ej.models, "load", lambda name, weights="default": model)
    return model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with two pictures in it."""
    monkeypatch.chdir(tmp_path)
    for name, pixels in zip(("a.png", "b.png"), generate(40, 2, 48).images, strict=True):
        Image.fromarray(pixels).save(name)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def explain(*arguments, steps=2, areas="0.1,0.3"):
    return invoke("explain", *arguments, "--steps", steps, "--areas", areas)


def saved(name="a", folder="out"):
    return ej.ExtremalResult.load(Path(folder) / f"{name}.npz")


def files(folder="out"):
    return sorted(path.name for path in Path(folder).iterdir())


def fails(result, code, *parts):
    """Ends with an exit code and one sentence on standard error that has all the parts."""
    assert result.exit_code == code, result.output
    *usage, sentence = result.stderr.strip().splitlines()
    assert sentence.startswith("Error: ")
    assert not usage or (code == 2 and usage[0].startswith("Usage: "))
    assert "Traceback" not in result.stderr
    for part in parts:
        assert str(part) in sentence


# Help and lists


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_the_commands(arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert "extremal-jax explain photo.png" in result.output
    commands = result.output.split("Commands:")[1].split("\n")
    assert {line.split()[0]: line.rstrip()[-1] for line in commands if line.strip()} == dict.fromkeys(
        ("channels", "convert", "explain", "invert", "models", "scenes", "smallest-area"), "."
    )
    assert "..." not in result.output.split("Options:")[1]  # nothing is cut short


@pytest.mark.parametrize("command", ["explain", "scenes"])
def test_help_of_a_command(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"  extremal-jax {command} " in result.output


@pytest.mark.parametrize("command", cli.main.commands.values(), ids=lambda command: command.name)
def test_every_option_is_explained(command):
    assert command.help
    assert [option.name for option in command.params if option.param_type_name == "option" and not option.help] == []


def test_version():
    assert ej.__version__ in invoke("--version").output


def test_models():
    result = invoke("models")
    assert result.exit_code == 0
    for entry in ej.models.available():
        assert entry.name in result.output
        assert f"{entry.parameters:,}" in result.output
        assert "{}x{}".format(*entry.input_size) in result.output


# Scenes


def test_scenes(folder):
    result = invoke("scenes", "--count", 3, "--seed", 7, "--size", 48, "--objects", 2, "--out", "made")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "wrote 3 scenes" in result.output
    contents = json.loads((folder / "made" / "labels.json").read_text())
    assert list(contents) == [f"scene-7-00{index}.png" for index in range(3)]
    masks = {name.replace(".png", f"-{label}.png") for name, labels in contents.items() for label in labels}
    assert set(files("made")) == {"labels.json", *contents, *masks}
    for scene, (name, labels) in zip(generate(7, 3, 48, objects=2), contents.items(), strict=True):
        np.testing.assert_array_equal(ej.data.load_image(f"made/{name}"), scene.images[0])
        assert {CLASSES[index] for index in np.flatnonzero(scene.labels[0])} == set(labels)
        for label in labels:
            mask = ej.data.load_image(f"made/{name.replace('.png', f'-{label}.png')}")
            np.testing.assert_array_equal(mask[..., 0], 255 * scene.masks[0, CLASSES.index(label)])


def test_scenes_have_defaults(folder):
    assert invoke("scenes").exit_code == 0
    assert ej.data.load_image("out/scene-0-003.png").shape == (128, 128, 3)
    labels = json.loads(Path("out/labels.json").read_text()).values()
    assert len(labels) == 4
    assert {len(names) for names in labels} <= {1, 2, 3}


@pytest.mark.parametrize("option", ["--count=0", "--seed=-1", "--size=31", "--objects=7", "--objects=0", "--count=many"])
def test_bad_scenes(folder, option):
    fails(invoke("scenes", option), 2, option.split("=")[0])
    assert not Path("out").exists()


# A run


def test_the_packaged_classifier_on_a_packaged_scene(tmp_path):
    result = explain(PACKAGED / "dog-and-car.png", "--target", "dog", "--out", tmp_path, steps=10, areas="0.05,0.1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert files(tmp_path) == ["dog-and-car.npz", "dog-and-car.png"]
    one = saved("dog-and-car", tmp_path)
    assert one.masks.shape == (2, 128, 128)
    assert CLASSES[one.targets] == "dog"
    np.testing.assert_allclose(one.areas, [0.05, 0.1], atol=1e-3)
    title, header, *rows, wrote = result.output.strip().splitlines()
    assert title == f"{PACKAGED}/dog-and-car.png: dog, response {one.image_rewards:.2f}"
    assert header.strip().split("  ")[-4:] == ["area asked", "area reached", "response", "of the full image's"]
    for row, asked, area, reward in zip(rows, ("5.0%", "10.0%"), one.areas, one.rewards, strict=True):
        assert row.split() == [asked, f"{area:.1%}", f"{reward:.2f}", f"{reward / one.image_rewards:.0%}"]
    assert wrote == f"wrote {tmp_path}/dog-and-car.png and {tmp_path}/dog-and-car.npz"
    with Image.open(tmp_path / "dog-and-car.png") as figure:
        assert min(figure.size) > 300


def test_as_a_module(tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "extremal_jax", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=120)

    (tmp_path / "broken.png").write_bytes((PACKAGED / "dog-and-car.png").read_bytes()[:500])
    version = run("--version")
    assert (version.returncode, ej.__version__ in version.stdout) == (0, True)
    failed = run("explain", "broken.png", "--debug")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Traceback")
    assert "broken.png cannot be decoded" in failed.stderr


def test_several_images_run_as_a_batch(folder, tiny):
    calls = []
    run = ej.extremal_perturbation

    def spy(*arguments, **options):
        calls.append(arguments[1].shape)
        return run(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ej, "extremal_perturbation", spy)
        assert explain("a.png", "b.png", "--target", "fox").exit_code == 0
    assert calls == [(2, 32, 32, 3)]
    assert files() == ["a.npz", "a.png", "b.npz", "b.png"]
    together = saved("b")
    assert explain("b.png", "--target", "fox").exit_code == 0
    np.testing.assert_allclose(together.rewards, saved("b").rewards, rtol=1e-5)  # the order of float32 sums


@pytest.mark.parametrize(
    ("target", "index"), [("tomato", CLASSES.index("tomato")), ("0", 0), (str(len(CLASSES) - 1), len(CLASSES) - 1), ("top", None)]
)
def test_target(folder, tiny, target, index):
    result = explain("a.png", "--target", target)
    image = tiny.preprocess(ej.data.load_image("a.png"))
    best = int(np.argmax(tiny(image[None])[0]))
    assert saved().targets == (best if index is None else index)
    assert f"a.png: {CLASSES[saved().targets]}, " in result.output


def test_top_is_the_best_of_each_image(folder, tiny):
    explain("a.png", "b.png")
    for name in ("a", "b"):
        image = tiny.preprocess(ej.data.load_image(f"{name}.png"))
        assert saved(name).targets == np.argmax(tiny(image[None])[0])


RUNS = {  # few runs that have all options between them, since each is compiled
    "default": ([], ej.Config(num_steps=2)),
    "torchray": (
        ["--preset", "torchray", "--game", "delete", "--perturbation", "fade"],
        ej.Config.torchray(num_steps=2, game="delete", perturbation="fade"),
    ),
    "paper": (
        ["--preset", "paper", "--game", "dual", "--reward", "contrastive"],
        ej.Config.paper(num_steps=2, game="dual", reward="contrastive"),
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), RUNS.values(), ids=RUNS)
def test_options_are_the_settings(folder, tiny, arguments, expected):
    assert explain("a.png", *arguments).exit_code == 0
    assert saved().config == expected.resolve((32, 32))


@pytest.mark.parametrize(
    ("run", "name", "sign"), [("default", "response", 1), ("torchray", "response left", -1), ("paper", "difference", 1)]
)
def test_columns_say_what_they_are(folder, tiny, run, name, sign):
    _, header, row, _, _ = explain("a.png", *RUNS[run][0]).output.strip().splitlines()
    assert header.strip().split("  ")[-2:] == [name, "of the full image's"]
    value = sign * saved().rewards[0]
    assert row.split()[-2:] == [f"{value:.2f}", f"{value / saved().image_rewards:.0%}"]


def test_areas(folder, tiny):
    explain("a.png", areas="0.25,1")
    np.testing.assert_array_equal(saved().requested_areas, np.float32([0.25, 1]))


def test_seed(folder, tiny):
    paths = []
    for seed in (0, 0, 1):
        explain("a.png", "--seed", seed)
        paths.append(saved().history.rewards)
    np.testing.assert_array_equal(paths[0], paths[1])
    assert (paths[0] != paths[2]).any()


@pytest.fixture
def asked(tiny, monkeypatch):
    """What the library is asked for, of which it then does a small part."""
    calls = []
    run = ej.extremal_perturbation

    def spy(model, images, targets, areas, *, key, **options):
        calls.append({"areas": areas, **options})
        return run(model, images, targets, (0.1, 0.3), key=key, config=ej.Config(num_steps=2), progress=options["progress"])

    monkeypatch.setattr(ej, "extremal_perturbation", spy)
    return calls


def test_defaults(folder, asked):
    assert invoke("explain", "a.png").exit_code == 0
    assert asked == [{"areas": (0.025, 0.05, 0.1, 0.2), "at": None, "config": ej.Config(), "progress": False, "chunk_size": None}]


@pytest.mark.parametrize("name", ["log_probability", "contrastive", "logit"])
def test_reward(folder, asked, name):
    assert invoke("explain", "a.png", "--reward", name).exit_code == 0
    assert asked[0]["config"] == ej.Config(reward=name)


def test_chunk_size(folder, asked):
    assert invoke("explain", "a.png", "--chunk-size", 3).exit_code == 0
    assert asked[0]["chunk_size"] == 3


def test_progress_is_for_people(folder, asked, monkeypatch):
    monkeypatch.setattr(cli.inputs, "is_terminal", lambda: True)
    result = invoke("explain", "a.png")
    assert asked[0]["progress"] is True
    assert "2/2" in result.stderr
    assert "2/2" not in result.stdout


# Names of files


def test_images_of_the_same_name(folder, tiny):
    for sub in ("x", "y"):
        Path(sub).mkdir()
        Path(sub, "a.png").write_bytes(Path("a.png").read_bytes())
    assert explain("x/a.png", "y/a.png").exit_code == 0
    assert files() == ["a-2.npz", "a-2.png", "a.npz", "a.png"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "b.png"], ["a", "b"]),
        (["a.png", "a.jpg"], ["a", "a-2"]),
        (["a.png", "a.jpg", "a-2.png"], ["a", "a-3", "a-2"]),
        (["a-2.png", "a.png", "a.jpg", "x/a.png"], ["a-2", "a", "a-3", "a-4"]),
        (["a.png", "a.png"], ["a", "a-2"]),
    ],
)
def test_names_are_unique(names, expected):
    assert cli.inputs._stems(tuple(map(Path, names))) == expected


def test_names_with_brackets(folder, tiny):
    Path("a.png").rename("a[bold] :dog:.png")
    result = explain("a[bold] :dog:.png")
    assert result.output.startswith("a[bold] :dog:.png: ")
    assert "wrote out/a[bold] :dog:.png and" in result.output


@pytest.mark.parametrize("out", [".", "../{}", "x/.."])
def test_an_image_is_never_overwritten(folder, tiny, out):
    Path("x").mkdir()
    before = Path("a.png").read_bytes()
    fails(explain("a.png", "--out", out.format(folder.name)), 2, "would overwrite the image", "a.png; choose another folder")
    assert Path("a.png").read_bytes() == before
    assert files(".") == ["a.png", "b.png", "x"]


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--target", "dgo"], ["--target", "unknown class 'dgo'; did you mean 'dog'"]),
        (["--target", "26"], ["--target", "class indices go from 0 to 25, got 26"]),
        (["--model", "scene"], ["--model", "unknown name 'scene'; did you mean 'scenes'?"]),
        (["--areas", "0.1,x"], ["--areas", "expected numbers with commas between them, such as 0.05,0.1, got '0.1,x'"]),
        (["--areas", "5"], ["--areas", "above 0 and at most 1, got '5'"]),
        (["--areas", "0.1,nan"], ["--areas", "above 0 and at most 1"]),
        (["--areas", "0"], ["--areas", "above 0"]),
        (["--areas", ""], ["--areas", "expected numbers"]),
        (["--game", "play"], ["--game", "'preserve', 'delete', 'dual'"]),
        (["--reward", "x"], ["--reward"]),
        (["--perturbation", "x"], ["--perturbation"]),
        (["--preset", "x"], ["--preset"]),
        (["--steps", "0"], ["--steps", "x>=1"]),
        (["--chunk-size", "0"], ["--chunk-size"]),
        (["--seed", "x"], ["--seed"]),
        (["--weights", "missing.safetensors"], ["--weights", "'missing.safetensors' does not exist"]),
        (["missing.png"], ["'missing.png' does not exist"]),
        (["--colour", "red"], ["--colour"]),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_usage(folder, tiny, arguments, parts):
    fails(invoke("explain", "a.png", *arguments), 2, *parts)


@pytest.mark.parametrize("arguments", [["explain"], ["explan"]])
def test_usage_without_images_or_command(arguments):
    fails(invoke(*arguments), 2)


@pytest.mark.parametrize("content", [b"no picture", None])
def test_unreadable_image(folder, content):
    whole = Path("a.png").read_bytes()
    Path("a.png").write_bytes(content or whole[: len(whole) // 2])
    fails(explain("a.png"), 1, "a.png")
    assert files() == []


def test_hub_is_no_file(folder, monkeypatch):
    asked = []

    def load(name, weights):
        asked.append((name, weights))
        raise ConnectionError("the hub cannot be reached")

    monkeypatch.setattr(ej.models, "load", load)
    fails(explain("a.png", "--model", "resnet50", "--weights", "hub"), 1, "the hub cannot be reached")
    fails(explain("a.png", "--model", "resnet50", "--weights", "hub:a/b@c"), 1)
    assert asked == [("resnet50", "hub"), ("resnet50", "hub:a/b@c")]


def test_dense_classifiers_are_averaged_for_the_top_class(folder, tiny, monkeypatch):
    whole = explain("a.png", "--target", "top")
    scores = type(tiny).__call__
    offset = jnp.arange(-1.0, 2.0).reshape(1, 3, 1, 1)
    monkeypatch.setattr(type(tiny), "__call__", lambda self, images: scores(self, images)[:, None, None] + offset)
    dense = explain("a.png", "--target", "top")
    assert dense.exit_code == whole.exit_code == 0
    assert dense.stdout.splitlines()[0] == whole.stdout.splitlines()[0]


@pytest.mark.parametrize(
    "command", [["explain"], ["smallest-area"], ["channels", "--at", "blocks.3"], ["invert", "--at", "blocks.1"]], ids=str
)
def test_images_of_two_sizes_and_no_crop(folder, tiny, command):
    tiny.preprocessing = dataclasses.replace(tiny.preprocessing, crop=None)
    Image.new("RGB", (96, 48)).save("wide.png")
    fails(invoke(command[0], "a.png", "wide.png", *command[1:]), 2, "got 32x32 of a.png and 32x64 of wide.png; run them one by one")


def test_convert(folder):
    source = Path(__file__).parents[1] / "golden" / "pytorch_files" / "checkpoint.pth.tar"
    result = invoke("convert", source, "copy.safetensors")
    assert result.exit_code == 0, result.output
    expected = read_tensors(source)
    assert f"wrote {len(expected)} tensors to copy.safetensors" in result.stdout
    copy = load_file("copy.safetensors")
    assert copy.keys() == expected.keys()
    fails(invoke("convert", source, "copy.npz"), 1, "must end in .safetensors, got 'copy.npz'")
    fails(invoke("convert", "missing.pth", "copy.safetensors"), 2, "'missing.pth' does not exist")


@pytest.mark.slow
def test_a_classifier_of_the_zoo(folder):
    """From a file of weights to masks of a class by name."""
    architecture = ENTRIES["resnet18"].architecture
    zoo_weights.write(Path("random.safetensors"), zoo_weights.wanted(architecture, architecture.layouts[0]))
    result = explain("a.png", "--model", "resnet18", "--weights", "random.safetensors", "--target", "tabby")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("a.png: tabby, response")


def test_truncated_weights(folder):
    Path("part.safetensors").write_bytes(WEIGHTS.read_bytes()[:1000])
    fails(explain("a.png", "--weights", "part.safetensors"), 1, "part.safetensors is not a whole safetensors file")


def test_weights_that_do_not_fit(folder):
    save_file({"a": np.zeros(3, np.float32)}, "other.safetensors")
    fails(explain("a.png", "--weights", "other.safetensors"), 1, "other.safetensors do not fit scenes", "unexpected: a (3,)")


def test_folder_that_cannot_be_written(folder, monkeypatch):
    monkeypatch.setattr(ej.models, "load", lambda *_: pytest.fail("found out after the run only"))
    Path("file").touch()
    fails(explain("a.png", "--out", "file"), 2, "--out")
    fails(explain("a.png", "--out", "file/out"), 1, "cannot write file/out/a.png: ", "choose another output folder")
    fails(invoke("scenes", "--out", "file/out"), 1, "cannot write file/out/", "choose another output folder")


def test_a_run_that_is_not_finite(folder, tiny):
    tiny.network.weights[...] = jnp.full_like(tiny.network.weights[...], jnp.nan)
    result = explain("a.png", "--target", "dog")
    assert result.exit_code == 1
    lines = saved().status.message.splitlines()
    assert len(lines) == 2
    assert "not finite at step 0" in lines[0]
    assert result.stderr == "Error: " + "".join(f"a.png, {line}\n" for line in lines)
    assert files() == ["a.npz", "a.png"]


def test_traceback_with_debug_only(folder):
    Path("a.png").write_bytes(b"no picture")
    assert isinstance(explain("a.png").exception, SystemExit)
    assert "a.png is not an image" in str(explain("a.png", "--debug").exception)
    assert isinstance(explain("a.png", "--debug").exception, ValueError)


def test_interruption_leaves_nothing(folder, tiny, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ej.plots, "overview", interrupted)
    result = explain("a.png")
    assert result.exit_code == 1
    assert "Aborted!" in result.stderr
    assert "Traceback" not in result.stderr
    assert files() == ["a.npz"]
