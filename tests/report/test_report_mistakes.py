"""Texts that look like code, and arguments that do not fit together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax.report.encoding import json_text
from plot_results import picture, result, smallest
from report_pages import written

HOSTILE = [
    "<script>alert(1)</script>",
    '"></script><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</title></style>--><!--{{script}}",
    "&lt;b&gt; & \u2028\u2029",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_stay_texts(tmp_path: Path, text: str) -> None:
    """Of classes, files, maps, titles and settings: the page has the elements of a page of harmless texts."""

    def page(name: str, text: str) -> Any:
        def reward(outputs: Any, targets: Any) -> Any:
            return outputs[:, 0]

        reward.__name__ = text
        one = result(2, targets=np.array([0, 0]), config=ej.Config(reward=reward))
        maps = {text: np.ones((2, 4, 4))}
        return written(tmp_path / name, picture(2), one, [text], names=[text, text], maps=maps, title=text)

    plain, hostile = page("a.html", "plain"), page("b.html", text)
    shape = [(tag, sorted(attributes)) for tag, attributes in plain.elements]
    assert [(tag, sorted(attributes)) for tag, attributes in hostile.elements] == shape
    assert [(one["name"], one["target"], one["maps"][1]["name"]) for one in hostile.pictures] == [(text, text, text)] * 2
    assert hostile.texts.count(text) >= 5  # title, heading, cards, settings
    assert {card["data-name"] for card in hostile.all("li", **{"class": "card"})} == {text}


@pytest.mark.parametrize("text", HOSTILE)
def test_json_cannot_leave_its_element(text: str) -> None:
    assert not set("<>&\u2028\u2029") & set(json_text({text: text}))


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"^cannot write .*: Is a directory; choose another output folder$"):
        written(tmp_path)


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^cannot write .*/file/report.html: "):
        written(tmp_path / "file" / "report.html")


@pytest.mark.parametrize(
    ("images", "one", "message"),
    [
        (picture()[:-1], result(), r"images and result must be of the same size, got images of \(23, 36, 3\) and masks of \(3, 24, 36\)"),
        (picture(2), result(3), r"images and result must be of the same size, got images of \(2, 24, 36, 3\) and masks of "),
        (picture(2), result(), r"images must have the shape \(H, W, C\), for masks of the shape \(3, 24, 36\), got \(2, 24, 36, 3\)"),
        (picture(), smallest(), r"images and result must be of the same size, got images of \(24, 36, 3\) and masks of \(2, 24, 36\)"),
        (np.ones(3), result(2), r"images must have the shape \(N, H, W, C\), of 2 images, for masks of the shape "),
    ],
)
def test_images_that_do_not_fit(tmp_path: Path, images: Any, one: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path / "report.html", images, one)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"names": ["a"]}, ValueError, "names must name each picture, got 1 for 2 pictures"),
        ({"names": "ab"}, TypeError, "names must be a sequence with a name for each picture, got str"),
        ({"names": {"a", "b"}}, TypeError, "names must be a sequence with a name for each picture, got set"),
        ({"smallest": smallest(3)}, ValueError, r"smallest must be of the same images as the result, with masks of \(2, 24, 36\)"),
        ({"maps": {"m": np.ones((4, 4))}}, ValueError, r"maps must be of shape \(2, h, w\), one for each image, got 'm' of shape \(4, 4\)"),
        ({"maps": {"m": np.ones((3, 4, 4))}}, ValueError, r"got 'm' of shape \(3, 4, 4\)"),
        ({"classes": ["cat"]}, ValueError, "classes must name every class that is drawn, got 1 names and none of class 1"),
        ({"reference": np.ones((24, 36, 3), np.float32)}, ValueError, "reference must be given if, and only if"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be a whole number, at least 1, got 0"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path: Path, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        written(tmp_path / "report.html", picture(2), result(2), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"one": small.CONFIG}, "result must be an ExtremalResult or a SmallestArea, got Config"),
        ({"smallest": result()}, r"smallest must be a SmallestArea, from ej\.smallest_area, got ExtremalResult"),
        ({"maps": [np.ones((4, 4))]}, "maps must be a mapping from names to arrays"),
        ({"title": 3}, "title must be a text, got 3"),
        ({"model": "resnet"}, r"model must be a function of images \(B, H, W, C\), got str"),
        ({"model": small.MODEL}, "images must hold floats as the model expects them, got uint8"),
    ],
)
def test_arguments_of_other_types(tmp_path: Path, unchecked: None, options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        written(tmp_path / "report.html", **options)


def test_channels_are_drawn_elsewhere(tmp_path: Path, unchecked: None) -> None:
    with pytest.raises(TypeError, match=r"got ChannelResult; ej\.plots\.channels draws the channels of a layer"):
        written(tmp_path / "report.html", small.IMAGES, small.channels())


def test_a_forgotten_perturbation_says_so(tmp_path: Path, unchecked: None) -> None:
    """A result read from a file does not know the caller's own perturbation."""

    @dataclasses.dataclass(frozen=True)
    class Own:
        name = "own"
        description = "a perturbation of the caller's"
        needs_reference = False

        def levels(self, images: Any, reference: Any = None) -> Any:
            return np.stack([0 * images, images], axis=1)

    own: Any = Own()
    one = result(config=ej.Config(perturbation=own))
    assert written(tmp_path / "report.html", one=one).pictures[0]["removal"] == "Perturbed"
    one.save(tmp_path / "result.npz")
    with pytest.raises(ValueError, match="the perturbation of the saved run"):
        written(tmp_path / "report.html", one=ej.ExtremalResult.load(tmp_path / "result.npz"))


def test_reports_are_of_images(tmp_path: Path) -> None:
    masks = np.zeros((3, 6, 8, 10), np.float32)
    clips = result(masks=masks, params=masks, masks_with_margin=None, areas=np.zeros(3, np.float32), config=ej.Config(axes="video"))
    with pytest.raises(ValueError, match="a report is of images, and masks have the axes time, height, width; plots"):
        written(tmp_path / "report.html", np.zeros((6, 8, 10, 3)), clips)
    assert not list(tmp_path.iterdir())
