"""Folders of photographs, with the classes that they show or without."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from extremal_jax.data.examples import Dataset, Example, Object, checked_index, label_index, some
from extremal_jax.ground.checks import nearest
from extremal_jax.ground.files import as_path

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
COLUMNS = ("file", "label")


class PhotographDataset(Dataset):
    """Photographs, without boxes and masks, in the order of their names.

    Args:
      folder: holds the image files. Other files, hidden ones and those of folders within are not read.
      classes: the names of the classifier's classes, by index.
      labels: a CSV file with the columns `file` (a path within the folder) and `label` (the name of a class or its
        index); several rows may name one file, and images that it does not name are left out. None: the name of each
        file begins with an index, as in `281_tabby.jpg`.

    Raises:
      FileNotFoundError: if there is no such folder or CSV file, or the CSV file names a photograph that is missing.
      ValueError: if there are no photographs, a name has no index, the columns are missing, the CSV file names a
        photograph by a path that leads out of the folder or has a shorter form, or the classifier does not know a class.

    Example:
      >>> import tempfile, numpy as np
      >>> from PIL import Image
      >>> folder = Path(tempfile.mkdtemp())
      >>> Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "1_cat.png")
      >>> PhotographDataset(folder, ["dog", "cat"])[0].labels
      (1,)
    """

    def __init__(self, folder: str | os.PathLike[str], classes: Sequence[str], *, labels: str | os.PathLike[str] | None = None) -> None:
        self._folder = as_path(folder)
        if not self._folder.is_dir():
            raise FileNotFoundError(f"no folder {self._folder}")
        self.name, self.classes = str(self._folder) if labels is None else f"{self._folder}:{as_path(labels)}", tuple(classes)
        self._labels = self._of_names() if labels is None else self._of_table(as_path(labels))
        self.names = tuple(sorted(self._labels))

    def example(self, index: int) -> Example:
        """As in `Dataset`."""
        name = self.names[index]
        return Example(name, self._folder / name, None, tuple(Object(label) for label in self._labels[name]))

    def _of_names(self) -> dict[str, list[int]]:
        """The class of each photograph, from the index that its name begins with."""
        found = {name: re.match(r"\d+(?!\d)", name, re.ASCII) for name in _image_files(self._folder)}
        if unlabelled := [name for name, index in found.items() if index is None]:
            raise ValueError(
                f"the names of photographs begin with the index of a class, as in '281_tabby.jpg', got {some(unlabelled)} in"
                f" {self._folder}; rename them, or give the labels in a CSV file with the columns file,label"
            )
        return {name: [checked_index(int(index[0]), self.classes, f"{name} has the class")] for name, index in found.items() if index}

    def _of_table(self, table: Path) -> dict[str, list[int]]:
        """The classes of each photograph, from a CSV file."""
        if not table.is_file():
            raise FileNotFoundError(f"no CSV file {table}")
        try:
            with table.open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file, skipinitialspace=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{table} is not a CSV file: {error}") from error
        if not rows:
            raise ValueError(f"{table} has no rows below its header file,label")
        for column in COLUMNS:
            if column not in rows[0]:
                header = [name for name in rows[0] if name]
                raise ValueError(f"{table} must have the columns file,label, got {','.join(header)}; {nearest(column, header)}")
        labels: dict[str, list[int]] = {}
        for row in rows:
            name, label = ((row[column] or "").strip() for column in COLUMNS)
            if not name or not (self._folder / name).is_file():
                raise FileNotFoundError(f"{table} names the photograph {name!r}, which is not in {self._folder}")
            if not _is_within(name):
                raise ValueError(f"{table} must name photographs by their shortest paths in {self._folder}, as in 'a.jpg', got {name!r}")
            index = label_index(label, self.classes, f"{table}: {name} has the class")
            labels.setdefault(name, []).extend([] if index in labels.get(name, []) else [index])
        return labels


class PictureDataset(Dataset):
    """The image files of a folder, in the order of their names, whatever they show.

    Args:
      folder: as in `PhotographDataset`.
      classes: the names of the classifier's classes, by index.

    Raises:
      FileNotFoundError: if there is no such folder.
      ValueError: if it holds no image files.

    Example:
      >>> import tempfile, numpy as np
      >>> from PIL import Image
      >>> folder = Path(tempfile.mkdtemp())
      >>> Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "cat.png")
      >>> PictureDataset(folder, ["dog", "cat"]).names
      ('cat.png',)
    """

    def __init__(self, folder: str | os.PathLike[str], classes: Sequence[str]) -> None:
        self._folder = as_path(folder)
        if not self._folder.is_dir():
            raise FileNotFoundError(f"no folder {self._folder}")
        self.name, self.classes, self.names = str(self._folder), tuple(classes), tuple(_image_files(self._folder))

    def example(self, index: int) -> Example:
        """As in `Dataset`."""
        return Example(self.names[index], self._folder / self.names[index], None, ())


def _is_within(name: str) -> bool:
    """Whether a name is a path that stays in its folder, in its shortest form: two of them are two files."""
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _image_files(folder: Path) -> list[str]:
    """The names of the image files in a folder, in order."""
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not names:
        raise ValueError(f"no image files in {folder}; they end in {', '.join(sorted(SUFFIXES))}")
    return sorted(names)
