"""Tensors as the pickles of PyTorch files describe them: the place, type and shape of their numbers. Nothing is read here."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import ml_dtypes  # makes its types known to NumPy by name  # noqa: F401
import numpy as np

_DTYPES = (
    "float64 float32 float16 bfloat16 complex128 complex64 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool "
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
)
_CLASSES = (  # of storages
    "Double=float64 Float=float32 Half=float16 BFloat16=bfloat16 ComplexDouble=complex128 ComplexFloat=complex64 "
    "Long=int64 Int=int32 Short=int16 Char=int8 Byte=uint8 Bool=bool Untyped=uint8"
)
DTYPES: dict[str, np.dtype] = {f"torch.{name}": np.dtype(name) for name in _DTYPES.split()} | {
    f"{module}.{name}Storage": np.dtype(dtype)
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, dtype in (pair.split("=") for pair in _CLASSES.split())
}
"""The type of number that a name in a pickle means."""


class RefusedError(ValueError):
    """A pickle asks for something that is neither a tensor nor an inert value."""


class Storage(NamedTuple):  # the attributes of tuples are fixed
    """A run of numbers in the file, `nbytes` long, or the part of it from byte `start` to `stop`."""

    key: str
    dtype: np.dtype
    nbytes: int
    start: int
    stop: int


class Tensor(NamedTuple):
    """A strided window on a storage, within its bounds; offset and strides count elements."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The size of a contiguous copy."""
        return math.prod(self.shape) * self.dtype.itemsize


Storage.__hash__ = Tensor.__hash__ = None  # type: ignore[assignment]  # a file could make those of tuples collide


def storage(identifier: object) -> Storage:
    """The storage that a persistent identifier names."""
    if type(identifier) is not tuple or not identifier or identifier[0] != "storage":
        kind = identifier[0] if type(identifier) is tuple and identifier else identifier
        shown = repr(kind[:200]) if isinstance(kind, str) else f"of type {type(kind).__name__!r}"
        raise RefusedError(f"it refers to an object {shown} outside its pickle, where only storages are expected")
    match identifier[1:]:
        case (np.dtype() as dtype, str(key), _, int(size)) | (np.dtype() as dtype, str(key), _, int(size), None):
            offset, length = 0, size
        case (np.dtype() as dtype, str(key), _, int(size), (_, int(offset), int(length))):  # a part, in the oldest files
            pass
        case _:
            raise ValueError("one of its storages is malformed")
    if not 0 <= offset <= offset + length <= size < 2**62:
        raise ValueError(f"storage {key[:100]!r} declares {size} elements, of which {length} from {offset} on are used")
    return Storage(key, dtype, size * dtype.itemsize, offset * dtype.itemsize, (offset + length) * dtype.itemsize)


def rebuild_tensor(numbers: Any, offset: Any, shape: Any, strides: Any, _grad: Any = False, _hooks: Any = None, *others: Any) -> Tensor:
    """PyTorch's `_rebuild_tensor`, with its bounds checked. `others` are a type of number, if the storage has none, and metadata."""
    dtype, *metadata = others if others and isinstance(others[0], np.dtype) else (None, *others)
    if type(numbers) is not Storage or not (_are_sizes((offset,)) and _are_sizes(shape) and _are_sizes(strides)):
        raise ValueError("one of its tensors is malformed")
    if len(shape) != len(strides):
        raise ValueError(f"one of its tensors has {len(shape)} sizes and {len(strides)} strides")
    if any(metadata):
        raise ValueError("one of its tensors is negated or conjugated lazily; save it with resolve_neg() or resolve_conj()")
    made = Tensor(numbers, dtype or numbers.dtype, offset, shape, strides)
    needed = (offset + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))) * made.dtype.itemsize
    held = numbers.stop - numbers.start
    if 0 not in shape and needed > held:
        raise ValueError(f"a tensor of shape {shape} needs {needed} bytes, but storage {numbers.key[:100]!r} holds {held}")
    return made


def rebuild_parameter(data: Any, *_: Any) -> Tensor:
    """PyTorch's `_rebuild_parameter`: its tensor."""
    if type(data) is not Tensor:
        raise ValueError("one of its parameters is malformed")
    return data


def _are_sizes(values: object) -> bool:
    """Whether these can be the sizes, strides or offset of a NumPy array."""
    return type(values) is tuple and len(values) <= 64 and all(type(value) is int and 0 <= value < 2**62 for value in values)
