"""PyTorch files: tensors that torch.save writes are read as torch reads them; other files are refused in a sentence."""

from __future__ import annotations

import collections
import copy
import pickle
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from extremal_jax.models.formats.pytorch import convert, read_tensors
from extremal_jax.models.formats.safetensors import read
from pytorch_programs import FILES, FOLDER, dictionary, legacy_file, name, tensor, value, zip_file


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, np.ndarray]]:
    by_file: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
    with np.load(FOLDER / "expected.npz") as recorded:
        for name in recorded:
            file, tensor = name.split("|")
            by_file[file][tensor] = recorded[name]
    return by_file


# Files of torch.save.


@pytest.mark.parametrize("file", FILES)
def test_tensors_are_those_that_torch_reads(file: Any, expected: Any) -> None:
    tensors = read_tensors(FOLDER / file)
    assert list(tensors) == list(expected[file])
    for key, array in tensors.items():
        np.testing.assert_array_equal(array.astype(expected[file][key].dtype), expected[file][key], err_msg=key, strict=True)


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth", "protocol4.pth", "big_endian.pth", "new_types.pth"])
def test_types_are_kept_in_the_byte_order_of_the_machine(file: str) -> None:
    for key, array in read_tensors(FOLDER / file).items():
        others = {"bfloat16_matrix": "bfloat16", "scalar": "int64"}
        kind = key if hasattr(np, key) or hasattr(ml_dtypes, key) else others.get(key, "float32")
        assert array.dtype == np.dtype(getattr(ml_dtypes, kind, kind))
        assert array.dtype.isnative


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth"])
def test_shared_numbers_share_memory_and_cannot_be_written(file: str) -> None:
    tensors = read_tensors(FOLDER / file)
    for view in ("part", "grid", "transposed", "every_other"):
        assert np.shares_memory(tensors[view], tensors["whole"])
    assert not np.shares_memory(tensors["float32"], tensors["whole"])
    assert not any(array.flags.writeable for array in tensors.values() if array.size)


@pytest.mark.parametrize("file", ["module.pth", "legacy_module.pth"])
def test_a_whole_module_is_refused_by_name(file: str) -> None:
    with pytest.raises(ValueError, match=rf"{file}: it asks for 'torch\.nn\.modules\.linear\.Linear'.*; save the state_dict"):
        read_tensors(FOLDER / file)


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights file absent\.pth"):
        read_tensors("absent.pth")


# Contents made by hand.


def test_programs_made_by_hand_are_sound(tmp_path: Path) -> None:
    for write in (zip_file, legacy_file):
        tensors = read_tensors(write(tmp_path / "a.pth", dictionary(a=tensor(), b=tensor(shape=(2, 2), strides=(1, 2)))))
        assert [array.shape for array in tensors.values()] == [(4,), (2, 2)]


def test_a_view_of_a_storage_in_the_oldest_pickles(tmp_path: Path) -> None:
    numbers = (4).to_bytes(8, "little") + np.arange(4, dtype=np.float32).tobytes()
    path = legacy_file(tmp_path / "a.pth", dictionary(a=tensor(shape=(2,), view=[("1", 1, 2)])), tail=numbers)
    np.testing.assert_array_equal(read_tensors(path)["a"], [1, 2])
    path = legacy_file(path, dictionary(a=tensor(shape=(3,), view=[("1", 1, 2)])), tail=numbers)
    with pytest.raises(ValueError, match=r"shape \(3,\) needs 12 bytes, but storage '0' holds 8"):
        read_tensors(path)


def test_the_ordered_dict_of_python_2(tmp_path: Path) -> None:
    body = name("collections.OrderedDict") + b"(](](" + value("a") + tensor() + b"eetR"
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "module", "net", "network", "params"])
def test_a_dictionary_within_is_opened(key: str, tmp_path: Path) -> None:
    body = dictionary(epoch=value(3), best=tensor(), **{key: dictionary(a=tensor(), step=value([1, None, 2.5, b"x".decode()]))})
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]
    twice = dictionary(**{key: body})
    assert list(read_tensors(zip_file(tmp_path / "a.pth", twice))) == ["a"]


def test_settings_by_the_name_of_a_wrapper_do_not_hide_the_weights(tmp_path: Path) -> None:
    body = dictionary(model=dictionary(arch=value(1)), params=dictionary(lr=value(2)), weights=dictionary(a=tensor()))
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]


@pytest.mark.parametrize("key", ["ema", "model_ema", "ema_state_dict", "state_dict_ema"])
def test_the_moving_average_beside_the_weights(key: str, tmp_path: Path) -> None:
    """Its names begin with the key, so that other weights are not taken for it."""
    average = {
        "plain": dictionary(a=tensor(), n=tensor()),
        "wrapped": dictionary(decay=value(0.9), state_dict=dictionary(a=tensor(), n=tensor())),
    }
    for body in average.values():
        path = zip_file(tmp_path / "a.pth", dictionary(**{"state_dict": dictionary(b=tensor()), key: body}))
        assert list(read_tensors(path)) == ["b"]
        assert list(read_tensors(path, ema=True)) == [f"{key}.a", f"{key}.n"]
    path = zip_file(tmp_path / "a.pth", dictionary(state_dict=dictionary(b=tensor()), schema=dictionary(a=tensor())))
    assert list(read_tensors(path, ema=True)) == ["b"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (tensor(), "a dictionary of tensors was expected, but it holds an object of type 'Tensor'"),
        (b"](" + tensor() + b"e", "of type 'list'"),
        (dictionary(epoch=value(3), lr=value(0.1)), "no tensors by name .* its keys are: 'epoch', 'lr'"),
        (b"}", "its keys are: none"),
        (b"}q\x00(" + value("model") + b"h\x00u", "no tensors by name .* its keys are: 'model'"),
        (b"}(" + value(3) + tensor() + b"u", "expected to have names, but one is called 3"),
    ],
)
def test_other_contents(body: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_tensors(zip_file(tmp_path / "a.pth", body))


def test_max_bytes_is_the_most_that_is_read(tmp_path: Path) -> None:
    path = zip_file(tmp_path / "a.pth", dictionary(a=tensor(), b=tensor(shape=(3,))))
    assert len(read_tensors(path, max_bytes=28)) == 2  # 16 of a and 12 of b
    with pytest.raises(ValueError, match="take 28 bytes, and max_bytes allows 27"):
        read_tensors(path, max_bytes=27)
    with pytest.raises(ValueError, match="max_bytes allows 27"):
        convert(path, tmp_path / "b.safetensors", max_bytes=27)
    part_of_large = zip_file(path, dictionary(a=tensor(shape=(1,))))
    with pytest.raises(ValueError, match="take 16 bytes"):  # the storage is read whole
        read_tensors(part_of_large, max_bytes=15)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    numbers = bytes(2**24)
    bomb = zip_file(tmp_path / "a.pth", dictionary(a=tensor(size=2**22)), {"data/0": numbers}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**16
    with pytest.raises(ValueError, match="is compressed or encrypted"):
        read_tensors(bomb)


def test_records_over_each_other_are_read_once(tmp_path: Path) -> None:
    """A small file whose directory names the same bytes a thousand times."""
    path = zip_file(tmp_path / "a.pth", dictionary(**{f"t{i}": tensor(key=str(i), size=2**12, shape=(2**12,)) for i in range(99)}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/1", bytes(2**14))
        for index in range(2, 99):
            another = copy.copy(archive.getinfo("archive/data/1"))
            another.filename = f"archive/data/{index}"
            archive.filelist.append(another)
    with pytest.raises(ValueError, match="but the file has"):
        read_tensors(path)


def test_a_pickle_beyond_the_limit_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'data\.pkl' has 16777\d+ bytes, and 16777216 are expected"):
        read_tensors(zip_file(tmp_path / "a.pth", b"N0" * 2**23))
    with pytest.raises(ValueError, match="malformed, truncated"):
        read_tensors(legacy_file(tmp_path / "b.pth", value("x" * 2**24)))


# Broken files.


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04", "truncated or corrupted"),
        (b"PK\x03\x04" + bytes(100), "truncated or corrupted"),
        (b"\x80\x02N.\x80\x02N.", "it is a pickle, but not one that torch.save wrote"),
        (b"\x80\x02", "malformed, truncated"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1002, 2), "not one that torch.save wrote in its format 1001"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive, as PyTorch wrote until 2017; load it in PyTorch and save it again"),
        (b"\x10\0\0\0\0\0\0\0{}", "it is a safetensors file, so there is nothing to convert"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"hello, this is text", "it begins with b'hello, t'"),
    ],
)
def test_other_files(data: Any, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"^cannot read .*other\.pth: .*{sentence}"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ({"x": b""}, "the record 'data/0' is missing"),
        ({"data/0": bytes(12)}, "needs 16 bytes, and 12 are there"),
        ({"data/0": bytes(20)}, "has 20 bytes, and 16 are expected"),
        ({"data/0": bytes(16), "byteorder": b"middle"}, "byte order is little or big, got b'middle'"),
        ({"data/0": bytes(16), "constants.pkl": b""}, "a TorchScript archive"),
        ({"data/0": bytes(16), "../b/data.pkl": b"", "data.pkl/data.pkl": b""}, ""),
    ],
)
def test_archives_that_lack_something(records: Any, sentence: str, tmp_path: Path) -> None:
    path = zip_file(tmp_path / "a.pth", dictionary(a=tensor()), records)
    if not sentence:  # other names are ignored
        assert list(read_tensors(path)) == ["a"]
    else:
        with pytest.raises(ValueError, match=sentence):
            read_tensors(path)


@pytest.mark.parametrize(
    ("keys", "tail", "sentence"),
    [
        ([], b"", "the numbers of storage '0' are missing"),
        (["1"], b"", "its list of storages does not fit"),
        ([["0"]], b"", "its list of storages does not fit"),
        (["0"], b"\x04\0", "truncated or corrupted"),
        (["0"], (5).to_bytes(8, "little") + bytes(20), "has 5 elements, where its tensors need 16 bytes"),
        (["0"], (4).to_bytes(8, "little") + bytes(12), "it ends too early"),
    ],
)
def test_sequences_that_lack_something(keys: Any, tail: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_tensors(legacy_file(tmp_path / "a.pth", dictionary(a=tensor()), keys, tail))


# Conversion.


def test_convert_writes_what_is_read(tmp_path: Path) -> None:
    source, target = FOLDER / "checkpoint.pth.tar", tmp_path / "copy.safetensors"
    tensors, copied = read_tensors(source), (convert(source, target), load_file(target))[1]
    assert copied.keys() == tensors.keys()
    for key, array in tensors.items():
        assert copied[key].dtype == array.dtype
        np.testing.assert_array_equal(copied[key].astype(np.float64), array.astype(np.float64))


def test_convert_writes_views_and_shared_numbers_in_full(tmp_path: Path) -> None:
    views = {"b": tensor(shape=(2, 2), strides=(1, 2)), "c": tensor(shape=(), strides=()), "d": tensor(shape=(3, 4), strides=(0, 1))}
    body = dictionary(a=tensor(), **views)
    assert convert(zip_file(tmp_path / "a.pth", body), tmp_path / "b.safetensors") == ("a", "b", "c", "d")
    copied = load_file(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(copied["b"], [[0, 2], [1, 3]])
    np.testing.assert_array_equal(copied["d"], [[0, 1, 2, 3]] * 3)
    assert copied["c"].shape == ()


def test_convert_keeps_half_precision(tmp_path: Path) -> None:
    numbers = np.arange(8).astype(ml_dtypes.bfloat16)
    path = zip_file(
        tmp_path / "a.pth", dictionary(a=tensor(size=8, shape=(8,), storage="torch.BFloat16Storage")), {"data/0": numbers.tobytes()}
    )
    convert(path, tmp_path / "b.safetensors")
    copied = load_file(tmp_path / "b.safetensors")["a"]
    assert copied.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(copied, numbers)


def test_convert_writes_eight_bit_floats_that_can_be_read(tmp_path: Path) -> None:
    convert(FOLDER / "new_types.pth", tmp_path / "a.safetensors")
    copied, tensors = read(tmp_path / "a.safetensors"), read_tensors(FOLDER / "new_types.pth")
    assert {name: array.dtype for name, array in copied.items()} == {name: array.dtype for name, array in tensors.items()}
    for key, array in tensors.items():
        np.testing.assert_array_equal(copied[key].view(np.uint8), np.ascontiguousarray(array).view(np.uint8))


def test_convert_of_a_safetensors_file(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: it is a safetensors file, so there is nothing to convert$"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")


def test_convert_refuses_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got '.*copy\.pth'"):
        convert(FOLDER / "zip.pth", tmp_path / "copy.pth")
    with pytest.raises(ValueError, match=r"cannot write .*complex128"):
        convert(FOLDER / "zip.pth", tmp_path / "copy.safetensors")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        convert("absent.pth", tmp_path / "copy.safetensors")
    assert list(tmp_path.iterdir()) == []
