"""Examples of a dataset: an image, its classes, and where their objects are known to be; and the sequence of examples that readers make."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import io
import json
import operator
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from extremal_jax.data.images import image_size, load_image, to_rgb
from extremal_jax.ground.checks import nearest, quoted

Box = tuple[int, int, int, int]
_PILLOW = threading.Lock()  # an image of Pillow that is not decoded yet is a file with one position, and threads may share it


@dataclass(frozen=True, eq=False)
class Object:
    """An object in an image.

    Attributes:
      label: the index of its class.
      box: (ymin, xmin, ymax, xmax) in pixels, the last row and column excluded; None if unknown.
      mask: (H, W), its pixels; None if unknown.
      difficult: whether the annotators marked it as difficult to recognise.
    """

    label: int
    box: Box | None = None
    mask: Bool[np.ndarray, "H W"] | None = None
    difficult: bool = False


@dataclass(frozen=True, eq=False)
class Example:
    """An image and its objects. The image is decoded by `load`, each time anew.

    Attributes:
      name: the name of the image's file, which no other example of the dataset has.
      image: its file, the content of its file, or its pixels.
      size: (height, width) of the stored pixels, to which boxes and masks refer; None if the annotations do not say it.
      objects: in the order of the annotations.

    Example:
      >>> example = Example("cat.png", np.zeros((4, 6, 3), np.uint8), (4, 6), (Object(3, box=(1, 2, 3, 4)),))
      >>> example.labels, int(example.region(3).sum()), example.load().shape
      ((3,), 4, (4, 6, 3))
    """

    name: str
    image: Path | bytes | Image.Image | UInt8[np.ndarray, "H W 3"]
    size: tuple[int, int] | None
    objects: tuple[Object, ...]

    def load(self) -> UInt8[np.ndarray, "H W 3"]:
        """Decode the image: 8-bit RGB, (H, W, 3). Its EXIF orientation is applied only if `size` is None.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if the image cannot be decoded, or has another size than its annotation says; the message names it.
        """
        pixels = self._pixels()
        if self.size is not None and pixels.shape[:2] != self.size:
            (height, width), (stated_height, stated_width) = pixels.shape[:2], self.size
            raise ValueError(f"image {self.name} is {height}x{width} pixels large, but its annotation says {stated_height}x{stated_width}")
        return pixels

    def shape(self) -> tuple[int, int]:
        """(height, width) of the array that `load` returns, from the header of the file alone.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if the file is not an image; the message names it.
        """
        if self.size is not None:
            return self.size
        if isinstance(self.image, Path):
            return image_size(self.image)
        if isinstance(self.image, bytes):
            return image_size(self._file(self.image))
        height, width = self._pixels().shape[:2]
        return height, width

    def _pixels(self) -> UInt8[np.ndarray, "H W 3"]:
        if isinstance(self.image, np.ndarray):
            return self.image
        if isinstance(self.image, Image.Image):
            with _PILLOW:
                return np.asarray(to_rgb(self.image, upright=self.size is None))
        if isinstance(self.image, Path):
            return load_image(self.image, upright=self.size is None)
        return load_image(self._file(self.image), upright=self.size is None)

    def _file(self, content: bytes) -> io.BytesIO:
        """The content of a file as an open one, whose name messages of errors use."""
        file = io.BytesIO(content)
        file.name = self.name
        return file

    @property
    def labels(self) -> tuple[int, ...]:
        """The indices of the classes it shows, ascending."""
        return tuple(sorted({thing.label for thing in self.objects}))

    @property
    def has_regions(self) -> bool:
        """Whether it shows objects, and is known where they all are."""
        return bool(self.objects) and self.size is not None and all(_is_located(thing) for thing in self.objects)

    def region(self, label: int) -> Bool[np.ndarray, "H W"]:
        """The pixels of a class: the union of its objects' masks, or of the boxes of those without masks. Difficult objects count.

        Raises:
          ValueError: if the image shows no such object, or the annotations do not say where they are.
        """
        shown = self._shown(label)
        if self.size is None or not all(map(_is_located, shown)):
            raise ValueError(f"{self.name} comes without boxes and masks of class {label}; choose a dataset that has them")
        region = np.zeros(self.size, bool)
        for thing in shown:
            if thing.mask is not None:
                region |= thing.mask
            elif thing.box is not None:
                ymin, xmin, ymax, xmax = thing.box
                region[max(ymin, 0) : max(ymax, 0), max(xmin, 0) : max(xmax, 0)] = True
        return region

    def all_difficult(self, label: int) -> bool:
        """Whether all objects of a class are marked as difficult. Raises a ValueError if the image shows none."""
        return all(thing.difficult for thing in self._shown(label))

    def _shown(self, label: int) -> list[Object]:
        shown = [thing for thing in self.objects if thing.label == label]
        if not shown:
            raise ValueError(f"{self.name} shows no object of class {label}, only of {', '.join(map(str, self.labels)) or 'no class'}")
        return shown


def _is_located(thing: Object) -> bool:
    return thing.box is not None or thing.mask is not None


class Dataset(abc.ABC):
    """A sequence of examples, each made when it is asked for. It holds names and annotations, but no images.

    A dataset of your own sets the attributes and defines `example`.

    Attributes:
      name: identifies the data, in reports and messages: a benchmark is resumed only with a dataset of the same name.
      classes: the names of the classes, by index.
      names: the name of each example.
    """

    name: str
    classes: tuple[str, ...]
    names: tuple[str, ...]

    @abc.abstractmethod
    def example(self, index: int) -> Example:
        """The example of an index from 0 to len - 1."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: SupportsIndex) -> Example:
        """An example; negative indices count from the end. Raises a ValueError where its annotation is malformed."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} is out of range; {self.name} has {len(self)}")
        return self.example(index % len(self))

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} examples, {len(self.classes)} classes)"

    def select(self, indices: Iterable[int]) -> Dataset:
        """A dataset of some of the examples, such as `dataset.select(range(0, len(dataset), 10))`.

        The first n examples, `range(n)`, keep the dataset's name, so that more of them may extend a benchmark. The name of
        any other choice ends in a digest of the names of its examples.
        """
        return _View(self, range(len(self)), None, self.classes).select(indices)

    def with_classes(self, classes: Sequence[str]) -> Dataset:
        """The same examples, with the indices that a classifier's classes have; classes correspond by name.

        Labels of a dataset without names of classes are the classifier's indices already.

        Raises:
          ValueError: if the classifier has no class, or several, of the name of one of the dataset's classes. A name such as
            "7" is no index. Without names: when an example is asked for whose label is no index of the classifier's classes.
        """
        classes = tuple(classes)
        if classes == self.classes:
            return self
        labels = [class_index(name, classes, f"{self.name} has the class") for name in self.classes]
        return _View(self, range(len(self)), labels if self.classes else range(len(classes)), classes)


class _View(Dataset):
    """Some examples of another dataset, or other indices of its classes; None: the same."""

    def __init__(self, dataset: Dataset, indices: Sequence[int], labels: Sequence[int] | None, classes: tuple[str, ...]) -> None:
        self.name, self.classes = dataset.name, classes
        self.names = tuple(dataset.names[index] for index in indices)
        self._dataset, self._indices, self._labels = dataset, indices, labels

    def select(self, indices: Iterable[int]) -> Dataset:
        """As in `Dataset`; a choice from a choice is named as a choice from the whole."""
        chosen = [self._indices[index] for index in indices]
        view = _View(self._dataset, chosen, self._labels, self.classes)
        if chosen == [*self._indices[: len(chosen)]]:
            view.name = self.name
        elif chosen != [*range(len(chosen))]:
            view.name += f" select={hashlib.sha256(json.dumps(view.names).encode()).hexdigest()[:12]}"
        return view

    def example(self, index: int) -> Example:
        """As in `Dataset`."""
        example = self._dataset[self._indices[index]]
        if self._labels is None:
            return example
        subject = f"{example.name} has the class"
        labels = [self._labels[checked_index(thing.label, self._labels, subject)] for thing in example.objects]
        objects = tuple(dataclasses.replace(thing, label=label) for thing, label in zip(example.objects, labels, strict=True))
        return dataclasses.replace(example, objects=objects)


def own_labels(dataset: Dataset) -> Sequence[int]:
    """The label in a dataset of each class of its annotations, in their order: 0, 1, 2, ... unless `with_classes` was called.

    Example:
      >>> from extremal_jax.data.scene_examples import SceneDataset
      >>> scenes = SceneDataset(1)
      >>> own_labels(scenes)[:3], own_labels(scenes.with_classes(scenes.classes[::-1]))[:3]
      (range(0, 3), [25, 24, 23])
    """
    if not isinstance(dataset, _View):
        return range(len(dataset.classes))
    within, labels = own_labels(dataset._dataset), dataset._labels
    if labels is None:
        return within
    return [labels[label] for label in within] if within else labels


def class_index(name: str, classes: Sequence[str], subject: str, *, advice: str = "rename all but one of them") -> int:
    """The index of the class of a name.

    Raises:
      ValueError: if no class, or several, have the name. The message begins with `subject`; `advice` is for several.

    Example:
      >>> class_index("wolf", ["dog", "wolf"], "the dataset has the class")
      1
    """
    named = [index for index, other in enumerate(classes) if other == name]
    if not named:
        raise ValueError(f"{subject} {name!r}, which the classifier does not know; {nearest(name, classes)}")
    if len(named) > 1:
        raise ValueError(f"{subject} {name!r}, but {len(named)} classes of the classifier have this name; {advice}: {quoted(named)}")
    return named[0]


def label_index(label: str, classes: Sequence[str], subject: str) -> int:
    """The index of a class that a file gives by its name or index.

    Raises:
      ValueError: if there is no such class, or several classes have the name. The message begins with `subject`.

    Example:
      >>> label_index("wolf", ["dog", "wolf"], "a.jpg has the class"), label_index("0", ["dog", "wolf"], "a.jpg has the class")
      (1, 0)
    """
    if label in classes or not label.isascii() or not label.isdigit():
        return class_index(label, classes, subject, advice="give an index")
    return checked_index(int(label), classes, subject)


def checked_index(index: int, classes: Sequence[Any], subject: str) -> int:
    """An index of a class, which is never read as a name.

    Raises:
      ValueError: if there is no such class. The message begins with `subject`.

    Example:
      >>> checked_index(1, ["1", "2"], "a.jpg has the class")
      1
    """
    if not 0 <= index < len(classes):
        raise ValueError(f"{subject} {index}, but the classifier's classes go from 0 to {len(classes) - 1}")
    return index


def some(names: Sequence[str]) -> str:
    """The first of many names, in quotes, and the number of the others.

    Example:
      >>> some(["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"])
      "'a.jpg', 'b.jpg', 'c.jpg' and 2 more"
    """
    return quoted(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
