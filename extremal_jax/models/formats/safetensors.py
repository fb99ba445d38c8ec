"""The arrays of a module or any other pytree in safetensors files, which execute nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import load_file, save_file

from extremal_jax.ground.files import whole_file

Tree = TypeVar("Tree")
_TYPES = frozenset(["BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F64", "C64"])
_EIGHT_BITS = {
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}


def tensor_names(tree: object) -> list[str]:
    """The dotted path of every array, in the order of `jax.tree.leaves`.

    Example:
      >>> tensor_names({"conv": {"kernel": 1.0}, "blocks": [2.0]})
      ['blocks.0', 'conv.kernel']
    """

    paths = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return [path.removesuffix(".value") for path in paths]  # of a Flax variable


def save(path: str | os.PathLike[str], tree: object, metadata: dict[str, str] | None = None) -> None:
    """Write a tree's arrays to a safetensors file under their dotted paths; the file is whole or absent."""
    arrays = {name: np.asarray(leaf) for name, leaf in zip(tensor_names(tree), jax.tree.leaves(tree), strict=True)}
    with whole_file(path) as temporary:
        save_file(arrays, temporary, metadata)


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is truncated or of another format, or holds a type of number that neither NumPy nor `ml_dtypes` has.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}; expected a .safetensors file")
    try:
        types = set(_types(path).values())
        if unknown := sorted(types - _TYPES - _EIGHT_BITS.keys()):
            raise ValueError(f"{path} holds numbers of type {', '.join(unknown)}, which cannot be read; store them as F32, F16 or BF16")
        return _read_eight_bits(path) if types & _EIGHT_BITS.keys() else load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch or convert it again") from error


def _types(path: str | os.PathLike[str]) -> dict[str, str]:
    """The type of each tensor's numbers, in the format's words."""
    with safe_open(path, "np") as file:
        return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  # not a dictionary


def _read_eight_bits(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a file with 8-bit floats, which the format's NumPy reader does not convert."""
    with safe_open(path, "np") as file:
        others = {name: file.get_tensor(name) for name, kind in _types(path).items() if kind not in _EIGHT_BITS}
    views = deserialize(Path(path).read_bytes())  # type: ignore[no-untyped-call]
    floats = [(name, view) for name, view in views if view["dtype"] in _EIGHT_BITS]
    return others | {name: np.frombuffer(view["data"], _EIGHT_BITS[view["dtype"]]).reshape(view["shape"]) for name, view in floats}


def restore(tree: Tree, path: str | os.PathLike[str]) -> Tree:
    """The tree with the arrays that `save` wrote.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is truncated or of another format, or its arrays have other names or shapes than the tree's.
    """
    tensors = read(path)
    leaves, structure = jax.tree.flatten(tree)
    wanted = {name: leaf.shape for name, leaf in zip(tensor_names(tree), leaves, strict=True)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wanted != found:
        names = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise ValueError(f"{path} holds another tree: {', '.join(names)} differ")
    return jax.tree.unflatten(structure, [jnp.asarray(tensors[name], leaf.dtype) for name, leaf in zip(wanted, leaves, strict=True)])
