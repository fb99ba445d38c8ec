"""Methods of one's own in a benchmark."""

from __future__ import annotations

import inspect
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
from benchmark_squares import FAST, Squares, classifier, nameless, rows, run
from extremal_jax.boundary.areas import USUAL_AREAS
from extremal_jax.evaluation import Contender, Explanation
from extremal_jax.evaluation.suite.journal import rows_in


def test_a_method_of_your_own_enters_its_own_masks(tmp_path: Any) -> None:
    """As a name does: with settings that a folder keeps, beside methods of the registry."""
    masks = np.zeros((4, 16, 16), np.float32)
    masks[:, 4:8, 4:12] = 1

    def explain(model: Any, images: Any, targets: Any, areas: Any, key: Any, layers: Any) -> Explanation:
        assert areas == USUAL_AREAS
        return Explanation(jnp.ones(images.shape[:3]), jnp.ones(images.shape[:3]), jnp.stack([jnp.asarray(masks)] * len(images)))

    report = run(("reward",), methods=(Contender("mine|1", "first", explain), "center"), folder=tmp_path)
    assert [line.method for line in report.lines] == ["mine|1", "center"]
    assert r"mine\|1" in report.markdown()
    assert json.loads((tmp_path / "settings.json").read_text())["methods"] == {"mine|1": "first", "center": ""}
    row = next(row for row in rows(tmp_path) if row["case"] == "2.png 2 blue" and row["method"] == "mine|1")
    image = classifier().preprocess(Squares()[2].load())
    expected = ej.evaluation.reward_at_areas(classifier(), image, 2, masks, USUAL_AREAS, edge="sharp").mean()
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


UNTYPED: Any = inspect.unwrap(ej.evaluation.benchmark)  # the tests check types at run time, users do not


def maps(model: Any, images: Any, *_: Any) -> Explanation:
    return Explanation(images.mean(axis=-1), images.mean(axis=-1))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(methods=(ej.attribution.gradient,)), TypeError, "methods must be names, or Contenders for methods of your own, got <"),
        (dict(methods=([1],)), TypeError, r"methods must be names, .*, got \[1\]"),
        (dict(methods=Contender("mine", "", maps)), ValueError, "methods must be a sequence of at least one name, got Contender"),
        (
            dict(methods=("center", Contender("center", "", maps))),
            ValueError,
            r"methods must be named once each, got \['center', 'center'\]",
        ),
        (dict(methods=(Contender("gradient", "", maps),)), ValueError, "a Contender is called 'gradient', as a method of the library is"),
        (dict(models=[classifier()]), TypeError, "models must be a mapping from names to classifiers"),
        (
            dict(methods=(Contender("mine", "", maps, frozenset({"at"})),), models={"plain": nameless()}),
            ValueError,
            "mine needs at, a layer of the model, and it has none",
        ),
    ],
)
def test_what_is_refused_before_any_work(tmp_path: Any, given: Any, error: type[Exception], message: str) -> None:
    options = dict(tests=("energy",), dataset=Squares(), models={"colours": classifier()}, methods=FAST, folder=tmp_path / "out") | given
    with pytest.raises(error, match=message):
        UNTYPED(**options)
    assert not (tmp_path / "out").exists()


def unchecked(**given: Any) -> Contender:
    """A contender whose fields nobody has looked at."""
    made = object.__new__(Contender)
    for name, value in (dict(name="mine", settings="", explain=maps, needs=(), all_classes=False) | given).items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(name=""), ValueError, "the name of a Contender must be a text, got ''"),
        (dict(name=3), ValueError, "the name of a Contender must be a text, got 3"),
        (dict(settings={"a": 1}), TypeError, "the settings of the Contender 'mine' must be a text, got {'a': 1}"),
        (dict(explain=None), TypeError, r"explain of the Contender 'mine' must be a function \(model, images, .*, got None"),
    ],
)
def test_a_contender_is_checked_when_it_is_made(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        unchecked(**given).__post_init__()


@pytest.mark.parametrize(("needs", "expected"), [(frozenset(), []), (frozenset({"at"}), ["places"])])
def test_a_method_gets_the_layers_if_it_needs_some(needs: frozenset[str], expected: list[str]) -> None:
    """Whatever stands beside it in the table."""
    seen = []

    def explain(model: Any, images: Any, targets: Any, areas: Any, key: Any, layers: Any) -> Explanation:
        seen.append([layer.name for layer in layers])
        return maps(model, images)

    for others in ([], ["grad_cam"]):
        run(("energy",), methods=(Contender("mine", "", explain, needs), *others), limit=1)
    assert seen == [expected] * 2


def test_areas_and_seeds_may_be_numpys(tmp_path: Any) -> None:
    given: Any = dict(areas=tuple(np.array([0.1, 0.2])), seed=np.int64(1), limit=np.int64(2), shard=(np.int64(1), np.int64(1)))
    UNTYPED(("reward",), Squares(), {"colours": classifier()}, ["center"], folder=tmp_path, **given)
    assert json.loads((tmp_path / "settings.json").read_text())["areas"] == [0.1, 0.2]


@pytest.mark.parametrize(("all_classes", "slow"), [(True, 6), (False, 8)])
def test_the_seconds_of_images_that_share_evaluations(all_classes: bool, slow: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Of a batch of eight cases, the six different images count where a method explains all classes of an image at once."""
    moments = iter(range(0, 10000, 40))
    monkeypatch.setattr("extremal_jax.evaluation.suite.benchmark.time.perf_counter", lambda: float(next(moments)))
    run(("energy",), methods=(Contender("mine", "", maps, all_classes=all_classes),), batch_size=8, dataset=Squares(13), folder=tmp_path)
    assert {row["seconds"] for row in rows_in(tmp_path)} == {None, round(40 / slow, 6)}
