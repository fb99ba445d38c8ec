"""Examples: loading, regions, difficult objects; datasets as sequences and views of them."""

from __future__ import annotations

import inspect
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extremal_jax.data import Dataset, Example, IndexableDataset, Object, SceneDataset
from extremal_jax.data.examples import label_index
from extremal_jax.data.scene_examples import _DEFAULTS, SEED
from extremal_jax.data.scenes import generate

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def example(*objects: Object, image: Any = PIXELS, size: Any = (5, 7)) -> Example:
    return Example("a.png", image, size, objects)


def png(pixels: np.ndarray = PIXELS, orientation: int = 1) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    return file.getvalue()


class Two(Dataset):
    """A dataset of one's own."""

    name, classes, names = "two", ("dog", "cat"), ("a.png", "b.png")

    def example(self, index: int) -> Example:
        return Example(self.names[index], PIXELS, (5, 7), (Object(index),))


def test_load_from_everything(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    for image in (PIXELS, png(), Image.fromarray(PIXELS), tmp_path / "a.png"):
        np.testing.assert_array_equal(example(image=image).load(), PIXELS)


@pytest.mark.parametrize("size", [(5, 7), None])
def test_size_is_optional(size: Any) -> None:
    assert example(size=size).load().shape == (5, 7, 3)


def test_size_that_the_annotation_does_not_state() -> None:
    with pytest.raises(ValueError, match=r"image a\.png is 5x7 pixels large, but its annotation says 7x5"):
        example(size=(7, 5)).load()


@pytest.mark.parametrize("content", [png()[:90], b"no image", b""])
def test_corrupt_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for image in (content, tmp_path / "a.png"):
        with pytest.raises(ValueError, match=r"a\.png"):
            example(image=image).load()


@pytest.mark.parametrize("orientation", [3, 6])
def test_annotated_images_are_as_stored_and_others_upright(tmp_path: Path, orientation: int) -> None:
    upright = {3: PIXELS[::-1, ::-1], 6: np.rot90(PIXELS, -1)}[orientation]
    (tmp_path / "a.png").write_bytes(png(orientation=orientation))
    for image in (png(orientation=orientation), tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        np.testing.assert_array_equal(example(image=image).load(), PIXELS)
        np.testing.assert_array_equal(example(image=image, size=None).load(), upright)


@pytest.mark.parametrize("orientation", [1, 6])
def test_shape_is_that_of_the_loaded_image(tmp_path: Path, orientation: int) -> None:
    (tmp_path / "a.png").write_bytes(png(orientation=orientation))
    for image in (PIXELS, png(orientation=orientation), tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        for size in ((5, 7), None):
            shown = example(image=image, size=size)
            assert shown.shape() == shown.load().shape[:2]


def test_shape_reads_the_header_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png()[:90])
    for image in (png()[:90], tmp_path / "a.png"):
        assert example(image=image, size=None).shape() == (5, 7)
        assert example(image=b"", size=(5, 7)).shape() == (5, 7)  # an annotation says it
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        example(image=tmp_path / "b.png", size=None).shape()
    with pytest.raises(ValueError, match="not an image"):
        example(image=b"no image", size=None).shape()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        example(image=tmp_path / "a.png").load()


def test_labels_are_distinct_and_ascending() -> None:
    assert example(Object(4), Object(1), Object(4)).labels == (1, 4)
    assert example().labels == ()


def test_region_is_the_union_of_masks_and_of_boxes_where_there_are_none() -> None:
    mask = np.zeros((5, 7), bool)
    mask[4, 6] = True
    shown = example(Object(2, (0, 1, 2, 3), difficult=True), Object(2, (0, 0, 5, 7), mask), Object(3, (0, 0, 5, 7)))
    expected = mask.copy()
    expected[0:2, 1:3] = True
    np.testing.assert_array_equal(shown.region(2), expected)
    assert shown.region(3).all()


def test_region_ends_at_the_border() -> None:
    assert example(Object(0, (-2, -1, 1, 99))).region(0).sum() == 7
    assert example(Object(0, (-2, -2, -1, -1))).region(0).sum() == 0


@pytest.mark.parametrize(("objects", "size"), [((Object(0),), (5, 7)), ((Object(0, (0, 0, 1, 1)),), None), ((), (5, 7))])
def test_has_no_regions(objects: Any, size: Any) -> None:
    assert not example(*objects, size=size).has_regions


def test_has_regions() -> None:
    assert example(Object(0, (0, 0, 1, 1)), Object(1, mask=np.ones((5, 7), bool))).has_regions


def test_regions_that_are_not_known() -> None:
    with pytest.raises(ValueError, match=r"a\.png comes without boxes and masks of class 0"):
        example(Object(0), Object(0, (0, 0, 1, 1))).region(0)
    with pytest.raises(ValueError, match=r"a\.png comes without"):
        example(Object(0, (0, 0, 1, 1)), size=None).region(0)
    with pytest.raises(ValueError, match=r"a\.png shows no object of class 1, only of 0, 3"):
        example(Object(0), Object(3)).region(1)


def test_all_difficult() -> None:
    shown = example(Object(0, difficult=True), Object(0), Object(1, difficult=True), Object(1, difficult=True))
    assert (shown.all_difficult(0), shown.all_difficult(1)) == (False, True)
    with pytest.raises(ValueError, match="shows no object of class 2"):
        shown.all_difficult(2)


def test_sequence() -> None:
    dataset = Two()
    assert len(dataset) == 2
    assert [one.name for one in dataset] == ["a.png", "b.png"]
    assert dataset[-1].name == dataset[np.int64(1)].name == "b.png"
    assert repr(dataset) == "Two('two', 2 examples, 2 classes)"
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"example {index} is out of range; two has 2"):
            dataset[index]


def test_select() -> None:
    chosen = Two().select([1, 0, 1])
    assert chosen.names == ("b.png", "a.png", "b.png")
    assert [one.labels for one in chosen] == [(1,), (0,), (1,)]
    assert [one.name for one in chosen.select(range(2)).select([1])] == ["a.png"]


def test_first_examples_keep_the_name_and_others_change_it() -> None:
    dataset, chosen = SceneDataset(6, size=32), [[1], [1, 0], [0, 2], [2, 0], [0, 0], range(1, 6), range(0, 6, 2)]
    for count in range(7):
        assert dataset.select(range(count)).name == dataset.name
    names = [dataset.select(indices).name for indices in chosen]
    assert all(re.fullmatch(f"{dataset.name} select=[0-9a-f]{{12}}", name) for name in names)
    assert len(set(names)) == len(chosen)
    assert names == [SceneDataset(9, size=32).select(iter(indices)).name for indices in chosen]


def test_name_of_a_choice_from_a_choice() -> None:
    dataset = SceneDataset(6, size=32)
    third = dataset.select([1, 3, 5])
    assert third.select(range(2)).name == third.name
    assert third.select([1, 2]).name == dataset.select([3, 5]).name != third.name
    assert dataset.select([1, 0]).select([1, 0]).name == dataset.name
    classes = dataset.classes[::-1]
    assert third.with_classes(classes).name == dataset.with_classes(classes).select([1, 3, 5]).name == third.name


def test_with_classes() -> None:
    dataset = Two()
    assert dataset.with_classes(["dog", "cat"]) is dataset
    other = dataset.with_classes(["cat", "bird", "dog"])
    assert (other.classes, other.name) == (("cat", "bird", "dog"), "two")
    assert [one.labels for one in other.select([0, 1])] == [(2,), (0,)]
    assert [one.labels for one in other.with_classes(["bird", "cat", "dog"])] == [(2,), (1,)]


def test_with_classes_that_lack_one() -> None:
    with pytest.raises(ValueError, match="two has the class 'cat', which the classifier does not know; did you mean 'cart'"):
        Two().with_classes(["dog", "cart"])
    with pytest.raises(ValueError, match="2 classes of the classifier have this name; rename all but one of them: 1, 2"):
        Two().with_classes(["dog", "cat", "cat"])


def test_with_classes_of_a_dataset_without_names() -> None:
    """Its labels are the classifier's indices."""
    source = [(PIXELS, 1), (PIXELS, [0, 2])]
    dataset = IndexableDataset(source, ())
    view = dataset.with_classes(["a", "b", "c"])
    assert (view.classes, [one.labels for one in view.select([1, 0])]) == (("a", "b", "c"), [(0, 2), (1,)])
    assert [one.labels for one in view.with_classes(["b", "c", "a"])] == [(0,), (1, 2)]
    with pytest.raises(ValueError, match="000001 has the class 2, but the classifier's classes go from 0 to 1"):
        dataset.with_classes(["a", "b"])[1]


def test_with_classes_whose_names_are_numbers() -> None:
    """A name of the dataset's is never an index of the classifier's classes."""
    dataset = Two()
    dataset.classes = ("dog", "1")
    with pytest.raises(ValueError, match="two has the class '1', which the classifier does not know"):
        dataset.with_classes(["cat", "bird", "dog"])
    assert [one.labels for one in dataset.with_classes(["1", "bird", "dog"])] == [(2,), (0,)]


@pytest.mark.parametrize(("label", "expected"), [("cat", 1), ("0", 0), ("001", 1), ("1", 2)])
def test_label_index(label: str, expected: int) -> None:
    """A name comes before an index."""
    assert label_index(label, ["dog", "cat", "1"], "x has the class") == expected


def test_label_index_out_of_range() -> None:
    with pytest.raises(ValueError, match="x has the class 2, but the classifier's classes go from 0 to 1"):
        label_index("2", ["dog", "cat"], "x has the class")


def test_scenes_by_index() -> None:
    whole, later = SceneDataset(3, size=(32, 40), objects=2), SceneDataset(1, size=(32, 40), objects=2, first=2)
    assert len(whole) == 3
    assert whole.names == ("scene-4000-000000.png", "scene-4000-000001.png", "scene-4000-000002.png")
    np.testing.assert_array_equal(whole[2].load(), later[0].load())
    assert whole[2].name == later[0].name
    assert whole[0].size == (32, 40)
    assert [len(one.labels) for one in whole] == [2, 2, 2]
    assert SceneDataset(2, seed=5, size=32)[1].load().tolist() != SceneDataset(2, seed=6, size=32)[1].load().tolist()


def test_scenes_have_exact_masks() -> None:
    dataset, scenes = SceneDataset(4, seed=8, size=48), generate(8, 4, 48)
    for index, one in enumerate(dataset):
        assert one.has_regions
        assert one.labels == tuple(np.flatnonzero(scenes.labels[index]))
        np.testing.assert_array_equal(one.load(), scenes.images[index])
        for thing in one.objects:
            np.testing.assert_array_equal(one.region(thing.label), scenes.masks[index, thing.label])
            boxed = Example("", b"", one.size, (Object(0, thing.box),)).region(0)
            assert (boxed >= scenes.masks[index, thing.label]).all()
            edges = boxed[boxed.any(1)][:, boxed.any(0)] & scenes.masks[index, thing.label][boxed.any(1)][:, boxed.any(0)]
            assert edges[0].any()
            assert edges[-1].any()
            assert edges[:, 0].any()
            assert edges[:, -1].any()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "scenes:4000"),
        ({"seed": 7, "objects": (1, 3), "size": (128, 128), "first": 0}, "scenes:7"),
        ({"objects": 1, "size": 64, "first": 5}, "scenes:4000 objects=(1, 1) size=64 first=5"),
        ({"objects": (1, 2)}, "scenes:4000 objects=(1, 2)"),
        ({"size": (32, 40)}, "scenes:4000 size=(32, 40)"),
        ({"first": 1}, "scenes:4000 first=1"),
        ({"size": np.int64(64), "objects": np.int32(1)}, "scenes:4000 objects=(1, 1) size=64"),
        ({"size": np.array([32, 40])}, "scenes:4000 size=(32, 40)"),
    ],
)
def test_name_of_scenes(options: Any, name: str) -> None:
    assert SceneDataset(1, **options).name == SceneDataset(2, **options).name == name


def test_name_of_scenes_of_the_default_options() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(SceneDataset).parameters.items()}
    assert {name: defaults[name] for name in _DEFAULTS} == _DEFAULTS


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [(0, {}, "count"), (1, {"seed": -1}, "seed"), (1, {"size": 8}, "size"), (1, {"objects": 9}, "objects"), (1, {"first": -1}, "first")],
)
def test_scenes_that_cannot_be(count: int, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneDataset(count, **options)


def test_default_seed_is_fresh() -> None:
    """Scenes that the packaged classifier was not trained on, nor any setting chosen."""
    used = {0, 1, 2024, 2025, *range(1001, 1007)}
    assert SEED not in used


def test_threads_may_share_an_image_of_pillow(tmp_path: Path) -> None:
    """Which is decoded when it is first needed."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for _ in range(4):
        with Image.open(tmp_path / "a.png") as image, ThreadPoolExecutor(4) as pool:
            example = Example("a.png", image, None, ())
            for found in pool.map(lambda _: example.load(), range(8)):  # noqa: B023
                np.testing.assert_array_equal(found, pixels)
