"""The .npz files of vision transformers that big_vision and vision_transformer publish."""

from __future__ import annotations

import math
import os
import re
import zipfile

import ml_dtypes
import numpy as np

MAX_BYTES = 4 * 2**30
_NAMES = (  # what vision_transformer and the first big_vision call what big_vision calls now
    (r"MultiHeadDotProductAttention_1\b", "MultiHeadDotProductAttention_0"),
    (r"(encoderblock_\d+)\.LayerNorm_2\b", r"\1.LayerNorm_1"),
    (r"MlpBlock_3\b", "MlpBlock_0"),
    (r"Transformer\.(posembed_input\.)?pos_embedding$", "pos_embedding"),
)


def is_npz(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive of NumPy arrays."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """The tensors of an .npz file of a vision transformer, under big_vision's names with dots, in the shapes of one matrix for each layer.

    The kernels and biases of queries, keys and values are joined into `qkv`. `pos_embedding` has an entry for the class token, of zeros
    if the file has none: the token is then added to the patches after their positions, which is the same. Older names become the newer.

    Raises:
      ValueError: if it is truncated, or holds Python's objects, which are not read, or more than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > max_bytes:
            raise ValueError(f"its arrays take {size} bytes, and max_bytes allows {max_bytes}")
        with np.load(path, allow_pickle=False) as file:
            tensors = {_name(name): _floats(file[name]) for name in file.files}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    for name in [name for name in tensors if re.search(r"(^|\.)query\.(kernel|bias)$", name)]:
        parts = [re.sub(r"query(?=\.\w+$)", part, name) for part in ("query", "key", "value")]
        if all(part in tensors for part in parts):
            # (inputs, heads, features) or (heads, features), three times
            inputs = tensors[name].shape[:-2]
            joined = [tensors.pop(part).reshape(*inputs, -1) for part in parts]
            tensors[re.sub(r"query(?=\.\w+$)", "qkv", name)] = np.concatenate(joined, axis=-1)
    for name, tensor in tensors.items():
        if re.search(r"MultiHeadDotProductAttention_\d+\.out\.kernel$", name) and tensor.ndim == 3:  # (heads, features, outputs)
            tensors[name] = tensor.reshape(-1, tensor.shape[-1])
        elif name.endswith("pos_embedding") and tensor.ndim == 3 and math.isqrt(tensor.shape[1]) ** 2 == tensor.shape[1]:
            tensors[name] = np.concatenate([np.zeros_like(tensor[:, :1]), tensor], axis=1)
    return tensors


def _name(name: str) -> str:
    name = name.replace("/", ".")
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _floats(array: np.ndarray) -> np.ndarray:
    """The array; NumPy's files do not know bfloat16, and call it two bytes."""
    return array.view(ml_dtypes.bfloat16) if array.dtype == np.dtype("V2") else array
