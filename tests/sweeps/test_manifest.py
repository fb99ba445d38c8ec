"""The manifest: everything that determines the numbers of a sweep, in and out of JSON."""

from __future__ import annotations

import json
import types
from typing import Any

import numpy as np
import optax
import pytest

import extremal_jax as ej
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.sweeps.manifest import check_format, check_same, class_names, config_of, described, manifest, preprocessing_of

PREPROCESSING = Preprocessing((32, 24), (0.5,) * 3, (0.25, 0.3, 0.2), crop=None, interpolation="bicubic")
MODEL = types.SimpleNamespace(name="network", classes=("dog", "Ünïcode 猫"), preprocessing=PREPROCESSING)


def made(**changes: Any) -> Any:
    given: dict[str, Any] = dict(
        data="photographs",
        names=["a.png 1", "é.png 2"],
        inputs=["aa", None, "cc"],
        targets="labels",
        model=described(MODEL, "0123456789abcdef", own_input=False),
        shape=(32, 24, 3),
        areas=[0.1, 0.2],
        config=ej.Config(num_steps=7, shift=2),
        computed={"model": [1.0, -2.0, None]},
        key=[0, 3],
        masks="uint8",
        batch_size=4,
    )
    return manifest(**given | changes)


OTHERS: dict[str, Any] = dict(
    data="others",
    names=["a.png 1", "é.png 1"],
    inputs=["aa", "bb", "dd"],
    targets=[1, 2],
    model=described(MODEL, "f123456789abcdef", own_input=False),
    shape=(32, 25, 3),
    areas=[0.1, 0.3],
    config=ej.Config(num_steps=8, shift=2),
    computed={"model": [1.0, -2.1, None]},
    key=[0, 4],
    masks="uint16",
)


def test_it_is_json() -> None:
    found = made()
    assert json.loads(json.dumps(found)) == found
    assert (found["format"], found["version"], found["pictures"]) == (1, ej.__version__, 2)


def test_settings_and_preprocessing_come_back() -> None:
    found = json.loads(json.dumps(made()))
    assert config_of(found) == ej.Config(num_steps=7, shift=2)
    assert preprocessing_of(found) == PREPROCESSING
    assert preprocessing_of(made(model=described(lambda images: images, "", own_input=False))) is None


def test_the_same_sweep() -> None:
    check_same(made(), made(), "out")
    check_same(made() | {"jax": "0.1"}, made(batch_size=8), "out")  # these change nothing but by rounding


def test_rounding_in_what_models_compute_is_no_difference() -> None:
    check_same(made(), made(computed={"model": [1.001, -2.001, None]}), "out")
    for other in ({"model": [1.0, -2.0, 0.5]}, {"model": [1.0, -2.0]}, {"reward": [1.0, -2.0, None]}, {}):
        with pytest.raises(ValueError, match="out holds another sweep: computed"):
            check_same(made(), made(computed=other), "out")


def test_another_version_of_the_library() -> None:
    """Its numbers may differ."""
    with pytest.raises(ValueError, match=rf"^out holds another sweep: version was '0\.0\.1' and is '{ej.__version__}'\. Choose"):
        check_same(made() | {"version": "0.0.1"}, made(), "out")


@pytest.mark.parametrize("name", OTHERS)
def test_another_sweep(name: str) -> None:
    """Each setting alone is a difference."""
    with pytest.raises(
        ValueError, match=rf"^out holds another sweep: {name}[^;]* was [^;]*\. Choose another folder, or the same settings$"
    ):
        check_same(made(), made(**{name: OTHERS[name]}), "out")


def test_all_differences_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"config, num_steps was 7 and is 8; key was \[0, 3\] and is \[0, 4\]; masks was 'uint8' and is 'uint16'\."
    ):
        check_same(made(), made(key=[0, 4], masks="uint16", config=OTHERS["config"]), "out")
    with pytest.raises(ValueError, match=r"names was .*; pictures was 2 and is 3"):
        check_same(made(), made(names=["a.png 1", "é.png 2", "c.png 1"]), "out")


@pytest.mark.parametrize("kept", [None, {}, [], {"format": "1"}, {"version": "0.1"}])
def test_other_groups(kept: Any) -> None:
    with pytest.raises(ValueError, match="out is a zarr group, but not of a sweep"):
        check_format(kept, "out")


def test_formats() -> None:
    check_format(made(), "out")
    with pytest.raises(ValueError, match=r"written by extremal-jax 9\.1, in the format 2; this version reads the format 1 and older ones"):
        check_format(made() | {"format": 2, "version": "9.1"}, "out")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, ()),
        ((), ()),
        (["dog", "cat"], ("dog", "cat")),
        (np.array(["dog", "cat"]), ("dog", "cat")),
        ({1: "cat", 0: "dog"}, ("dog", "cat")),
        ({3: "cat"}, ("0", "1", "2", "cat")),
        ({}, ()),
    ],
    ids=repr,
)
def test_class_names(classes: Any, expected: tuple[str, ...]) -> None:
    assert class_names(types.SimpleNamespace(classes=classes)) == expected
    assert described(types.SimpleNamespace(classes=classes), "", own_input=False)["classes"] == (list(expected) or None)


def test_what_is_said_of_a_model() -> None:
    assert described(MODEL, "12", own_input=False) | {"preprocessing": None} == {
        "name": "network",
        "digest": "12",
        "classes": ["dog", "Ünïcode 猫"],
        "preprocessing": None,
    }
    assert described(np.sin, "12", own_input=False) == {"name": "ufunc", "digest": "12", "classes": None, "preprocessing": None}
    assert described(MODEL, "12", own_input=True)["preprocessing"] is None  # masks cannot be laid on the pictures


def test_optimizers_of_one_name_and_other_settings() -> None:
    first, second = (made(config=ej.Config(optimizer=optax.sgd(rate))) for rate in (0.1, 0.2))
    with pytest.raises(ValueError, match="out holds another sweep: updates was"):
        check_same(first, second, "out")


def test_an_input_that_cannot_be_read_now_is_no_difference() -> None:
    check_same(made(), made(inputs=["aa", "bb", None]), "out")
    check_same(made(inputs=["aa", "bb", None]), made(), "out")
