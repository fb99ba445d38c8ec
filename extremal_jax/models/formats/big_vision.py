"""The .npz files of vision transformers that big_vision and vision_transformer publish."""

from __future__ import annotations

import math
import os
import re
import zipfile

import ml_dtypes
import numpy as np

MAX_BYTES = 4 * 2**30
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}  # by the version of the format
_NAMES = (  # what vision_transformer and the first big_vision call what big_vision calls now
    (r"MultiHeadDotProductAttention_1\b", "MultiHeadDotProductAttention_0"),
    (r"(encoderblock_\d+)\.LayerNorm_2\b", r"\1.LayerNorm_1"),
    (r"MlpBlock_3\b", "MlpBlock_0"),
    (r"Transformer\.(posembed_input\.)?pos_embedding$", "pos_embedding"),
)


class _RefusedError(ValueError):
    """A file is whole, and is not read."""


def is_npz(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive of NumPy arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile reports other and broken files in many ways
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """The tensors of an .npz file of a vision transformer, under big_vision's names with dots, in the shapes of one matrix for each layer.

    The kernels and biases of queries, keys and values are joined into `qkv`. `pos_embedding` has an entry for the class token, of zeros
    if the file has none: the token is then added to the patches after their positions, which is the same. Older names become the newer.

    Raises:
      ValueError: if it is truncated, corrupted or encrypted, or holds Python's objects, which are not read, or more than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > max_bytes:
                raise _RefusedError(f"its arrays take {size} bytes, and max_bytes allows {max_bytes}")
            tensors = {_name(info.filename.removesuffix(".npy")): _array(archive, info) for info in archive.infolist()}
    except _RefusedError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    except Exception as error:  # a broken archive fails in many ways
        reason = str(error) or type(error).__name__
        raise ValueError(f"cannot read {path}: it is truncated or corrupted ({reason}); fetch it again") from error
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


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """A read-only array. Its header must state the size of its file, so that it takes no more memory.

    NumPy's files do not know bfloat16, and call it two bytes.
    """
    if info.flag_bits & 1:
        raise _RefusedError(f"{info.filename} is encrypted; save the arrays without a password")
    with archive.open(info) as file:
        shape, transposed, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        if dtype.hasobject:
            raise _RefusedError(f"{info.filename} holds Python's objects, which are not read")
        needed, left = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        if needed != left:
            raise EOFError(f"{info.filename} needs {needed} bytes for the shape {shape}, and has {left}")
        array: np.ndarray = np.ndarray(shape, dtype, file.read(), order="F" if transposed else "C")
    return array.view(ml_dtypes.bfloat16) if dtype == np.dtype("V2") else array
