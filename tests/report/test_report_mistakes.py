"""Texts that look like code, and arguments that do not fit together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
import report_results
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


@pytest.mark.parametrize("names", [["a\udce9.png"], "a\udce9.png"])
def test_names_that_are_not_unicode(tmp_path: Path, names: Any) -> None:
    [found] = written(tmp_path / "report.html", names=names).pictures
    assert found["name"] == "a?.png"


def test_titles_and_classes_that_are_not_unicode(tmp_path: Path) -> None:
    """As names of folders may be."""
    page = written(tmp_path / "report.html", title="pics\udcff", classes=["a\udce9"] * 6)
    assert "pics?" in page.texts
    assert page.pictures[0]["target"] == "a?"


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
        ({"one": small.CONFIG}, r"result must be an ExtremalResult, .* or None for maps alone, got Config"),
        ({"one": {"a": result()}}, r"result must be .*, got a mapping with 'a' of type ExtremalResult"),
        ({"one": report_results.channels(), "inversions": [picture()]}, "inversions must be a mapping from titles to pictures, got list"),
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


@pytest.mark.parametrize(
    ("one", "options", "message"),
    [
        (report_results.channels(), {"smallest": smallest()}, "smallest applies to a result of type ExtremalResult, got it with Chann"),
        (report_results.channels(), {"maps": {"m": np.ones((4, 4))}}, "maps applies to .* or to maps without a result, got it with Chann"),
        (report_results.inversion(), {"reference": picture()}, "reference applies to .*, got it with InversionResult"),
        (result(), {"inversions": {"a": picture()}}, "inversions applies to a result of type ChannelResult, got it with ExtremalResult"),
        (result(), {"targets": 1}, "targets applies to maps without a result, got it with ExtremalResult"),
        ({}, {}, "result must not be empty: a mapping from titles to InversionResults"),
        (
            {"a": report_results.inversion(2), "b": report_results.inversion()},
            {},
            "result must have inversions of the same pictures, got 'a' of 2, 'b' of a single picture",
        ),
        (
            report_results.channels(),
            {"inversions": {"kept": np.ones((2, 8, 8, 3))}},
            r"inversions must be of shape \(h, w, 3\), or \(3, h, w, 3\) with a picture for each count, got 'kept' of shape \(2, 8, 8, 3\)",
        ),
    ],
)
def test_arguments_of_other_results(tmp_path: Path, one: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path / "report.html", one=one, **options)
    assert not list(tmp_path.iterdir())


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without a result, maps must be given"):
        ej.report.write(tmp_path / "report.html", picture())


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


def test_inputs_of_other_axes_that_do_not_fit(tmp_path: Path) -> None:
    clip = report_results.values("video")
    with pytest.raises(ValueError, match=r"images must have the shape \(time, height, width, channel\), for masks of .*, got \(6, 8, 10\)"):
        written(tmp_path / "report.html", clip[..., 0], report_results.result("video"))
    with pytest.raises(ValueError, match=r"images and result must be of the same size, got images of \(5, 8, 10, 3\) and masks of "):
        written(tmp_path / "report.html", clip[1:], report_results.result("video"))
    with pytest.raises(ValueError, match=r"maps must be of shape \(time, height, width\), one for each image, got 'm' of shape \(8, 10\)"):
        written(tmp_path / "report.html", clip, report_results.result("video"), maps={"m": np.ones((8, 10))})
    assert not list(tmp_path.iterdir())
