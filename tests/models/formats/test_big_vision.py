"""Vision transformers from the .npz files of big_vision and vision_transformer: the same scores as in Linen modules of these names."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import linen, traverse_util

import extremal_jax as ej
from extremal_jax.models.conversion import Architecture, array_shapes, fill, match
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.formats import big_vision
from extremal_jax.models.networks.vit import LAYOUTS, ViT
from extremal_jax.models.weights import read_weights

WIDTH, DEPTH, CLASSES = 128, 2, 5
SMALL = Architecture(functools.partial(ViT, WIDTH, DEPTH), LAYOUTS, {"classes": ("head.bias", 0), "positions": ("pos_embed", 1)})
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 48, 48, 3)).astype(np.float32)
NEW, OLD = ("LayerNorm_1", "MlpBlock_0", "MultiHeadDotProductAttention_0"), ("LayerNorm_2", "MlpBlock_3", "MultiHeadDotProductAttention_1")


class Mlp(linen.Module):
    approximate: bool

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.gelu(linen.Dense(4 * WIDTH)(x), approximate=self.approximate)  # Dense_0
        return linen.Dense(WIDTH)(x)


class Encoder(linen.Module):
    """The blocks. `names` are those of the second norm, of the network over features and of the attention."""

    names: tuple[str, str, str]
    old: bool
    approximate: bool

    @linen.compact
    def __call__(self, x: Any) -> Any:
        if self.old:
            x = x + self.param("posembed_input/pos_embedding", linen.initializers.normal(1.0), (1, *x.shape[1:]))
        for index in range(DEPTH):
            x = Block(self.names, self.approximate, name=f"encoderblock_{index}")(x)
        return linen.LayerNorm(name="encoder_norm")(x)


class Block(linen.Module):
    names: tuple[str, str, str]
    approximate: bool

    @linen.compact
    def __call__(self, x: Any) -> Any:
        second_norm, mlp, attention = self.names
        y = linen.LayerNorm(name="LayerNorm_0")(x)
        x = x + linen.MultiHeadDotProductAttention(WIDTH // 64, name=attention)(y, y)
        return x + Mlp(self.approximate, name=mlp)(linen.LayerNorm(name=second_norm)(x))


class Network(linen.Module):
    """Old: the positions are added after the class token. New: before it, so that they have no entry for it."""

    old: bool
    approximate: bool = False

    @linen.compact
    def __call__(self, images: Any) -> Any:
        x = linen.Conv(WIDTH, (16, 16), strides=16, padding="VALID", name="embedding")(images)
        x = x.reshape(len(x), -1, WIDTH)
        if not self.old:
            x = x + self.param("pos_embedding", linen.initializers.normal(1.0), (1, *x.shape[1:]))
        token = self.param("cls", linen.initializers.normal(1.0), (1, 1, WIDTH))
        x = jnp.concatenate([jnp.tile(token, (len(x), 1, 1)), x], axis=1)
        x = Encoder(OLD if self.old else NEW, self.old, self.approximate, name="Transformer")(x)
        return linen.Dense(CLASSES, name="head")(x[:, 0])


def parameters(old: bool) -> Any:
    """Random ones, biases among them."""
    variables = Network(old).init(jax.random.key(0), IMAGES)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: np.asarray(x + 0.1 * rng.standard_normal(x.shape), np.float32), variables)


def written(path: Path, variables: Any, prefix: str = "") -> Path:
    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    np.savez(path, **{prefix + name: array for name, array in flat.items()})
    return path


def scores(path: Path) -> Any:
    tensors = big_vision.read(path)
    found = match(tensors, SMALL)
    assert found.problems == ()
    assert found.layout.publisher == "big_vision"
    network: Any = fill(found, tensors)
    return network(jnp.asarray(IMAGES))


@pytest.mark.parametrize(("old", "prefix"), [(True, ""), (True, "opt/target/"), (False, "params/"), (False, "")])
def test_the_scores_are_those_of_linen(tmp_path: Path, old: bool, prefix: str) -> None:
    variables = parameters(old)
    expected: Any = Network(old).apply(variables, IMAGES)
    actual = scores(written(tmp_path / "weights.npz", variables, prefix))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    rounded: Any = Network(old, approximate=True).apply(variables, IMAGES)  # big_vision's GELU is the approximation by tanh
    assert 1e-6 < np.abs(actual - rounded).max() / np.abs(expected).max() < 5e-3


def test_bfloat16(tmp_path: Path) -> None:
    """NumPy writes these numbers as bytes without a type."""
    variables = jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16), parameters(False))
    path = written(tmp_path / "weights.npz", variables)
    assert {tensor.dtype for tensor in big_vision.read(path).values()} == {np.dtype(ml_dtypes.bfloat16)}
    expected: Any = Network(False).apply(jax.tree.map(lambda x: x.astype(np.float32), variables), IMAGES)
    np.testing.assert_allclose(scores(path), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_load(tmp_path: Path) -> None:
    """The whole network by its name, with the preparation of images to [-1, 1]."""
    shapes = array_shapes(ENTRIES["vit_s_16"].architecture.abstract({"classes": 7}))
    layout = next(layout for layout in LAYOUTS if layout.publisher == "big_vision")
    files: dict[str, Any] = {layout.name(path).replace(".", "/"): np.zeros(shape, np.float32) for path, shape in shapes.items()}
    width = shapes["norm.scale"][0]
    for name in [name for name in files if "/qkv/" in name]:
        shape = (width, 6, 64) if name.endswith("kernel") else (6, 64)
        del files[name]
        files |= {name.replace("qkv", part): np.full(shape, i, np.float32) for i, part in enumerate(("query", "key", "value"))}
    with (tmp_path / "weights").open("wb") as file:  # the ending does not count
        np.savez(file, **files)
    model: Any = ej.models.load("vit_s_16", tmp_path / "weights")
    assert len(model.classes) == 7
    assert model.preprocessing.mean == (0.5,) * 3
    assert np.unique(model.network.blocks[3].attn.qkv.bias[...], return_counts=True)[1].tolist() == [width] * 3


def test_another_network_is_refused(tmp_path: Path) -> None:
    """One that averages over the patches has no class token."""
    variables = parameters(False)
    del variables["params"]["cls"]
    with pytest.raises(ValueError, match=r"do not fit vit_s_16 \(in the layout of big_vision\)"):
        ej.models.load("vit_s_16", written(tmp_path / "weights.npz", variables))


def test_broken_files(tmp_path: Path) -> None:
    whole = written(tmp_path / "weights.npz", parameters(False))
    with pytest.raises(ValueError, match="max_bytes allows 1000"):
        big_vision.read(whole, max_bytes=1000)
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"cannot read .*objects.npz: a.npy holds Python's objects, which are not read"):
        big_vision.read(tmp_path / "objects.npz")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY")
    with pytest.raises(ValueError, match="cannot read"):
        ej.models.load("vit_s_16", tmp_path / "other.npz")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", b"")
    with pytest.raises(ValueError, match=r"torch\.save did not write it"):
        ej.models.load("vit_s_16", tmp_path / "other.zip")


def small(path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive of two arrays: one in the order of Fortran, one without elements."""
    arrays: dict[str, np.ndarray] = {"a": np.asfortranarray(np.arange(600, dtype=np.float32).reshape(20, 30)), "b": np.zeros((0, 3))}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_are_those_of_numpy(tmp_path: Path, compression: int) -> None:
    tensors = big_vision.read(small(tmp_path / "a.npz", compression))
    with np.load(tmp_path / "a.npz") as expected:
        assert {name: (array.dtype, array.tolist()) for name, array in tensors.items()} == {
            name: (expected[name].dtype, expected[name].tolist()) for name in expected.files
        }


def test_arrays_that_are_larger_than_their_files(tmp_path: Path) -> None:
    """A header may state any shape; nothing of this size is allocated."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**48,)})
        file.write(bytes(64))
    with pytest.raises(ValueError, match=r"a.npz: it is truncated or corrupted \(a.npy needs 1125899906842624 bytes .* has 64\); fetch it"):
        ej.models.load("vit_s_16", tmp_path / "a.npz")


@pytest.mark.parametrize(("bits", "method"), [(1, 0), (0, 99)], ids=["encrypted", "of an unknown compression"])
def test_archives_that_cannot_be_opened(tmp_path: Path, bits: int, method: int) -> None:
    content = bytearray(small(tmp_path / "a.npz").read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the header of a file, and its entry in the directory
        start = content.index(signature) + place
        content[start], content[start + 2] = bits, method
    (tmp_path / "a.npz").write_bytes(content)
    message = "a.npy is encrypted; save the arrays without" if bits else "it is truncated or corrupted .*compression method"
    with pytest.raises(ValueError, match=f"cannot read .*a.npz: {message}"):
        ej.models.load("vit_s_16", tmp_path / "a.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damaged_archives(tmp_path: Path, compression: int) -> None:
    """Truncated anywhere: a sentence. With one byte changed: a sentence or arrays."""
    whole, rng = small(tmp_path / "a.npz", compression).read_bytes(), np.random.default_rng(0)
    places = rng.integers(1, len(whole) - 1, 60).tolist()
    for place in places:
        (tmp_path / "a.npz").write_bytes(whole[:place])
        with pytest.raises(ValueError, match=r"cannot read .*a.npz: "):
            read_weights(ENTRIES["vit_s_16"], tmp_path / "a.npz")
        (tmp_path / "a.npz").write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        try:
            assert len(read_weights(ENTRIES["vit_s_16"], tmp_path / "a.npz")[0]) <= 2
        except ValueError as error:
            assert "a.npz" in str(error)  # noqa: PT017
