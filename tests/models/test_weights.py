"""Weights from files: checkpoints as trainers write them, files of every kind, and the messages about those that do not fit."""

from __future__ import annotations

import importlib.resources
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import extremal_jax as ej
import zoo_weights
from golden_data import GOLDEN
from pytorch_programs import arrays, dictionary, value, zip_file

SCENES = Path(str(importlib.resources.files("extremal_jax.models") / "pretrained" / "scenes.safetensors"))


@pytest.fixture(scope="module")
def scenes() -> Any:
    return load_file(SCENES)


@pytest.fixture(scope="module")
def resnet18() -> Any:
    """Names and shapes of a ResNet-18's file."""
    return zoo_weights.tensors("torchvision/resnet18")


def save(path: Any, shapes: Any) -> Any:
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path)
    return path


def test_number_of_classes(tmp_path: Path, resnet18: Any) -> None:
    path = save(tmp_path / "seven.safetensors", resnet18 | {"fc.weight": (7, 512), "fc.bias": (7,)})
    model = ej.models.load("resnet18", path)
    assert model.classes == tuple("0123456")
    assert jax.eval_shape(model, jnp.zeros((1, 32, 32, 3))).shape == (1, 7)
    with pytest.raises(ValueError, match=r"fc\.weight: expected the shape \(3, 512\), the file has \(7, 512\)"):
        ej.models.load("resnet18", path, num_classes=3)


def test_everything_that_does_not_fit_is_listed(tmp_path: Path, resnet18: Any) -> None:
    shapes = dict(resnet18, **{"layer1.0.conv1.weight": (64, 64, 1, 1), "extra.bias": (3,)})
    shapes["layer4.1.conv3.weight"] = shapes.pop("layer4.1.conv2.weight")
    with pytest.raises(ValueError, match=r"do not fit resnet18 \(in the layout of torchvision and timm\)") as error:
        ej.models.load("resnet18", save(tmp_path / "a.safetensors", shapes))
    message = str(error.value)
    assert "layer1.0.conv1.weight: expected the shape (64, 64, 3, 3), the file has (64, 64, 1, 1)" in message
    assert "missing: layer4.1.conv2.weight (512, 512, 3, 3); layer4.1.conv3.weight would fit" in message
    assert "unexpected: extra.bias (3,)" in message
    assert "unexpected: layer4.1.conv3.weight (512, 512, 3, 3)" in message
    assert len(message.splitlines()) == 5
    assert "looks like" not in message


def test_another_architecture_is_recognised(tmp_path: Path, resnet18: Any) -> None:
    path = save(tmp_path / "a.safetensors", resnet18)
    with pytest.raises(ValueError, match="this file looks like resnet18\n"):
        ej.models.load("resnet50", path)
    with pytest.raises(ValueError, match="this file looks like resnet18\n"):
        ej.models.load("vgg16", path)


def test_ignored_tensors_do_not_hide_an_architecture(tmp_path: Path) -> None:
    """The auxiliary heads of GoogLeNet have as many numbers as the rest."""
    shapes = zoo_weights.tensors("torchvision/googlenet")
    heads = {f"aux{i}.{name}": shape for i in (1, 2) for name, shape in {"fc1.weight": (1024, 2048), "fc2.weight": (1000, 1024)}.items()}
    with pytest.raises(ValueError, match="this file looks like googlenet\n"):
        ej.models.load("resnet18", save(tmp_path / "a.safetensors", shapes | heads))


def test_a_head_of_no_classes_does_not_fit(tmp_path: Path, resnet18: Any) -> None:
    path = save(tmp_path / "a.safetensors", resnet18 | {"fc.bias": (0,), "fc.weight": (0, 512)})
    for name in ("resnet18", "resnet50"):
        with pytest.raises(ValueError, match=r"fc\.bias: expected the shape \(1000,\), the file has \(0,\)"):
            ej.models.load(name, path)


def test_auxiliary_heads_are_ignored(tmp_path: Path) -> None:
    shapes = zoo_weights.tensors("torchvision/googlenet") | {"aux1.fc1.weight": (1024, 2048), "aux2.conv.bn.bias": (128,)}
    shapes["aux3.fc1.weight"] = (2,)
    with pytest.raises(ValueError, match=r"do not fit googlenet.*\n  unexpected: aux3\.fc1\.weight \(2,\)$"):
        ej.models.load("googlenet", save(tmp_path / "a.safetensors", shapes))


def test_the_message_has_at_most_ten_lines(tmp_path: Path, resnet18: Any) -> None:
    other = {name.replace("conv", "convolution"): shape for name, shape in resnet18.items()}
    other["fc.weight"] = (1000, 512, 1)
    with pytest.raises(ValueError, match="do not fit resnet18") as error:
        ej.models.load("resnet18", save(tmp_path / "a.safetensors", other))
    lines = str(error.value).splitlines()
    assert len(lines) <= 10
    assert "  ... and 15 more missing" in lines
    assert "  ... and 15 more unexpected" in lines


# Checkpoints as trainers write them.


def shifted(tensors: Any, by: Any) -> Any:
    return tensors | {"head.bias": tensors["head.bias"] + np.float32(by)}


def head_bias(weights: Any, **options: Any) -> Any:
    network: Any = ej.models.load("scenes", weights, **options).network
    return np.asarray(network.head.bias[...])


def under(prefix: Any, tensors: Any) -> Any:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def infix(tensors: Any) -> Any:
    return {name.replace("blocks.", "blocks._orig_mod."): tensor for name, tensor in tensors.items()}


PREFIXES = ["module.", "_orig_mod.", "model.", "net.", "backbone.", "network.", "module._orig_mod.model.", "anything.at_all.", "stem."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_common_prefix_is_stripped(prefix: Any, scenes: Any, tmp_path: Path) -> None:
    save_file(under(prefix, scenes), tmp_path / "a.safetensors")
    np.testing.assert_array_equal(head_bias(tmp_path / "a.safetensors"), scenes["head.bias"])


def test_a_compiled_part_of_a_network(scenes: Any, tmp_path: Path) -> None:
    save_file(under("model._orig_mod.", infix(scenes)), tmp_path / "a.safetensors")
    np.testing.assert_array_equal(head_bias(tmp_path / "a.safetensors"), scenes["head.bias"])


def test_tensors_of_the_trainer_beside_the_prefix_are_ignored(scenes: Any, tmp_path: Path) -> None:
    save_file(under("model.", scenes) | {"criterion.weight": np.ones(26, np.float32), "steps": np.array(3)}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(head_bias(tmp_path / "a.safetensors"), scenes["head.bias"])
    save_file(scenes | {"criterion.weight": np.ones(26, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"unexpected: criterion\.weight \(26,\)"):
        head_bias(tmp_path / "a.safetensors")


def test_two_networks_in_one_file(scenes: Any, tmp_path: Path) -> None:
    save_file(under("student.", scenes) | under("teacher.", scenes), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"several networks that fit, under 'student\.' and 'teacher\.'; remove all but one"):
        head_bias(tmp_path / "a.safetensors")


def test_missing_tensors_under_a_prefix(scenes: Any, tmp_path: Path) -> None:
    save_file(under("model.", {name: tensor for name, tensor in scenes.items() if name != "stem.norm.bias"}), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"looked for under 'model\.'\n  missing: stem\.norm\.bias \(32,\)$"):
        head_bias(tmp_path / "a.safetensors")


AVERAGES = {
    "a prefix": lambda weights, average: under("model.", weights) | under("model_ema.module.", average),
    "a prefix alone": lambda weights, average: weights | under("ema.", average),
    "in capitals": lambda weights, average: under("model.", weights) | under("EMA.", average),
    "of three": lambda weights, average: under("net.", weights) | under("ema.online_model.", weights) | under("ema.ema_model.", average),
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_the_moving_average_under_a_prefix(kind: Any, scenes: Any, tmp_path: Path) -> None:
    save_file(AVERAGES[kind](scenes, shifted(scenes, 1)), tmp_path / "a.safetensors")
    np.testing.assert_array_equal(head_bias(tmp_path / "a.safetensors"), scenes["head.bias"])
    np.testing.assert_array_equal(head_bias(tmp_path / "a.safetensors", ema=True), scenes["head.bias"] + 1)


def checkpoint(path: Any, key: Any, weights: Any, average: Any, prefix: Any = "") -> Any:
    """As Lightning and timm write them: a trainer's state, the weights, and their moving average under a key."""
    body, records = arrays(under("model.", weights))
    others, more = arrays(under(prefix, average), first=len(weights))
    state = {"pytorch-lightning_version": value("2.0"), "hyper_parameters": value({"lr": 0.1}), "state_dict": body, "optimizer": b"}"}
    return zip_file(path, dictionary(**state, **{key: others}), records | more)


@pytest.mark.parametrize("key", ["model_ema", "ema_state_dict", "ema", "state_dict_ema"])
def test_the_moving_average_under_a_key(key: str, scenes: Any, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "last.ckpt", key, scenes, shifted(scenes, 1), "module." if key == "ema" else "")
    np.testing.assert_array_equal(head_bias(path, ema=True), scenes["head.bias"] + 1)
    if key == "ema":
        np.testing.assert_array_equal(head_bias(path), scenes["head.bias"])


def test_no_moving_average(tmp_path: Path, scenes: Any) -> None:
    for path in (SCENES, checkpoint(tmp_path / "last.ckpt", "schema", scenes, scenes)):
        with pytest.raises(ValueError, match="no exponential moving average of the weights, as ema=True asks for"):
            head_bias(path, ema=True)


# Files of every kind.


def test_the_content_tells_the_format(scenes: Any, tmp_path: Path) -> None:
    """The ending does not count, and an open file has none."""
    body, records = arrays(scenes)
    for path in (zip_file(tmp_path / "torch.safetensors", body, records), tmp_path / "safe.pth", tmp_path / "safe"):
        if not path.exists():
            path.write_bytes(SCENES.read_bytes())
        np.testing.assert_array_equal(head_bias(path), scenes["head.bias"])
        np.testing.assert_array_equal(head_bias(io.BytesIO(path.read_bytes())), scenes["head.bias"])
    with SCENES.open("rb") as file:
        np.testing.assert_array_equal(head_bias(file), scenes["head.bias"])


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_truncated_weights(tmp_path: Path, share: Any) -> None:
    content = SCENES.read_bytes()
    path = tmp_path / "part.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=f"{path} is not a whole safetensors file .*; fetch or convert it again"):
        ej.models.load("scenes", path)


@pytest.mark.usefixtures("unchecked")
def test_files_of_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(SCENES.read_bytes())
    with (tmp_path / "a").open(encoding="utf-8") as file:
        for weights, kind in ((io.StringIO("a"), "StringIO"), (file, "TextIOWrapper")):
            with pytest.raises(TypeError, match=rf"weights must be a file of bytes, got one of text \({kind}\); open it in binary mode"):
                ej.models.load("scenes", weights)


@pytest.mark.parametrize("address", ["https://example.org/b.safetensors?x=1", "HTTP://example.org/b.pth", "s3://bucket/b.pth"])
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_is_no_file(address: str, kind: Any) -> None:
    with pytest.raises(ValueError, match='weights must be a file, or "hub:OWNER/NAME"; download ') as error:
        ej.models.load("scenes", kind(address))
    assert address in str(error.value)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no weights file {tmp_path}/x.onnx; expected a safetensors file, or one written by"):
        ej.models.load("scenes", tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=f"weights must be a file, and {tmp_path} is a folder; name the file in it"):
        ej.models.load("scenes", tmp_path)
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"(?s)a\.npz do not fit scenes.*unexpected: a \(3,\)"):
        ej.models.load("scenes", tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"(?s)zip\.pth do not fit scenes.*unexpected: float64 \(4,\)"):
        ej.models.load("scenes", GOLDEN / "pytorch_files" / "zip.pth")
