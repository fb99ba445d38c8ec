"""PyTorch files: what torch.save writes is read as torch reads it; whatever else comes is refused in a sentence, and never executed."""

from __future__ import annotations

import collections
import contextlib
import copy
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.numpy import load_file, save_file

from extremal_jax.models.formats import pickles
from extremal_jax.models.formats.pytorch import convert, read_tensors
from extremal_jax.models.formats.safetensors import read

GOLDEN = Path(__file__).parents[1] / "golden" / "pytorch_files"
FILES = ["zip.pth", "legacy.pth", "new_types.pth", "checkpoint.pth.tar", "protocol4.pth", "big_endian.pth", "old.tar.pth"]
LEGACY_HEAD = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, np.ndarray]]:
    by_file = collections.defaultdict(dict)
    with np.load(GOLDEN / "expected.npz") as recorded:
        for name in recorded:
            file, tensor = name.split("|")
            by_file[file][tensor] = recorded[name]
    return by_file


# What torch.save writes.


@pytest.mark.parametrize("file", FILES)
def test_tensors_are_those_that_torch_reads(file, expected):
    tensors = read_tensors(GOLDEN / file)
    assert list(tensors) == list(expected[file])
    for name, array in tensors.items():
        np.testing.assert_array_equal(array.astype(expected[file][name].dtype), expected[file][name], err_msg=name, strict=True)


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth", "protocol4.pth", "big_endian.pth", "new_types.pth"])
def test_types_are_kept_in_the_byte_order_of_the_machine(file):
    for name, array in read_tensors(GOLDEN / file).items():
        others = {"bfloat16_matrix": "bfloat16", "scalar": "int64"}
        kind = name if hasattr(np, name) or hasattr(ml_dtypes, name) else others.get(name, "float32")
        assert array.dtype == np.dtype(getattr(ml_dtypes, kind, kind))
        assert array.dtype.isnative


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth", "big_endian.pth"])
def test_shared_numbers_share_memory_and_cannot_be_written(file):
    tensors = read_tensors(GOLDEN / file)
    for view in ("part", "grid", "transposed", "every_other"):
        assert np.shares_memory(tensors[view], tensors["whole"])
    assert not np.shares_memory(tensors["float32"], tensors["whole"])
    assert not any(array.flags.writeable for array in tensors.values() if array.size)


@pytest.mark.parametrize("file", ["module.pth", "legacy_module.pth"])
def test_a_whole_module_is_refused_by_name(file):
    with pytest.raises(ValueError, match=rf"{file}: it asks for 'torch\.nn\.modules\.linear\.Linear'.*; save the state_dict"):
        read_tensors(GOLDEN / file)


def test_a_missing_file():
    with pytest.raises(FileNotFoundError, match=r"no weights file absent\.pth"):
        read_tensors("absent.pth")


# Programs made by hand: instructions, and files around them.


def name(full: str) -> bytes:
    module, _, attribute = full.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def value(x: object) -> bytes:
    return pickle.dumps(x, 2)[2:-1]


def tensor(key="0", size=4, shape=(4,), strides=(1,), offset=0, storage="torch.FloatStorage", view=()) -> bytes:
    identifier = b"(" + value("storage") + name(storage) + value(key) + value("cpu") + value(size) + b"".join(map(value, view)) + b"tQ"
    arguments = identifier + value(offset) + value(shape) + value(strides) + value(False) + name("collections.OrderedDict") + b")R"
    return name("torch._utils._rebuild_tensor_v2") + b"(" + arguments + b"tR"


def dictionary(**entries: bytes) -> bytes:
    return b"}(" + b"".join(value(key) + entry for key, entry in entries.items()) + b"u"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def zip_file(path: Path, body: bytes, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program(body))
        for record, data in (records or {"data/0": np.arange(4, dtype=np.float32).tobytes()}).items():
            archive.writestr(f"archive/{record}", data)
    return path


def legacy_file(path: Path, body: bytes, keys: object = ("0",), tail: bytes = (4).to_bytes(8, "little") + bytes(16)) -> Path:
    path.write_bytes(LEGACY_HEAD + program(body) + pickle.dumps(list(keys), 2) + tail)
    return path


def tar_file(path: Path, content: bytes) -> Path:
    none = pickle.dumps(0, 2)
    with tarfile.open(path, "w") as tar:
        for member, data in {"storages": none + pickle.dumps([], 2), "tensors": none, "pickle": content}.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


FORMATS = {
    "zip": zip_file,
    "legacy": lambda path, body: legacy_file(path, body),
    "tar": lambda path, body: tar_file(path, program(body)),
    "plain": lambda path, body: path.write_bytes(program(body)) and path,
}


def test_programs_made_by_hand_are_sound(tmp_path):
    for write in (zip_file, legacy_file):
        tensors = read_tensors(write(tmp_path / "a.pth", dictionary(a=tensor(), b=tensor(shape=(2, 2), strides=(1, 2)))))
        assert [array.shape for array in tensors.values()] == [(4,), (2, 2)]


def test_a_view_of_a_storage_in_the_oldest_pickles(tmp_path):
    numbers = (4).to_bytes(8, "little") + np.arange(4, dtype=np.float32).tobytes()
    path = legacy_file(tmp_path / "a.pth", dictionary(a=tensor(shape=(2,), view=[("1", 1, 2)])), tail=numbers)
    np.testing.assert_array_equal(read_tensors(path)["a"], [1, 2])
    path = legacy_file(path, dictionary(a=tensor(shape=(3,), view=[("1", 1, 2)])), tail=numbers)
    with pytest.raises(ValueError, match=r"shape \(3,\) needs 12 bytes, but storage '0' holds 8"):
        read_tensors(path)


def test_the_ordered_dict_of_python_2(tmp_path):
    body = name("collections.OrderedDict") + b"(](](" + value("a") + tensor() + b"eetR"
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_a_dictionary_within_is_opened(key, tmp_path):
    body = dictionary(epoch=value(3), best=tensor(), **{key: dictionary(a=tensor(), step=value([1, None, 2.5, b"x".decode()]))})
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]
    twice = dictionary(**{key: body})
    assert list(read_tensors(zip_file(tmp_path / "a.pth", twice))) == ["a"]


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
def test_other_contents(body, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        read_tensors(zip_file(tmp_path / "a.pth", body))


# Malice.


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


WATCHED = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect"}
_watching: list[list[str]] = []


def _audit(event: str, _: tuple) -> None:
    if _watching and event in WATCHED:
        _watching[-1].append(event)


sys.addaudithook(_audit)


@contextlib.contextmanager
def nothing_executed():
    """Fails if anything in the block runs a program, connects, or asks Python's own unpickler for a name."""
    events: list[str] = []
    _watching.append(events)
    try:
        yield
    finally:
        _watching.pop()
    assert events == []


def test_the_watch_sees_what_python_does():
    with pytest.raises(AssertionError, match=r"pickle\.find_class"), nothing_executed():
        pickle.loads(pickle.dumps(os.getcwd))


PAYLOADS = {
    "posix.system": lambda marker: Calls(os.system, f"touch {marker}"),
    "builtins.eval": lambda marker: Calls(eval, f"open({str(marker)!r}, 'w')"),
    "builtins.exec": lambda marker: Calls(exec, f"open({str(marker)!r}, 'w')"),
    "subprocess.Popen": lambda marker: Calls(subprocess.Popen, ["touch", str(marker)]),
    "builtins.getattr": lambda marker: Calls(getattr, collections.OrderedDict(), "__class__"),
    "pathlib.Path.touch": lambda marker: Calls(Path.touch, marker),
    "io.open": lambda marker: Calls(open, str(marker), "w"),
}


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("asked", PAYLOADS)
def test_a_call_of_anything_else_is_refused_by_name(asked, protocol, fmt, tmp_path):
    marker = tmp_path / "marker"
    payload = pickle.dumps(PAYLOADS[asked](marker), protocol)[2:-1]
    hidden = dictionary(a=tensor() if fmt in ("zip", "legacy") else value(1), state_dict=dictionary(epoch=b"](" + payload + b"e"))
    shown = "getattr" if protocol < 4 and asked == "pathlib.Path.touch" else asked.split(".")[-1]  # by which they reach into a class
    for body in (payload, hidden):
        with (
            nothing_executed(),
            pytest.raises(ValueError, match=rf"it asks for '[\w.]+\.{shown}', which is neither .* nothing was executed"),
        ):
            read_tensors(FORMATS[fmt](tmp_path / "evil.pth", body))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"S'touch x'\nios\nsystem\n.", "instruction STRING|instruction INST"),
        (b"(ios\nsystem\n", "instruction INST"),
        (b"(cos\nsystem\nS'touch x'\no", "'os.system'"),
        (b"(" + name("torch.Size") + value((1,)) + b"o", "instruction OBJ"),
        (name("torch.Size") + b")\x81", "instruction NEWOBJ"),
        (name("torch.Size") + b")}\x92", "instruction NEWOBJ_EX"),
        (b"\x82\x01", "instruction EXT1"),
        (b"Pstorage\n", "instruction PERSID"),
        (value("builtins") + value("eval") + b"\x93", "'builtins.eval'"),
        (value("torch._utils") + value("os.system") + b"\x93", "'torch._utils.os.system'"),
        (value("collections") + value("OrderedDict.__init__") + b"\x93", "'collections.OrderedDict.__init__'"),
        (name("torch.load"), "'torch.load'"),
        (name("torch._utils._rebuild_qtensor"), "'torch._utils._rebuild_qtensor'"),
        (name("numpy.core.multiarray._reconstruct"), "'numpy.core.multiarray._reconstruct'"),
        (name("argparse.Namespace"), "'argparse.Namespace'"),
        (value("eval") + value(("1",)) + b"R", "calls an object of type 'str'"),
        (name("torch.FloatStorage") + value(("1",)) + b"R", "calls an object of type .*Float32"),
        (name("torch.Size") + value([1]) + b"R", "calls an object of type 'Function'"),
        (name("torch.Size") + value({"call": 1}) + b"b", "sets attributes of an object of type 'Function'"),
        (tensor() + value({"shape": 1}) + b"b", "sets attributes of an object of type 'Tensor'"),
        (b"}" + value({"x": 1}) + b"b", "sets attributes of an object of type 'dict'"),
        (name("collections.OrderedDict") + b")R" + value((None, {"x": 1})) + b"b", "sets attributes of an object of type 'OrderedDict'"),
        (b"(" + value("module") + value("torch.nn.Linear") + value("file") + b"tQ", "an object 'module' beside its pickle"),
        (value("0") + b"Q", "an object '0' beside its pickle"),
        (value(7) + b"Q", "an object of type 'int' beside its pickle"),
        (b")Q", "an object of type 'tuple' beside its pickle"),
    ],
)
@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_other_tricks_are_refused(write, body, sentence, tmp_path):
    with nothing_executed(), pytest.raises(ValueError, match=sentence):
        read_tensors(write(tmp_path / "evil.pth", body))


def test_the_attributes_of_an_ordered_dict_are_dropped(tmp_path):
    body = name("collections.OrderedDict") + b")R(" + value("a") + tensor() + b"u" + value({"_metadata": 1, "update": 2}) + b"b"
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]


# Bounds.


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (dictionary(a=tensor(shape=(5,))), r"shape \(5,\) needs 20 bytes, but storage '0' holds 16"),
        (dictionary(a=tensor(shape=(2, 2), strides=(3, 1))), "needs 20 bytes"),
        (dictionary(a=tensor(offset=1)), "needs 20 bytes"),
        (dictionary(a=tensor(shape=(2**40, 2**40))), "2 sizes and 1 strides"),
        (dictionary(a=tensor(shape=(2**61,))), "needs"),
        (dictionary(a=tensor(shape=(2**70,))), "malformed"),
        (dictionary(a=tensor(shape=(-1,))), "malformed"),
        (dictionary(a=tensor(strides=(-1,))), "malformed"),
        (dictionary(a=tensor(offset=-1)), "malformed"),
        (dictionary(a=tensor(offset=1.0)), "malformed"),
        (dictionary(a=tensor(shape=[4])), "malformed"),
        (dictionary(a=tensor(shape=(1,) * 65, strides=(1,) * 65)), "malformed"),
        (
            dictionary(a=tensor(size=2**40, shape=(2**40,))),
            "need 4398046511104 bytes, but the file has|its tensors say 4398046511104 bytes",
        ),
        (dictionary(a=tensor(size=2**62)), "is said to have"),
        (dictionary(a=tensor(size=-4)), "is said to have"),
        (dictionary(a=tensor(size="4")), "a storage of it is malformed"),
        (dictionary(a=tensor(storage="torch.Size")), "a storage of it is malformed"),
        (dictionary(a=tensor(view=[("1", 2, 3)])), "of which 3 from 2 on are asked for"),
        (dictionary(a=tensor(shape=(2**31,), strides=(0,))), "take 8589934592 bytes, and max_bytes allows 4294967296"),
        (dictionary(a=tensor(), b=tensor(size=2, shape=(2,))), "the storage of 'b' has two sizes|storage '0' has"),
    ],
)
@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_a_shape_promises_no_more_than_its_storage(write, body, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        read_tensors(write(tmp_path / "a.pth", body))


def test_a_stride_of_one_element_may_be_anything(tmp_path):
    path = zip_file(tmp_path / "a.pth", dictionary(a=tensor(shape=(1, 4), strides=(2**61, 1))))
    assert read_tensors(path)["a"].shape == (1, 4)


def test_max_bytes_is_the_most_that_is_read(tmp_path):
    path = zip_file(tmp_path / "a.pth", dictionary(a=tensor(), b=tensor(shape=(3,))))
    assert len(read_tensors(path, max_bytes=28)) == 2  # 16 of a and 12 of b
    with pytest.raises(ValueError, match="take 28 bytes, and max_bytes allows 27"):
        read_tensors(path, max_bytes=27)
    with pytest.raises(ValueError, match="max_bytes allows 27"):
        convert(path, tmp_path / "b.safetensors", max_bytes=27)
    part_of_large = zip_file(path, dictionary(a=tensor(shape=(1,))))
    with pytest.raises(ValueError, match="take 16 bytes"):  # the storage is read whole
        read_tensors(part_of_large, max_bytes=15)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    numbers = bytes(2**24)
    bomb = zip_file(tmp_path / "a.pth", dictionary(a=tensor(size=2**22)), {"data/0": numbers}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**16
    with pytest.raises(ValueError, match="is compressed or encrypted"):
        read_tensors(bomb)


def test_records_over_each_other_are_read_once(tmp_path):
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


@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_pickles_that_grow_are_stopped(write, tmp_path):
    pairs = value([("k", 1)] * 1000)
    copies = b"](" + pairs + b"q\x01" + (name("collections.OrderedDict") + b"(h\x01tR") * 1000 + b"e"
    with pytest.raises(ValueError, match="copies the same items again and again"):
        read_tensors(write(tmp_path / "a.pth", copies))
    laughs = b")" + b"2\x86" * 200
    with pytest.raises(ValueError, match="dictionary key of type 'tuple'"):
        read_tensors(write(tmp_path / "a.pth", b"}" + laughs + b"Ns"))
    with pytest.raises(ValueError, match="of type 'tuple' beside its pickle"):
        read_tensors(write(tmp_path / "a.pth", laughs + b"Q"))
    with pytest.raises(ValueError, match="dictionary key of type 'int'"):
        read_tensors(write(tmp_path / "a.pth", b"}" + value(2**61 - 1) + b"Ns"))
    far = dictionary(a=tensor() + b"r\xff\xff\xff\xff")  # a memo of 2**32 places
    assert list(read_tensors(write(tmp_path / "a.pth", far))) == ["a"]


def test_a_pickle_beyond_the_limit_is_not_run(tmp_path):
    with pytest.raises(ValueError, match=r"'data\.pkl' has 16777\d+ bytes, and 16777216 are expected"):
        read_tensors(zip_file(tmp_path / "a.pth", b"N0" * 2**23))
    with pytest.raises(ValueError, match="malformed or truncated"):
        read_tensors(legacy_file(tmp_path / "b.pth", value("x" * 2**24)))


# Broken files.


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04", "truncated or corrupted"),
        (b"PK\x03\x04" + bytes(100), "truncated or corrupted"),
        (b"\x80\x02N.", "it is a pickle, but not one written by torch.save"),
        (b"\x80\x02", "malformed or truncated"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1002, 2), "not of version 1001"),
        (bytes(257) + b"ustar" + bytes(300), "truncated or corrupted"),
        (b"\x10\0\0\0\0\0\0\0{}", "looks like a safetensors file; give it the ending"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"hello, this is text", "it begins with b'hello, t'"),
    ],
)
def test_other_files(data, sentence, tmp_path):
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
def test_archives_that_lack_something(records, sentence, tmp_path):
    path = zip_file(tmp_path / "a.pth", dictionary(a=tensor()), records)
    if not sentence:  # names elsewhere are not looked at
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
        (["0"], (5).to_bytes(8, "little") + bytes(20), "has 5 elements, where its tensors say 16 bytes"),
        (["0"], (4).to_bytes(8, "little") + bytes(12), "it ends too early"),
    ],
)
def test_sequences_that_lack_something(keys, tail, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        read_tensors(legacy_file(tmp_path / "a.pth", dictionary(a=tensor()), keys, tail))


GOOD = {file: (GOLDEN / file).read_bytes() for file in FILES}
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refuse(path: Path, data: bytes) -> dict[str, np.ndarray] | None:
    """None after a ValueError that names the file; any other error fails the test."""
    path.write_bytes(data)
    with nothing_executed():
        try:
            return read_tensors(path)
        except ValueError as error:
            sentence = str(error)
    assert sentence.startswith(f"cannot read {path}: ")
    return None


@fuzz
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(tmp_path, file, share):
    data = GOOD[file]
    tensors = read_or_refuse(tmp_path / "a.pth", data[: int(share * len(data))])
    assert tensors is None or file == "old.tar.pth"  # which ends in padding


@fuzz
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_gives_tensors_or_a_sentence(tmp_path, file, share, flip):
    data = bytearray(GOOD[file])
    data[int(share * len(data))] ^= flip
    read_or_refuse(tmp_path / "a.pth", bytes(data))


@fuzz
@given(st.sampled_from(["zip", "legacy", "tar", "plain"]), st.binary(max_size=200))
def test_random_programs_give_tensors_or_a_sentence(tmp_path, fmt, body):
    path = FORMATS[fmt](tmp_path / "a.pth", body)
    read_or_refuse(path, path.read_bytes())


NAMES = [
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v3",
    "torch.FloatStorage",
]
PIECES = [tensor(), dictionary(a=tensor()), *map(name, NAMES), *map(value, ["storage", "0", 4, (2, 2), -1]), b"q\x00", b"h\x00", b"h\x01"]
PIECES += [bytes([code]) for code in b"()]}.0125NQRbdaelstu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"]


@fuzz
@given(st.sampled_from(["zip", "legacy", "tar", "plain"]), st.lists(st.sampled_from(PIECES), max_size=40))
def test_programs_of_known_pieces_give_tensors_or_a_sentence(tmp_path, fmt, pieces):
    path = FORMATS[fmt](tmp_path / "a.pth", b"".join(pieces))
    read_or_refuse(path, path.read_bytes())


@fuzz
@given(st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", LEGACY_HEAD]), st.binary(max_size=600))
def test_random_bytes_give_a_sentence(tmp_path, head, data):
    assert read_or_refuse(tmp_path / "a.pth", head + data) is None


@fuzz
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text() | st.integers(-100, 100), inner)
            | st.just(collections.OrderedDict(a=1))
        ),
        max_leaves=20,
    ),
    st.sampled_from([3, 4, 5]),
)
def test_the_machine_builds_the_containers_that_python_builds(x, protocol):
    file = io.BytesIO(pickle.dumps(x, protocol) + b"rest")
    assert pickles.load(file, {}, lambda identifier: identifier) == x
    assert file.read() == b"rest"


# The safe copy.


@pytest.mark.parametrize("file", ["checkpoint.pth.tar", "old.tar.pth"])
def test_convert_writes_what_is_read(file, tmp_path):
    target = tmp_path / "copy.safetensors"
    tensors, copied = read_tensors(GOLDEN / file), (convert(GOLDEN / file, target), load_file(target))[1]
    assert copied.keys() == tensors.keys()
    for key, array in tensors.items():
        assert copied[key].dtype == array.dtype
        np.testing.assert_array_equal(copied[key].astype(np.float64), array.astype(np.float64))


def test_convert_writes_views_and_shared_numbers_in_full(tmp_path):
    views = {"b": tensor(shape=(2, 2), strides=(1, 2)), "c": tensor(shape=(), strides=()), "d": tensor(shape=(3, 4), strides=(0, 1))}
    body = dictionary(a=tensor(), **views)
    assert convert(zip_file(tmp_path / "a.pth", body), tmp_path / "b.safetensors") == ("a", "b", "c", "d")
    copied = load_file(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(copied["b"], [[0, 2], [1, 3]])
    np.testing.assert_array_equal(copied["d"], [[0, 1, 2, 3]] * 3)
    assert copied["c"].shape == ()


def test_convert_keeps_half_precision(tmp_path):
    numbers = np.arange(8).astype(ml_dtypes.bfloat16)
    path = zip_file(
        tmp_path / "a.pth", dictionary(a=tensor(size=8, shape=(8,), storage="torch.BFloat16Storage")), {"data/0": numbers.tobytes()}
    )
    convert(path, tmp_path / "b.safetensors")
    copied = load_file(tmp_path / "b.safetensors")["a"]
    assert copied.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(copied, numbers)


def test_convert_writes_eight_bit_floats_that_can_be_read(tmp_path):
    convert(GOLDEN / "new_types.pth", tmp_path / "a.safetensors")
    copied, tensors = read(tmp_path / "a.safetensors"), read_tensors(GOLDEN / "new_types.pth")
    assert {name: array.dtype for name, array in copied.items()} == {name: array.dtype for name, array in tensors.items()}
    for name, array in tensors.items():
        np.testing.assert_array_equal(copied[name].view(np.uint8), np.ascontiguousarray(array).view(np.uint8))


def test_convert_of_a_safetensors_file(tmp_path):
    source, other = tmp_path / "a.safetensors", tmp_path / "a.pth"
    save_file({"a": np.zeros(3)}, source)
    other.write_bytes(source.read_bytes())
    with pytest.raises(ValueError, match=r"a\.safetensors: it looks like a safetensors file, so there is nothing to convert$"):
        convert(source, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"a\.pth: it looks like a safetensors file; give it the ending \.safetensors$"):
        convert(other, tmp_path / "b.safetensors")


def test_convert_refuses_in_a_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got '.*copy\.pth'"):
        convert(GOLDEN / "zip.pth", tmp_path / "copy.pth")
    with pytest.raises(ValueError, match=r"cannot write .*complex128"):
        convert(GOLDEN / "zip.pth", tmp_path / "copy.safetensors")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        convert("absent.pth", tmp_path / "copy.safetensors")
    assert list(tmp_path.iterdir()) == []
