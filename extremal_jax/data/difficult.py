"""Lists of difficult pairs: images and the classes in them whose objects are small, among objects of other classes.

No list comes with this package; the path of one is given.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from extremal_jax.data.examples import Dataset, label_index, own_labels, some
from extremal_jax.ground.files import as_path

_HEADERS = (["file", "label"], ["name", "class"])


def difficult_pairs(path: str | os.PathLike[str], dataset: Dataset) -> frozenset[tuple[str, int]]:
    """Read a list of difficult pairs of image and class.

    Args:
      path: JSON, `{class: [name, ...]}`; or lines of a name and a class, or of a name and a 0 or 1 for each class, as in
        the lists that TorchRay carries. Fields are separated by commas, or by spaces and tabs. A class is a name or an
        index. Indices and flags are in the order of the dataset's own classes, also after `with_classes`. The name of an
        image may lack its suffix.
      dataset: the whole dataset, before `select`.

    Returns:
      Pairs of the name of an example and the index of a class.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the list is malformed or empty, or names an image or class that the dataset does not have, or an image
        without its suffix where several have this name.

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
    labels = own_labels(dataset)
    classes = [dataset.classes[label] for label in labels]
    entries = list(_of_json(text, path) if path.suffix.lower() == ".json" else _of_lines(text, len(classes), path))
    names = _by_stem(dataset.names) | {name: {name} for name in dataset.names}
    if missing := sorted({name for name, _ in entries if name not in names}):
        raise ValueError(f"{path} does not match {dataset.name}, which has no {some(missing)}; is it the list of another dataset or split?")
    if several := sorted({name for name, _ in entries if len(names[name]) > 1}):
        raise ValueError(f"{path} names {some(several)}, and {dataset.name} has several such images; add the suffixes of their files")
    pairs = [(name, label) for given, label in entries if label is not None for name in names[given]]
    found = frozenset((name, labels[_index(label, classes, f"{path}: {name} has the class")]) for name, label in pairs)
    if not found:
        raise ValueError(f"{path} lists no difficult pairs")
    return found


def _by_stem(names: Sequence[str]) -> dict[str, set[str]]:
    """The names that are equal without their suffixes, by what is equal."""
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(Path(name).stem, set()).add(name)
    return found


def _index(label: str | int, classes: Sequence[str], subject: str) -> int:
    return label if isinstance(label, int) else label_index(label, classes, subject)


def _of_json(text: str, path: Path) -> Iterator[tuple[str, str | int | None]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(names, list) for names in content.values()):
        raise ValueError(f"{path} must hold {{class: [name, ...]}}, got {text.strip()[:40]!r}")
    return ((str(name), label) for label, names in content.items() for name in names)


def _of_lines(text: str, count: int, path: Path) -> Iterator[tuple[str, str | int | None]]:
    """Names with a class, a flag's by its index; or with None, for an image of the list without a difficult class."""
    for number, line in enumerate(filter(str.strip, text.splitlines())):
        row = [field.strip() for field in (next(csv.reader([line], skipinitialspace=True)) if "," in line else line.split())]
        if number == 0 and row in _HEADERS:
            continue
        if count > 1 and len(row) == 1 + count and set(row[1:]) <= {"0", "1"}:
            yield row[0], None
            yield from ((row[0], index) for index, flag in enumerate(row[1:]) if flag == "1")
        elif len(row) < 2 or ("," in line and len(row) > 2) or {*row[1:]} == {"0", "1"}:
            raise ValueError(f"{path} must have a name and a class in each line, or a name and {count} flags, got {line.strip()[:60]!r}")
        else:
            yield row[0], " ".join(row[1:])
