"""Lists of difficult pairs: images and the classes in them whose objects are small, among objects of other classes.

No list comes with this package; the path of one is given.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from extremal_jax.data.examples import Dataset, label_index, some
from extremal_jax.ground.files import as_path

_HEADERS = (["file", "label"], ["name", "class"])


def difficult_pairs(path: str | os.PathLike[str], dataset: Dataset) -> frozenset[tuple[str, int]]:
    """Read a list of difficult pairs of image and class.

    Args:
      path: JSON, `{class: [name, ...]}`; or lines of a name and a class, or of a name and a 0 or 1 for each class, as in
        the lists that TorchRay carries. Fields are separated by commas, or by spaces and tabs. A class is a name or an
        index; the name of an image may lack its suffix.
      dataset: the whole dataset, before `select`.

    Returns:
      Pairs of the name of an example and the index of a class.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the list is malformed or empty, or names an image or class that the dataset does not have.

    Example:
      >>> import tempfile
      >>> from extremal_jax.data.scene_examples import SceneDataset
      >>> path = Path(tempfile.mkdtemp()) / "difficult.txt"
      >>> _ = path.write_text("scene-4000-000001 key")
      >>> difficult_pairs(path, SceneDataset(2))
      frozenset({('scene-4000-000001.png', 25)})
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no list of difficult pairs {path}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from error
    entries = list(_of_json(text, path) if path.suffix.lower() == ".json" else _of_lines(text, dataset.classes, path))
    names = {key: name for name in dataset.names for key in (Path(name).stem, name)}
    if missing := sorted({name for name, _ in entries if name not in names}):
        raise ValueError(f"{path} does not match {dataset.name}, which has no {some(missing)}; is it the list of another dataset or split?")
    pairs = ((names[name], label) for name, label in entries if label is not None)
    found = frozenset((name, label_index(label, dataset.classes, f"{path}: {name} has the class")) for name, label in pairs)
    if not found:
        raise ValueError(f"{path} lists no difficult pairs")
    return found


def _of_json(text: str, path: Path) -> Iterator[tuple[str, str | None]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(names, list) for names in content.values()):
        raise ValueError(f"{path} must hold {{class: [name, ...]}}, got {text.strip()[:40]!r}")
    return ((str(name), label) for label, names in content.items() for name in names)


def _of_lines(text: str, classes: Sequence[str], path: Path) -> Iterator[tuple[str, str | None]]:
    """Names with a class; or with None, for an image of the list without a difficult class."""
    for number, line in enumerate(filter(str.strip, text.splitlines())):
        row = [field.strip() for field in (next(csv.reader([line], skipinitialspace=True)) if "," in line else line.split())]
        if number == 0 and row in _HEADERS:
            continue
        if len(classes) > 1 and len(row) == 1 + len(classes) and set(row[1:]) <= {"0", "1"}:
            yield row[0], None
            yield from ((row[0], str(index)) for index, flag in enumerate(row[1:]) if flag == "1")
        elif len(row) < 2 or ("," in line and len(row) > 2) or {*row[1:]} == {"0", "1"}:
            raise ValueError(
                f"{path} must have a name and a class in each line, or a name and {len(classes)} flags, got {line.strip()[:60]!r}"
            )
        else:
            yield row[0], " ".join(row[1:])
