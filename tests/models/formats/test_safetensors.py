"""Safetensors files: every type of number."""

from __future__ import annotations

import json
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from extremal_jax.models.formats.safetensors import read

EIGHT_BITS = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]


def test_eight_bit_floats_are_read(tmp_path: Path) -> None:
    numbers = np.array([[0.5, 1, 2], [4, 8, 16]], np.float32)
    tensors = {name: numbers.astype(getattr(ml_dtypes, name)) for name in EIGHT_BITS} | {
        "half": numbers.astype(ml_dtypes.bfloat16),
        "step": np.array(3),
        "none": np.zeros((0, 2), ml_dtypes.float8_e5m2),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    found = read(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        np.testing.assert_array_equal(found[name].astype(np.float32), tensor.astype(np.float32))


@pytest.mark.parametrize(("kind", "size"), [("F4", 4), ("F6_E2M3", 6)])
def test_types_that_no_array_has(tmp_path: Path, kind: str, size: int) -> None:
    head = json.dumps({"a": {"dtype": kind, "shape": [8], "data_offsets": [0, size]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(size))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} holds numbers of type {kind}, which cannot be read; store them as"):
        read(path)
