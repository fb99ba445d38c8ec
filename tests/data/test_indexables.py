"""Any sequence of images as a dataset."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from extremal_jax.data import Example, IndexableDataset, Object

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
CLASSES = ["dog", "cat", "fox", "dog"]


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def one(item: Any, classes: Any = CLASSES) -> Example:
    (example,) = IndexableDataset([item], classes)
    return example


def test_images_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "a b é.png"
    path.write_bytes(png())
    for image in (PIXELS, jnp.asarray(PIXELS), Image.fromarray(PIXELS), png(), path, str(path)):
        for item in (image, (image, "cat"), {"image": image, "label": 1}, {"pixels": image, "labels": [1]}):
            example = one(item)
            np.testing.assert_array_equal(example.load(), PIXELS)
            assert example.labels == (() if item is image else (1,))
            assert (example.shape(), example.has_regions) == ((5, 7), False)
            named = isinstance(image, str | Path) and not isinstance(item, dict)
            assert example.name == ("a b é.png" if named else "000000")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (2, (2,)),
        (np.int64(2), (2,)),
        (np.array(2), (2,)),
        (jnp.asarray(2), (2,)),
        ("2", (2,)),
        ("fox", (2,)),
        (["fox", 1], (1, 2)),
        (("fox",), (2,)),
        (np.array([2, 0]), (0, 2)),
        (np.array(["fox", "cat"]), (1, 2)),
        ([], ()),
        (None, ()),
    ],
    ids=repr,
)
def test_labels(label: Any, expected: tuple[int, ...]) -> None:
    assert one((PIXELS, label)).labels == expected
    assert one({"image": PIXELS, "label": label}).labels == expected


def test_numbers_are_indices_where_names_are_digits() -> None:
    digits = ["1", "2", "3"]
    assert [one((PIXELS, label), digits).labels for label in (1, np.int64(1), "1", "0")] == [(1,), (1,), (0,), (0,)]


def test_a_model_without_names_takes_indices_as_they_are() -> None:
    assert one((PIXELS, [700, 3]), classes=()).labels == (3, 700)
    for label in ("cat", -1):
        with pytest.raises(ValueError, match="item 000000 has the class"):
            one((PIXELS, label), classes=())


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        ("fix", ValueError, "item 000000 has the class 'fix', which the classifier does not know; did you mean 'fox'"),
        ("dog", ValueError, "item 000000 has the class 'dog', but 2 classes of the classifier have this name; give an index: 0, 3"),
        (4, ValueError, "item 000000 has the class 4, but the classifier's classes go from 0 to 3"),
        (-1, ValueError, "item 000000 has the class -1, but the classifier's classes go from 0 to 3"),
        (True, TypeError, "the label of item 000000 must be the index or the name of a class, got True"),
        (1.0, TypeError, "the label of item 000000 must be the index or the name of a class, got 1.0"),
        (b"cat", TypeError, "the label of item 000000 must be the index or the name of a class, got b'cat'"),
    ],
    ids=repr,
)
def test_bad_labels(label: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        one((PIXELS, label))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, r"the image of item 000000 must be a path, bytes, a Pillow image or an array \(H, W, 3\) uint8, got NoneType"),
        (PIXELS / 255, r"got an array of float64 \(5, 7, 3\)"),
        (PIXELS[..., 0], r"got an array of uint8 \(5, 7\)"),
        ({"img": PIXELS, "label": 1}, "item 000000 must have the key 'image', got 'img', 'label'"),
        ((PIXELS, 1, 2), "the image of item 000000 must be .* got tuple"),
    ],
    ids=str,
)
def test_items_of_no_known_form(item: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        one(item)


class Counted:
    """A source of one's own, which remembers the indices that it was asked for."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, list[int]()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return PIXELS + np.uint8(index % 256)


def test_items_are_taken_when_they_are_asked_for() -> None:
    source = Counted(10_000)
    dataset = IndexableDataset(source, CLASSES)
    assert (len(dataset), dataset.names[-1], source.asked) == (10_000, "009999", [])
    np.testing.assert_array_equal(dataset[-2].load(), PIXELS + np.uint8(9_998 % 256))
    assert source.asked == [9_998]


def test_names_and_examples() -> None:
    dataset = IndexableDataset([PIXELS], CLASSES, name="mine")
    assert (dataset.name, dataset.classes, repr(dataset)) == ("mine", tuple(CLASSES), "IndexableDataset('mine', 1 examples, 4 classes)")
    assert IndexableDataset([PIXELS], CLASSES).name == "items"
    example = Example("a.png", PIXELS, (5, 7), (Object(3, box=(0, 0, 2, 2)),))
    assert one(example) is example


def test_names_of_the_source() -> None:
    source: Any = Counted(2)
    for names, expected in ((["é/a.png", "b"], ("é/a.png", "b")), (["a"], ("000000", "000001")), (iter("ab"), ("000000", "000001"))):
        source.names = names
        assert IndexableDataset(source, CLASSES).names == expected


def test_an_empty_source() -> None:
    assert list(IndexableDataset([], CLASSES)) == []


def generated() -> Iterator[np.ndarray]:
    yield PIXELS


@pytest.mark.parametrize("source", [generated(), 3, None, {1, 2}], ids=["generator", "number", "nothing", "set"])
def test_sources_without_a_length_or_an_index(source: Any) -> None:
    kind = type(source).__name__
    with pytest.raises(TypeError, match=rf"source must be .* an object with len\(source\) and source\[index\], got {kind}"):
        IndexableDataset(source, CLASSES)
