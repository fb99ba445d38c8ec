"""The arrays of a module, or of any other pytree, in safetensors files: a format that holds tensors and executes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from extremal_jax.files import whole_file

Tree = TypeVar("Tree")


def tensor_names(tree: object) -> list[str]:
    """The dotted path of every array, in the order of `jax.tree.leaves`.

    Example:
      >>> tensor_names({"conv": {"kernel": 1.0}, "blocks": [2.0]})
      ['blocks.0', 'conv.kernel']
    """

    paths = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return [path.removesuffix(".value") for path in paths]  # that of a Flax variable


def save(path: str | os.PathLike[str], tree: object, metadata: dict[str, str] | None = None) -> None:
    """Write a tree's arrays to a safetensors file under their dotted paths; whole or not at all."""
    arrays = {name: np.asarray(leaf) for name, leaf in zip(tensor_names(tree), jax.tree.leaves(tree), strict=True)}
    with whole_file(path) as temporary:
        save_file(arrays, temporary, metadata)


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is truncated or something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}; expected a .safetensors file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); fetch or convert it again") from error


def restore(tree: Tree, path: str | os.PathLike[str]) -> Tree:
    """The same tree with the arrays that `save` wrote.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is truncated or something else, or its arrays are not those of the tree.
    """
    tensors = read(path)
    leaves, structure = jax.tree.flatten(tree)
    wanted = {name: leaf.shape for name, leaf in zip(tensor_names(tree), leaves, strict=True)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wanted != found:
        names = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise ValueError(f"{path} holds another tree: {', '.join(names)} differ")
    return jax.tree.unflatten(structure, [jnp.asarray(tensors[name], leaf.dtype) for name, leaf in zip(wanted, leaves, strict=True)])
