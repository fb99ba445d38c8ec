"""Generated scenes: equal on every machine, with exact masks."""

from __future__ import annotations

import hashlib
import importlib.resources
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageFilter

from extremal_jax.data import load_image, scenes
from extremal_jax.data.scenes import BACKGROUND, CELL, CLASSES, COLUMNS, generate

DATA = importlib.resources.files("extremal_jax.data")
PACKAGED = json.loads((DATA / "packaged" / "scenes.json").read_text())


def digest(generated: Any) -> Any:
    return hashlib.sha256(generated.images.tobytes() + generated.segmentation.tobytes()).hexdigest()[:16]


def same(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.segmentation, other.segmentation)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ((0, 3), {}, "5463e6ac2e339e55"),
        ((1, 3), {}, "2ef1f8e96e98bbd2"),
        ((0, 3, 64), {}, "7e32f9dc08835ec7"),
        ((0, 2, (96, 160)), {}, "8837a11dd33699ab"),
        ((7, 2, (200, 50)), {"objects": 4}, "8ac7e992ae019cce"),
        ((2024, 1), {"objects": (2, 3), "first": 100}, "0f73ca13bff16dc1"),
    ],
)
def test_pixels_are_pinned(arguments: Any, options: Any, expected: str) -> None:
    assert digest(generate(*arguments, **options)) == expected


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**64), first=st.integers(0, 1000), split=st.integers(1, 3), rest=st.integers(1, 3))
def test_scenes_depend_on_seed_and_index_only(seed: Any, first: Any, split: Any, rest: Any) -> None:
    whole = generate(seed, split + rest, 32, first=first)
    same(whole[:split], generate(seed, split, 32, first=first))
    same(whole[split:], generate(seed, rest, 32, first=first + split))


@pytest.mark.parametrize("size", [48, (48, 48), (40, 72), (72, 40)])
def test_size(size: Any) -> None:
    generated = generate(3, 2, size)
    shape = (size, size) if isinstance(size, int) else size
    assert generated.images.shape == (2, *shape, 3)
    assert generated.segmentation.shape == (2, *shape)


@pytest.mark.parametrize("objects", range(1, 7))
def test_number_of_objects(objects: Any) -> None:
    assert (generate(4, 10, 48, objects=objects).labels.sum(axis=1) == objects).all()


def test_number_of_objects_from_a_range() -> None:
    # The probability that 40 uniform draws miss one of the three numbers is 3e-7; the seed is fixed.
    assert set(generate(4, 40, 32, objects=(2, 4)).labels.sum(axis=1).tolist()) == {2, 3, 4}


@pytest.mark.parametrize(("seed", "first", "size"), [(24, 0, 32), (24, 0, 128), (41, 0, 128)])
def test_a_scene_without_room_for_all_objects_is_drawn_again(seed: int, first: int, size: int) -> None:
    assert generate(seed, 1, size, objects=6, first=first).labels.sum() == 6


def test_masks_labels_and_segmentation_agree() -> None:
    generated = generate(9, 20, 64)
    assert generated.masks.shape == (20, len(CLASSES), 64, 64)
    np.testing.assert_array_equal(generated.masks.any(axis=(2, 3)), generated.labels)
    np.testing.assert_array_equal(generated.masks.sum(axis=1), generated.segmentation != BACKGROUND)
    painted = np.where(generated.masks.any(axis=1), generated.masks.argmax(axis=1), BACKGROUND)
    np.testing.assert_array_equal(painted, generated.segmentation)


def test_objects_are_large_enough_to_be_seen() -> None:
    generated = generate(10, 30, 128, objects=3)
    areas = generated.masks.mean(axis=(2, 3))[generated.labels]
    # The longest side is at least 0.22 of the image's; the thinnest sprite fills 0.23 of its cell; edges and overlap
    # remove at most a tenth.
    assert areas.min() > 0.23 * 0.22**2 * 0.9
    assert areas.max() < 0.5**2


def test_masks_are_where_the_objects_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels that differ from scenes with invisible objects are those of the mask, except for a soft edge."""
    drawn = generate(11, 12, 128, objects=1)
    sprite = scenes.object_pixels
    monkeypatch.setattr(scenes, "object_pixels", lambda *arguments: 0 * sprite(*arguments))
    changed = (drawn.images != generate(11, 12, 128, objects=1).images).any(axis=-1)
    masks = drawn.segmentation != BACKGROUND
    for difference, mask in zip(changed, masks, strict=True):
        within = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(5))) > 0
        assert (difference & mask).sum() >= 0.99 * mask.sum()  # rarely, an object and the background have one colour
        assert (difference & ~within).sum() <= 0.01 * mask.sum()  # thin lines, less than half opaque


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((0, 0), {}, "count must be a whole number, at least 1, got 0"),
        ((-1, 1), {}, "seed must be a whole number, at least 0, got -1"),
        ((0, 1), {"first": -2}, "first must be .* got -2"),
        ((0, 1, 31), {}, r"size must be at least 32 pixels a side, got \(31, 31\)"),
        ((0, 1, (64, 8)), {}, r"got \(64, 8\)"),
        ((0, 1), {"objects": 0}, "objects must be a number from 1 to 6"),
        ((0, 1), {"objects": 7}, "got 7"),
        ((0, 1), {"objects": (3, 2)}, r"two such numbers in ascending order, got \(3, 2\)"),
        ((0, 1), {"objects": (1.5, 2)}, r"objects must be a whole number, or two of them, \(least, most\), got \(1.5, 2\)"),
        ((0, 1), {"objects": True}, "objects must be a whole number, .* got True"),
        ((0, 1, 64.0), {}, r"size must be a whole number, or two of them, \(height, width\), got 64.0"),
        ((0, 1, (64, 64, 3)), {}, r"size must be a whole number, .* got \(64, 64, 3\)"),
        ((0, 1, "64"), {}, "size must be a whole number, .* got '64'"),
    ],
)
def test_bad_arguments(arguments: Any, options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        generate(*arguments, **options)


def test_whole_numbers_of_numpy() -> None:
    expected = generate(0, 1, (40, 64), objects=2).images
    np.testing.assert_array_equal(generate(0, 1, np.array([40, 64]), objects=np.int8(2)).images, expected)
    assert generate(0, 1, np.int64(64)).images.shape == (1, 64, 64, 3)


def test_sequence() -> None:
    generated = generate(12, 4, 32)
    assert len(generated) == 4
    for index, scene in enumerate(generated):
        same(scene, generated[index])
        assert scene.images.shape == (1, 32, 32, 3)
    same(generated[-1], generated[3])
    same(generated[1:3][1], generated[2])
    assert generated[0].classes == CLASSES
    with pytest.raises(IndexError, match="scene 4 is out of range; there are 4"):
        generated[4]
    with pytest.raises(IndexError, match="-5"):
        generated[-5]


def test_classes() -> None:
    assert len(CLASSES) == len(set(CLASSES)) >= 24
    assert {"dog", "wolf", "fox", "car", "bus", "truck", "apple", "tomato", "peach"} <= set(CLASSES)


def test_sprites_are_distinct() -> None:
    with (DATA / "sprites.png").open("rb") as file:
        sheet = np.asarray(Image.open(file).convert("RGBA"), int)
    cells = [sheet[y : y + CELL, x : x + CELL] for y in range(0, len(sheet), CELL) for x in range(0, COLUMNS * CELL, CELL)]
    sprites, rest = cells[: len(CLASSES)], cells[len(CLASSES) :]
    assert len(sprites) == len(CLASSES)
    for sprite in sprites:
        assert 0.1 < (sprite[..., 3] >= 128).mean() < 1
    for one, other in itertools.combinations(sprites, 2):
        assert np.abs(one - other).mean() > 8  # of 255; apple and tomato, the most similar, differ by 24
    assert not any(cell[..., 3].any() for cell in rest)


def test_every_packaged_scene_is_listed() -> None:
    files = {file.name for file in (DATA / "packaged").iterdir() if file.name.endswith(".png")}
    assert files == set(PACKAGED)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_scenes_can_be_regenerated(name: Any) -> None:
    entry = PACKAGED[name]
    [scene] = generate(entry["seed"], 1, objects=entry["objects"], first=entry["index"])
    with importlib.resources.as_file(DATA / "packaged" / name) as path:
        np.testing.assert_array_equal(load_image(path), scene.images[0])
    assert {label for label, present in zip(CLASSES, scene.labels[0], strict=True) if present} == set(entry["labels"])
