"""What the pickles of PyTorch files say of tensors: where their numbers lie, of what type, in which shape. Nothing is read here.

`ADMITTED` is the whole list of names that such a pickle may use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from extremal_jax.models.formats.pickles import Function, RefusedError

_NUMPY = "float64 float32 float16 complex128 complex64 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool"
_ML_DTYPES = "bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
DTYPES: dict[str, np.dtype] = {
    **{name: np.dtype(name) for name in _NUMPY.split()},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in _ML_DTYPES.split()},
}

_CLASSES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "Untyped": "uint8",
}  # the first part of the names of storages' classes, and of tensors' in the oldest files
MAX_DIMENSIONS = 64  # of a numpy array


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file, or a part of one.

    Attributes:
      key: its name in the file.
      dtype: of its elements.
      nbytes: of the whole run.
      start: first byte of the part.
      stop: end of the part.
    """

    key: str
    dtype: np.dtype
    nbytes: int
    start: int
    stop: int


@dataclass(frozen=True)
class Tensor:
    """A strided window on a storage, within its bounds.

    Attributes:
      storage: the numbers.
      dtype: of its elements.
      offset: of its first element in the storage's part, in elements.
      shape: of the tensor.
      strides: in elements, none negative.
    """

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Of its elements, each counted, as of a contiguous copy."""
        return math.prod(self.shape) * self.dtype.itemsize


def storage(identifier: object) -> Storage:
    """The storage that a persistent identifier means.

    Raises:
      RefusedError: if it means something else.
      ValueError: if it is malformed.
    """
    if type(identifier) is not tuple or not identifier or identifier[0] != "storage":
        kind = identifier[0] if type(identifier) is tuple and identifier else identifier
        shown = repr(kind[:200]) if isinstance(kind, str) else f"of type {type(kind).__name__!r}"
        raise RefusedError(f"it asks for an object {shown} beside its pickle; storages alone are read")
    match identifier[1:]:
        case (np.dtype() as dtype, str(key), _, int(size)) | (np.dtype() as dtype, str(key), _, int(size), None):
            offset, view_size = 0, size
        case (np.dtype() as dtype, str(key), _, int(size), (_, int(offset), int(view_size))):
            pass
        case _:
            raise ValueError("a storage of it is malformed")
    return part(key, dtype, size, offset, view_size)


def part(key: str, dtype: np.dtype, size: int, offset: int, view_size: int) -> Storage:
    """The `view_size` elements from `offset` on of a storage of `size` elements.

    Raises:
      ValueError: if they are not within it.
    """
    if not (offset >= 0 and view_size >= 0 and offset + view_size <= size < 2**62):
        raise ValueError(f"storage {key[:100]!r} is said to have {size} elements, of which {view_size} from {offset} on are asked for")
    return Storage(key, dtype, size * dtype.itemsize, offset * dtype.itemsize, (offset + view_size) * dtype.itemsize)


def tensor(numbers: object, offset: object, shape: object, strides: object, dtype: np.dtype | None = None) -> Tensor:
    """A tensor, its bounds checked.

    Raises:
      ValueError: if it is malformed, or its shape promises more than its storage holds.
    """
    if type(numbers) is not Storage or not (_sizes((offset,)) and _sizes(shape) and _sizes(strides)):
        raise ValueError("a tensor of it is malformed")
    made = Tensor(numbers, dtype or numbers.dtype, offset, shape, strides)  # type: ignore[arg-type]
    if len(made.shape) != len(made.strides):
        raise ValueError(f"a tensor of it has {len(made.shape)} sizes and {len(made.strides)} strides")
    end = made.offset + 1 + sum((size - 1) * stride for size, stride in zip(made.shape, made.strides, strict=True))
    if 0 not in made.shape and end * made.dtype.itemsize > numbers.stop - numbers.start:
        raise ValueError(
            f"a tensor of shape {made.shape} needs {end * made.dtype.itemsize} bytes, but storage {numbers.key[:100]!r} "
            f"holds {numbers.stop - numbers.start}"
        )
    return made


def _sizes(values: object) -> bool:
    """Whether these are the sizes, the strides or the offset of an array that numpy can have."""
    return type(values) is tuple and len(values) <= MAX_DIMENSIONS and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _rebuild_tensor(arguments: tuple[Any, ...]) -> Tensor:
    """(storage, offset, shape, strides[, requires_grad, hooks[, metadata]])."""
    if not 4 <= len(arguments) <= 7:
        raise ValueError("a tensor of it is malformed")
    _check_metadata(arguments[6:])
    return tensor(*arguments[:4])


def _rebuild_typed_tensor(arguments: tuple[Any, ...]) -> Tensor:
    """(storage, offset, shape, strides, requires_grad, hooks, dtype[, metadata])."""
    if not 7 <= len(arguments) <= 8 or not isinstance(arguments[6], np.dtype):
        raise ValueError("a tensor of it is malformed")
    _check_metadata(arguments[7:])
    numbers, offset, shape, strides, _, _, dtype = arguments[:7]
    return tensor(numbers, offset, shape, strides, dtype)


def _check_metadata(metadata: tuple[Any, ...]) -> None:
    if any(metadata):
        raise ValueError("a tensor of it is negated or conjugated lazily; save it with resolve_neg() or resolve_conj()")


def _rebuild_parameter(arguments: tuple[Any, ...]) -> Tensor:
    """(tensor, requires_grad, hooks[, state])."""
    if not arguments or type(arguments[0]) is not Tensor:
        raise ValueError("a parameter of it is malformed")
    return arguments[0]


def _size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    if len(arguments) != 1 or not _sizes(arguments[0]):
        raise ValueError("a torch.Size of it is malformed")
    return arguments[0]


ADMITTED: dict[str, Any] = {
    "torch._utils._rebuild_tensor": Function(_rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Function(_rebuild_tensor),
    "torch._utils._rebuild_tensor_v3": Function(_rebuild_typed_tensor),
    "torch._utils._rebuild_parameter": Function(_rebuild_parameter),
    "torch._utils._rebuild_parameter_with_state": Function(_rebuild_parameter),
    "torch.Size": Function(_size),
    **{f"torch.{name}": dtype for name, dtype in DTYPES.items()},
    **{
        f"{module}.{name}{kind}": DTYPES[dtype]
        for module in ("torch", "torch.cuda", "torch.storage")
        for name, dtype in _CLASSES.items()
        for kind in ("Storage", "Tensor")
    },
}
