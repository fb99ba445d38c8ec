"""Results in files: arrays and text in `.npz` files. Nothing in them can execute anything."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from extremal_jax.files import whole_file


def write_result(path: str | os.PathLike[str], mark: str, result: Any, **texts: str) -> None:
    """Write the arrays of a pytree by their names, and some texts, to a file, whole or not at all.

    Args:
      path: of the file.
      mark: says what the file holds, and in which version.
      result: a pytree of named fields; `result.history.rewards` is written as "history.rewards".
      texts: what else the file is to hold.

    Raises:
      OSError: if the folder cannot be written.
    """
    content: dict[str, Any] = {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(result)}
    content.update(format=mark, **texts)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)


def read_result(path: str | os.PathLike[str], mark: str, names: Iterable[str]) -> dict[str, Any]:
    """Read the arrays and texts that `write_result` wrote.

    Args:
      path: of the file.
      mark: that the file must bear.
      names: that must be in it.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is truncated or something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no result file {path}")
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a whole result file ({error})") from error
    if str(content.get("format")) != mark:
        raise ValueError(f"{path} is not a result file of this version: expected the mark {mark!r}, got {str(content.get('format'))!r}")
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f"{path} is not a whole result file: it lacks {', '.join(missing)}")
    return content


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
