"""Results in files: `.npz` files of arrays and text, which cannot execute anything."""

from __future__ import annotations

import dataclasses
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

import jax
import numpy as np

from extremal_jax.ground.files import as_path, whole_file
from extremal_jax.optimise.settings import Settings, from_json, to_json

_DAMAGED = (  # what NumPy and the zip archive raise for bytes that are not as they were written
    *(ValueError, OSError, EOFError, AttributeError, KeyError, NotImplementedError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
Result = TypeVar("Result", bound="Saved")  # `Self`, for the type checker of the tests


class Saved:
    """A pytree that can be written to a file and read again: arrays, texts, parts that are pytrees of arrays, and
    settings, `config`.

    The rewards of the history are written as "history.rewards" and settings as JSON; fields that are None are left out.
    A field with a default may be missing in a file, so that older files stay readable.
    """

    MARK: ClassVar[str]  # of the class's files, with a version

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to an `.npz` file, whole or not at all. Functions among the settings are written by name.

        Raises:
          OSError: if the folder cannot be written.
        """
        leaves = jax.tree_util.tree_leaves_with_path(self)
        content: dict[str, Any] = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
        content |= {name: value for name, value in vars(self).items() if isinstance(value, str)}
        if vars(self).get("config") is not None:
            content["config"] = to_json(vars(self)["config"])
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, format=self.MARK, **content)

    @classmethod
    def load(cls: type[Result], path: str | os.PathLike[str]) -> Result:
        """Read a result from a file that `save` wrote, without executing anything in it.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if the file is truncated or something else.
        """
        content = _read(path)
        if (mark := content.pop("format", None)) != cls.MARK:
            raise ValueError(f"{path} is not a result file of this version: expected the mark {cls.MARK!r}, got {str(mark)!r}")
        if missing := [name for name in _needed(cls) if name not in content]:
            raise ValueError(f"{path} is not a whole result file: it lacks {', '.join(missing)}")
        for name, kind in _records(cls).items():
            if not issubclass(kind, Settings):
                found = {field.name: content.pop(f"{name}.{field.name}", None) for field in dataclasses.fields(kind)}
                content[name] = kind(**{inner: value for inner, value in found.items() if value is not None})
            elif name in content:
                content[name] = from_json(kind, content[name])
        return cls(**content)


def _records(kind: Any) -> dict[str, Any]:
    """The classes of the fields that are records themselves, parts and settings, by field: their annotations, also with `None`."""
    annotated = {name: (get_args(hint) or (hint,))[0] for name, hint in get_type_hints(kind).items()}
    return {name: found for name, found in annotated.items() if dataclasses.is_dataclass(found)}


def _needed(kind: Any) -> Iterator[str]:
    """The names of what every file of a class holds."""
    parts = {name: part for name, part in _records(kind).items() if not issubclass(part, Settings)}
    for field in dataclasses.fields(kind):
        if field.name in parts:
            yield from (f"{field.name}.{inner}" for inner in _needed(parts[field.name]))
        elif field.default is dataclasses.MISSING:
            yield field.name


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arrays and texts of a file, by name."""
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no result file {path}")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a whole result file ({error})") from error
    return {name: str(array) if array.dtype.kind == "U" else array for name, array in arrays.items()}
