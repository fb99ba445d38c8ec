"""Tensors in PyTorch files: no shape promises more than its storage holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extremal_jax.models.formats.pytorch import read_tensors
from pytorch_programs import dictionary, legacy_file, tensor, zip_file


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
            "need 4398046511104 bytes, but the file has|its tensors need 4398046511104 bytes",
        ),
        (dictionary(a=tensor(size=2**62)), "declares"),
        (dictionary(a=tensor(size=-4)), "declares"),
        (dictionary(a=tensor(size="4")), "one of its storages is malformed"),
        (dictionary(a=tensor(storage="torch.Size")), "one of its storages is malformed"),
        (dictionary(a=tensor(view=[("1", 2, 3)])), "of which 3 from 2 on are used"),
        (dictionary(a=tensor(shape=(2**31,), strides=(0,))), "take 8589934592 bytes, and max_bytes allows 4294967296"),
        (dictionary(a=tensor(), b=tensor(size=2, shape=(2,))), "the storage of 'b' has two sizes|storage '0' has"),
    ],
)
@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_a_shape_promises_no_more_than_its_storage(write: Any, body: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_tensors(write(tmp_path / "a.pth", body))


def test_a_stride_of_one_element_may_be_anything(tmp_path: Path) -> None:
    path = zip_file(tmp_path / "a.pth", dictionary(a=tensor(shape=(1, 4), strides=(2**61, 1))))
    assert read_tensors(path)["a"].shape == (1, 4)
