"""Safetensors files, which execute nothing, and the names of a pytree's arrays in them."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import ml_dtypes  # makes its types known to NumPy by name  # noqa: F401
import numpy as np
from safetensors import SafetensorError, deserialize

_TYPES = {
    "BOOL": "bool",
    "C64": "complex64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "BF16": "bfloat16",
    **{f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"F8_{kind}": f"float8_{kind.lower()}" for kind in ("E4M3FNUZ", "E5M2", "E5M2FNUZ")},
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
}


def tensor_names(tree: object) -> list[str]:
    """The dotted path of every array, in the order of `jax.tree.leaves`.

    Example:
      >>> tensor_names({"conv": {"kernel": 1.0}, "blocks": [2.0]})
      ['blocks.0', 'conv.kernel']
    """

    paths = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return [path.removesuffix(".value") for path in paths]  # of a Flax variable


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file.

    Raises:
      ValueError: if it is truncated or of another format, or holds a type of number that neither NumPy nor `ml_dtypes` has.
    """
    try:
        tensors = dict(deserialize(Path(path).read_bytes()))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch or convert it again") from error
    if unknown := sorted({tensor["dtype"] for tensor in tensors.values()} - _TYPES.keys()):
        raise ValueError(f"{path} holds numbers of type {', '.join(unknown)}, which cannot be read; store them as F32, F16 or BF16")
    return {name: np.frombuffer(each["data"], _TYPES[each["dtype"]]).reshape(each["shape"]) for name, each in tensors.items()}
