"""Methods of one's own in a benchmark."""

from __future__ import annotations

import inspect
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
from benchmark_squares import Squares, classifier, rows, run
from extremal_jax.evaluation import Contender, Explanation
from extremal_jax.evaluation.suite.benchmark import AREAS
from extremal_jax.evaluation.suite.contenders import contender


def test_a_method_of_your_own_enters_its_own_masks(tmp_path: Any) -> None:
    """As a name does: with settings that a folder keeps, beside methods of the registry."""
    masks = np.zeros((4, 16, 16), np.float32)
    masks[:, 4:8, 4:12] = 1

    def explain(model: Any, images: Any, targets: Any, areas: Any, key: Any, layers: Any) -> Explanation:
        assert areas == AREAS
        return Explanation(jnp.ones(images.shape[:3]), jnp.ones(images.shape[:3]), jnp.stack([jnp.asarray(masks)] * len(images)))

    report = run(("reward",), methods=(Contender("mine|1", "first", explain), "center"), folder=tmp_path)
    assert [line.method for line in report.lines] == ["mine|1", "center"]
    assert r"mine\|1" in report.markdown()
    assert json.loads((tmp_path / "settings.json").read_text())["methods"] == {"mine|1": "first", "center": ""}
    row = next(row for row in rows(tmp_path) if row["case"] == "2.png 2 blue" and row["method"] == "mine|1")
    image = classifier().preprocess(Squares()[2].load())
    expected = ej.evaluation.reward_at_areas(classifier(), image, 2, masks, AREAS, edge="sharp").mean()
    assert row["values"]["reward sharp"] == pytest.approx(float(expected), abs=1e-5)
    with pytest.raises(ValueError, match=r"other settings: methods, mine\|1 was 'first' and is 'second'"):
        run(("reward",), methods=(Contender("mine|1", "second", explain),), folder=tmp_path)


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (lambda maps: maps, TypeError, r"mine must return an Explanation, such as Explanation\(maps, maps\), got ndarray"),
        (lambda maps: Explanation(maps[:, 1:], maps), ValueError, r"mine must return maps of the shape \(4, 16, 16\), got \(4, 15, 16\)"),
        (lambda maps: Explanation(maps, maps[0]), ValueError, "mine must return order of the shape"),
        (lambda maps: Explanation(maps, maps, maps), ValueError, r"mine must return masks of the shape \(4, 4, 16, 16\)"),
        (lambda maps: Explanation(maps, maps, None, maps[..., 0]), ValueError, "mine must return pointing of the shape"),
    ],
)
def test_explanations_of_another_shape_are_refused(made: Any, error: type[Exception], message: str) -> None:
    mine = Contender("mine", "", lambda model, images, *_: made(np.ones(images.shape[:3], np.float32)))
    with pytest.raises(error, match=message):
        run(("energy",), methods=(mine,))


def test_a_method_is_a_name_or_a_contender() -> None:
    without_types = inspect.unwrap(ej.evaluation.benchmark)  # which the tests check at run time, and users do not
    with pytest.raises(TypeError, match="methods must be names, or Contenders for methods of your own, got <"):
        without_types(("energy",), Squares(), {"colours": classifier()}, (ej.attribution.gradient,))
    with pytest.raises(ValueError, match="methods must be named once each, got \\['gradient', 'gradient'\\]"):
        run(methods=("gradient", Contender("gradient", "", contender("gradient").explain)))
