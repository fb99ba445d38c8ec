"""Maps of pairs of an image and a class."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

import small
from extremal_jax.attribution import METHODS, rise
from extremal_jax.attribution.method import Method
from extremal_jax.evaluation.suite import torchray
from extremal_jax.evaluation.suite.contenders import contender
from extremal_jax.evaluation.suite.pairs import maps_of_pairs

KEY = jax.random.key(3)
MODEL = functools.partial(small.classify, small.weights())
PAIRS, TARGETS = small.images(2)[[0, 1, 0, 0]], np.array([1, 0, 2, 0], np.int32)


def counted(calls: list[tuple[int, ...]], all_classes: bool) -> Method:
    """RISE that records the shapes of its inputs."""

    def function(model: Any, images: Any, targets: Any, *, num_masks: int = 30) -> Any:
        calls.append(images.shape)
        return rise(model, images, targets, num_masks=num_masks, score="logit")

    return Method("counted", "", function, all_classes=all_classes)


def test_an_image_of_several_classes_is_evaluated_once() -> None:
    calls: list[tuple[int, ...]] = []
    found = maps_of_pairs(counted(calls, True), MODEL, PAIRS, TARGETS, num_masks=30)
    assert calls == [PAIRS.shape[1:]] * 2
    np.testing.assert_allclose(found, rise(MODEL, PAIRS, TARGETS, num_masks=30, score="logit"), rtol=1e-4, atol=1e-5)
    assert np.abs(found[0] - found[2]).max() > 1e-3  # two classes of one image


@pytest.mark.parametrize(("all_classes", "pairs"), [(False, [0, 1, 2, 3]), (True, [0, 1]), (True, [0, 1, 1, 1])])
def test_other_batches_are_explained_at_once(all_classes: bool, pairs: list[int]) -> None:
    """Among them those that are filled up with a pair."""
    calls: list[tuple[int, ...]] = []
    found = maps_of_pairs(counted(calls, all_classes), MODEL, PAIRS[pairs], TARGETS[pairs], num_masks=30)
    assert calls == [PAIRS[pairs].shape]
    np.testing.assert_array_equal(found, rise(MODEL, PAIRS[pairs], TARGETS[pairs], num_masks=30, score="logit"))


@pytest.mark.parametrize("name", ["rise", "rise:torchray"])
def test_contenders_share_evaluations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    monkeypatch.setitem(METHODS, "rise", counted(calls, True))
    monkeypatch.setitem(torchray.SETTINGS, "rise", torchray.SETTINGS["rise"]._replace(options={"num_masks": 30}))
    contender(name).explain(MODEL, PAIRS, TARGETS, (), KEY)
    assert [len(shape) for shape in calls] == [3, 3]  # single images
