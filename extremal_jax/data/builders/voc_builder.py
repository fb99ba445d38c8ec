"""The builder of PASCAL VOC, from the official files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from extremal_jax.data.images import image_size
from extremal_jax.data.prepared import tensorflow_datasets
from extremal_jax.data.voc import CLASSES, POSES, VOCObject, find_tree, read_annotation, read_split, stems_of
from extremal_jax.ground.checks import quoted
from extremal_jax.ground.files import as_path

_DIGEST = "source"  # the key of the source's digest in the metadata of prepared data
Read = Callable[[str], bytes]  # the content of a file of the tree, by its path in it


def voc(source: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None, split: str = "test", year: str = "2007") -> Any:
    """A builder of TensorFlow Datasets for a split of PASCAL VOC: the dataset `extremal_voc`, configuration `year`.

    Its features are those of the stock dataset `voc/2007`, which needs TensorFlow to be prepared: `image`,
    `image/filename`, `labels`, `labels_no_difficult` and `objects` with `bbox`, `is_difficult`, `is_truncated`, `label`
    and `pose`. Images are copied, not encoded again.

    Args:
      source: the official archive, such as VOCtest_06-Nov-2007.tar, or its folder, as in `VOCDataset`.
      data_dir: the folder to prepare it in; None: the default of TensorFlow Datasets.
      split: as in `VOCDataset`. A folder holds one split of one year, from one source.
      year: of the folder within VOCdevkit, or of the folder itself.

    Returns:
      A `tfds.core.GeneratorBasedBuilder`: call its `download_and_prepare()`, then its `as_data_source(split)`, or give
      its name to `PreparedDataset`.

    Raises:
      ImportError: if tensorflow_datasets is not installed.
      FileNotFoundError: if there is no such archive, folder or split, or an annotation is missing; while preparing, if an image is.
      ValueError: if the source is not a VOC tree, or of another year, or `data_dir` holds another split or source, prepared before;
        while preparing, if an annotation is malformed, or an image has another size than its annotation says, or is no image.

    Example:
      >>> builder = voc("VOCtest_06-Nov-2007.tar", data_dir="prepared")  # doctest: +SKIP
      >>> builder.download_and_prepare()  # doctest: +SKIP
      >>> PreparedDataset("extremal_voc/2007", data_dir="prepared")[0].labels  # doctest: +SKIP
      (11, 14)
    """
    tfds = tensorflow_datasets()
    base: Any = tfds.core.GeneratorBasedBuilder
    read, stems = _opened(as_path(source), split, year)
    digest = _digest(read, stems)

    class Voc(base, skip_registration=True):  # type: ignore[misc, call-arg]
        """Images of PASCAL VOC with the boxes of their objects."""

        name = "extremal_voc"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description=self.__doc__,
                features=tfds.features.FeaturesDict(_features(tfds)),
                homepage=f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/",
                metadata=tfds.core.MetadataDict({_DIGEST: digest}),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            for index, stem in enumerate(stems):
                path, image = f"Annotations/{stem}.xml", read(f"JPEGImages/{stem}.jpg")
                size, things = read_annotation(read(path), path)
                _check_size(image, f"{stem}.jpg", size)
                yield (
                    index,
                    {
                        "image": image,
                        "image/filename": f"{stem}.jpg",
                        "objects": [_stored(tfds, thing, size) for thing in things],
                        "labels": sorted({thing.label for thing in things}),
                        "labels_no_difficult": sorted({thing.label for thing in things if not thing.difficult}),
                    },
                )

    builder = Voc(
        data_dir=None if data_dir is None else os.fspath(data_dir),
        config=tfds.core.BuilderConfig(name=year, version=Voc.VERSION, description=f"PASCAL VOC {year}."),
        file_format="array_record",
    )
    _check_prepared(builder, split, digest)
    return builder


def _digest(read: Read, stems: list[str]) -> str:
    """Identifies the names and annotations of a split."""
    found = hashlib.sha256()
    for stem in stems:
        found.update(f"{stem}\n".encode() + hashlib.sha256(read(f"Annotations/{stem}.xml")).digest())
    return found.hexdigest()


def _check_prepared(builder: Any, split: str, digest: str) -> None:
    """Raise a ValueError if the builder's folder holds other data, which it would take for its own."""
    folder = Path(builder.data_path)
    if not (folder / "dataset_info.json").is_file():
        return
    if split not in builder.info.splits:
        raise ValueError(f"{folder} holds the split {quoted([*builder.info.splits])}, not {split!r}; give another data_dir")
    metadata = folder / "metadata.json"
    if metadata.is_file() and json.loads(metadata.read_text("utf-8")).get(_DIGEST, digest) != digest:
        raise ValueError(f"{folder} was prepared from another source, with other names or annotations; give another data_dir")


def _check_size(content: bytes, name: str, stated: tuple[int, int]) -> None:
    """Raise a ValueError unless an image has the size by which its boxes are divided."""
    file = io.BytesIO(content)
    file.name = name  # for messages
    height, width = image_size(file, upright=False)
    if (height, width) != stated:
        raise ValueError(f"image {name} is {height}x{width} pixels large, but its annotation says {stated[0]}x{stated[1]}; correct it")


def _features(tfds: Any) -> dict[str, Any]:
    label = tfds.features.ClassLabel(names=CLASSES)
    return {
        "image": tfds.features.Image(),
        "image/filename": tfds.features.Text(),
        "objects": tfds.features.Sequence(
            {
                "label": label,
                "bbox": tfds.features.BBoxFeature(),
                "pose": tfds.features.ClassLabel(names=POSES),
                "is_truncated": np.bool_,
                "is_difficult": np.bool_,
            }
        ),
        "labels": tfds.features.Sequence(label),
        "labels_no_difficult": tfds.features.Sequence(label),
    }


def _stored(tfds: Any, thing: VOCObject, size: tuple[int, int]) -> dict[str, Any]:
    """An object in the form of the stock builder: its box in shares of the image's height and width."""
    ymin, xmin, ymax, xmax = (side / length for side, length in zip(thing.box, size * 2, strict=True))
    return {
        "label": thing.label,
        "bbox": tfds.features.BBox(ymin, xmin, ymax, xmax),
        "pose": thing.pose,
        "is_truncated": thing.truncated,
        "is_difficult": thing.difficult,
    }


def _opened(source: Path, split: str, year: str) -> tuple[Read, list[str]]:
    """A function that reads the files of a VOC tree, in a folder or in an archive, and the stems of a split."""
    if source.is_file():
        read, path = _reader(source, year), f"ImageSets/Main/{split}.txt"
        return read, stems_of(read(path).decode(), f"{path} in {source}")
    tree = find_tree(source, year)
    found = re.fullmatch(r"VOC(\d{4})", tree.name)
    if found and found[1] != year:
        raise ValueError(f"{tree} is a VOC tree of the year {found[1]}, and year is {year!r}; give year={found[1]!r}")
    return lambda path: (tree / path).read_bytes(), read_split(tree, split)


def _reader(source: Path, year: str) -> Read:
    """A function that reads the files of a VOC tree in an archive, which is not unpacked."""
    root = f"VOCdevkit/VOC{year}/"
    try:
        with tarfile.open(source) as archive:
            files = [member for member in archive if member.isfile()]
    except tarfile.TarError as error:
        raise ValueError(f"{source} is not an archive of VOC: {error}; give the official .tar file or its folder") from error
    members = {member.name.removeprefix("./").removeprefix(root): member for member in files if root in member.name}
    if not members:
        found = sorted({member.name.split("/")[1] for member in files if member.name.startswith("VOCdevkit/VOC")})
        raise ValueError(f"{source} is not an archive of VOC {year}: it has no {root}, but {quoted(found) or 'other files'}")

    def read(path: str) -> bytes:
        if path not in members:
            raise FileNotFoundError(f"the file {path} is missing in {source}")
        with tarfile.open(source) as archive, archive.extractfile(members[path]) as file:  # type: ignore[union-attr]
            return file.read()

    return read
