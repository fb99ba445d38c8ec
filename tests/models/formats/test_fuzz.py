"""Truncated, corrupted and random files: tensors or a sentence, and nothing executed."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings, strategies as st

from extremal_jax.models.formats import pickles
from extremal_jax.models.formats.pytorch import read_tensors
from pytorch_programs import FILES, FOLDER, FORMATS, LEGACY_HEAD, dictionary, name, nothing_executed, tensor, value

GOOD = {file: (FOLDER / file).read_bytes() for file in FILES}
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
def test_a_truncated_file_is_refused(tmp_path: Path, file: Any, share: Any) -> None:
    data = GOOD[file]
    tensors = read_or_refuse(tmp_path / "a.pth", data[: int(share * len(data))])
    assert tensors is None


@fuzz
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_flipped_byte_gives_tensors_or_a_sentence(tmp_path: Path, file: Any, share: Any, flip: Any) -> None:
    data = bytearray(GOOD[file])
    data[int(share * len(data))] ^= flip
    read_or_refuse(tmp_path / "a.pth", bytes(data))


@fuzz
@given(st.sampled_from(sorted(FORMATS)), st.binary(max_size=200))
def test_random_programs_give_tensors_or_a_sentence(tmp_path: Path, fmt: Any, body: Any) -> None:
    path = FORMATS[fmt](tmp_path / "a.pth", body)
    read_or_refuse(path, path.read_bytes())


NAMES = [
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v3",
    "torch.FloatStorage",
    "torch.float32",
    "collections.Counter",
    "trainer.Config",
]
PIECES = [
    tensor(),
    dictionary(a=tensor()),
    *map(name, NAMES),
    *map(value, ["storage", "0", 4, (2, 2), -1, {"a": 1}, (None, {"a": 1})]),
    b"q\x00",
    b"h\x00",
    b"h\x01",
]
PIECES += [bytes([code]) for code in b"()]}.0125NQRbdaelstu\x81\x92\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"]


@fuzz
@given(st.sampled_from(sorted(FORMATS)), st.lists(st.sampled_from(PIECES), max_size=40))
def test_programs_of_known_pieces_give_tensors_or_a_sentence(tmp_path: Path, fmt: Any, pieces: Any) -> None:
    path = FORMATS[fmt](tmp_path / "a.pth", b"".join(pieces))
    read_or_refuse(path, path.read_bytes())


@fuzz
@given(st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", LEGACY_HEAD]), st.binary(max_size=600))
def test_random_bytes_give_a_sentence(tmp_path: Path, head: Any, data: Any) -> None:
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
def test_containers_are_those_that_python_builds(x: Any, protocol: Any) -> None:
    data = pickle.dumps(x, protocol)
    assert pickles.load(data + b"rest") == (x, len(data))
