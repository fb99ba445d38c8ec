"""Benchmarks: the same rows however a run is interrupted, sharded or batched; and what is refused before any work."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
from benchmark_squares import CLASSES, COLOURS, Network, Squares, classifier, nameless, rows, run
from extremal_jax.boundary.areas import USUAL_AREAS
from extremal_jax.data.examples import Example, Object
from extremal_jax.evaluation.suite import benchmark as module, standard
from extremal_jax.evaluation.suite.contenders import Contender, Explanation
from extremal_jax.evaluation.suite.summaries import tabulate


def test_each_class_of_each_image_is_a_case(tmp_path: Any) -> None:
    report = run(folder=tmp_path)
    found = rows(tmp_path)
    assert len(found) == 2 * 9  # of seven images, two with two classes; the difficult object is no case
    assert {row["case"] for row in found} >= {"0.png 0 red", "3.png 3 yellow", "3.png 0 red"}
    assert "0.png 1 green" not in {row["case"] for row in found}
    assert [(line.method, line.images, line.cases) for line in report.lines] == [("gradient", 7, 9), ("center", 7, 9)]
    assert report.absent == ["grey"]


@pytest.mark.essential
def test_values_are_those_of_the_functions(tmp_path: Any) -> None:
    model, dataset = classifier(), Squares()
    run(("pointing-game", "energy", "insertion", "deletion", "road", "reward"), methods=("gradient",), folder=tmp_path, seed=3)
    row = next(row for row in rows(tmp_path) if row["case"] == "2.png 2 blue")
    image, region = model.preprocess(dataset[2].load())[None], dataset[2].region(2)
    maps = ej.attribution.gradient(model, image, [2])
    placed = model.preprocessing.place(np.asarray(maps), (16, 20))
    key = jax.random.key(3)
    expected = {
        "pointing-game hit": ej.evaluation.is_hit(ej.evaluation.highest_point(placed), region[None]),
        "energy energy": ej.evaluation.energy(placed, region[None]),
        "energy iou": ej.evaluation.iou(placed, region[None]),
        "insertion auc": ej.evaluation.insertion(model, image, [2], maps).auc,
        "deletion auc": ej.evaluation.deletion(model, image, [2], maps).auc,
        "road road": ej.evaluation.road(model, image, [2], maps, shares=(0.1, 0.3, 0.5, 0.7, 0.9), key=key).mean,
        "reward sharp": ej.evaluation.reward_at_areas(model, image, [2], maps, USUAL_AREAS, edge="sharp").mean(axis=-1),
        "reward feathered": ej.evaluation.reward_at_areas(model, image, [2], maps, USUAL_AREAS).mean(axis=-1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(row["values"][name], np.asarray(value, np.float32)[0], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_method_may_point_elsewhere_than_where_its_map_is_highest(monkeypatch: pytest.MonkeyPatch, elsewhere: bool) -> None:
    """The pointing game and the points in grids go by where it points, shares and overlaps by its map."""

    def explain(model: Any, images: Any, targets: Any, *_: Any) -> Explanation:
        colours = np.asarray(list(COLOURS.values()), np.float32)[targets][:, None, None] / 255
        alike = np.exp(-((images - colours) ** 2).sum(axis=-1))
        return Explanation(1 - alike, alike, None, alike if elsewhere else None)

    monkeypatch.setattr(standard, "TOLERANCE", 1.0)
    tests, models = ("pointing-game", "energy", "grid-pointing"), {"colours": classifier(300.0)}
    [row] = run(tests, Squares(13), methods=(Contender("any", "", explain),), models=models, num_grids=2).rows()
    assert row["pointing-game hit"] == row["grid-pointing point"] == elsewhere
    assert row["energy iou"] == 0


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5])
def test_a_run_that_was_killed_goes_on(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    run(folder=tmp_path / "whole")
    explain = module._Run._rows

    def dies(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        if calls == 0:
            raise KeyboardInterrupt
        calls -= 1
        return explain(self, *arguments)

    monkeypatch.setattr(module._Run, "_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path / "killed")
    path = tmp_path / "killed" / "rows-1-of-1.jsonl"
    if path.exists():
        path.write_bytes(path.read_bytes()[:-30])  # its last row was not yet on the disk
    monkeypatch.setattr(module._Run, "_rows", explain)
    run(folder=tmp_path / "killed")
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_a_finished_run_does_nothing_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(folder=tmp_path)
    monkeypatch.setattr(module._Run, "_rows", None)
    assert run(folder=tmp_path).rows() == first.rows()


def test_shards_make_one_table(tmp_path: Any) -> None:
    whole = run(folder=tmp_path / "whole")
    assert run(folder=tmp_path / "parts", shard=(2, 3)).missing_shards == [1, 3]
    run(folder=tmp_path / "parts", shard=(3, 3))
    report = run(folder=tmp_path / "parts", shard=(1, 3))
    assert report.missing_shards == []
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert [line.estimates for line in report.lines] == [line.estimates for line in whole.lines]


def test_batches_change_nothing(tmp_path: Any) -> None:
    run(folder=tmp_path / "four")
    run(folder=tmp_path / "one", batch_size=1)
    for one, four in zip(rows(tmp_path / "one"), rows(tmp_path / "four"), strict=True):
        assert (one["case"], one["method"]) == (four["case"], four["method"])
        assert one["values"] == pytest.approx(four["values"], abs=1e-5)


def test_a_higher_limit_adds_images(tmp_path: Any) -> None:
    assert run(folder=tmp_path, limit=3).lines[0].images == 3
    run(folder=tmp_path)
    run(folder=tmp_path / "whole")
    assert rows(tmp_path) == rows(tmp_path / "whole")


def test_methods_are_added(tmp_path: Any) -> None:
    run(folder=tmp_path, methods=("center",), limit=2)
    run(folder=tmp_path, methods=("gradient",), limit=3)
    report = tabulate(tmp_path)
    assert [(line.method, line.images) for line in report.lines] == [("center", 2), ("gradient", 3)]
    assert tabulate(tmp_path, torchray_average=True).lines[0].estimates["pointing-game hit"].mean == pytest.approx(
        report.lines[0].estimates["pointing-game hit"].mean * 2 / 5
    )
    with pytest.raises(FileNotFoundError, match=r"no benchmark in .*: it has no settings\.json"):
        tabulate(tmp_path / "other")


def test_images_of_any_shape(tmp_path: Any) -> None:
    """Of a network that takes whole images, each shape is a batch of its own."""
    report = run(("energy", "reward"), models={"colours": classifier(crop=None)}, folder=tmp_path, transfer=classifier(15.0))
    assert report.lines[0].cases == 9
    assert report.lines[0].estimates["reward transferred"].number == 9
    grids = run(("grid-pointing",), Squares(13), models={"colours": classifier(300.0, crop=None)}, num_grids=2)
    assert grids.lines[0].cases == 2


def test_images_of_all_shapes_are_explained_at_one_layer() -> None:
    """A larger image has more than one place in later layers too."""

    class Coarse(Network):
        def __call__(self, images: Any) -> Any:
            distances = ((images[..., None, :] - self.colours[...]) ** 2).sum(axis=-1)
            places = checkpoint_name(jnp.exp(-4 * distances), "places")
            coarse = checkpoint_name(nnx.avg_pool(places, (16, 16), (16, 16)), "coarse")
            return self.gain[...] * coarse.mean(axis=(1, 2))

    class Wide(Squares):
        def example(self, index: int) -> Example:
            pixels = np.zeros((16, 64, 3), np.uint8)
            pixels[4:10, 4:10] = COLOURS["green"]
            return Example(self.names[index], pixels, (16, 64), (Object(1, (4, 4, 10, 10)),))

    model = ej.models.Classifier(Coarse(), "coarse", CLASSES, classifier(crop=None).preprocessing, ("places", "coarse"))
    assert model.preprocess(Wide(1)[0].load()).shape[1] >= 32  # so that two coarse places lie side by side
    report = run(("energy",), Wide(1), ("grad_cam",), models={"coarse": model})
    image = model.preprocess(Wide(1)[0].load())[None]
    maps = model.preprocessing.place(np.asarray(ej.attribution.grad_cam(model, image, [1], at="places", resize=True)), (16, 64))
    expected = ej.evaluation.energy(maps, Wide(1)[0].region(1)[None])
    assert report.lines[0].estimates["energy energy"].mean == pytest.approx(float(expected[0]), rel=1e-5)


@pytest.mark.parametrize("tests", [("energy",), ("grid-pointing",)])
def test_an_image_that_cannot_be_read(tmp_path: Any, tests: Any) -> None:
    options: Any = dict(models={"colours": classifier(300.0)}, num_grids=2)
    report = run(tests, Squares(13, corrupt=1), folder=tmp_path, **options)
    assert list(report.skipped) == ["1.png"]
    assert "1.png is not an image" in report.skipped["1.png"]
    assert report.lines[0].images == (12 if tests == ("energy",) else 2)
    assert "1 image skipped" in report.markdown()
    with pytest.raises(ValueError, match=r"1\.png is not an image of a known format; without strict it is skipped"):
        run(tests, Squares(13, corrupt=1), strict=True, **options)


def test_an_image_that_can_be_read_again_is_tested(tmp_path: Any) -> None:
    run(dataset=Squares(corrupt=1), folder=tmp_path / "mended")
    run(dataset=Squares(corrupt=1), folder=tmp_path / "mended")
    assert len([row for row in rows(tmp_path / "mended") if "skipped" in row]) == 1
    report = run(folder=tmp_path / "mended")
    run(folder=tmp_path / "whole")
    assert [row for row in rows(tmp_path / "mended") if "skipped" not in row] == rows(tmp_path / "whole")
    assert report.skipped == {}
    run(folder=tmp_path / "broken", limit=4)
    run(dataset=Squares(corrupt=1), folder=tmp_path / "broken")  # a case that has a row keeps it
    assert [row for row in rows(tmp_path / "broken") if "skipped" not in row] == rows(tmp_path / "whole")


def test_nothing_to_test() -> None:
    with pytest.raises(ValueError, match=r"no image of squares could be tested: 0\.png is not an image"):
        run(dataset=Squares(1, corrupt=0), tests=("insertion",))


def test_difficult_pairs_and_classes_that_no_image_shows(tmp_path: Any) -> None:
    report = run(("pointing-game",), methods=("center",), difficult=frozenset({("3.png", 0), ("1.png", 1)}), folder=tmp_path)
    found = report.lines[0].estimates
    assert found["pointing-game hit, difficult"].number == 2
    lower = run(("pointing-game",), methods=("center",), torchray_average=True).lines[0].estimates["pointing-game hit"]
    assert lower.mean == pytest.approx(found["pointing-game hit"].mean * 4 / 5)
    with pytest.raises(ValueError, match="other settings: difficult was"):
        run(("pointing-game",), methods=("center",), folder=tmp_path)


def test_classes_correspond_by_name(tmp_path: Any) -> None:
    """Also those of the difficult pairs, where the dataset and the model have them in another order."""

    class Reversed(Squares):
        def example(self, index: int) -> Example:
            found = super().example(index)
            objects = [Object(len(CLASSES) - 1 - thing.label, thing.box, difficult=thing.difficult) for thing in found.objects]
            return Example(found.name, found.image, found.size, tuple(objects))

    run(("pointing-game",), folder=tmp_path / "same", difficult=frozenset({("1.png", 1)}))
    run(("pointing-game",), Reversed(classes=CLASSES[::-1]), folder=tmp_path / "reversed", difficult=frozenset({("1.png", 3)}))
    turned = [row | {"class_index": len(CLASSES) - 1 - row["class_index"]} for row in rows(tmp_path / "reversed")]
    assert rows(tmp_path / "same") == sorted(turned, key=json.dumps)


def test_masks_are_transferred_to_where_they_were(tmp_path: Any) -> None:
    """Of a model that crops more, to the model that sees the whole image."""
    other = classifier(crop=0.5)
    (tmp_path / "own").mkdir()
    run(("reward",), methods=("gradient",), folder=tmp_path / "crop", models={"crop": other}, transfer=classifier(), areas=(0.05,))
    cropped = next(row for row in rows(tmp_path / "crop") if row["case"] == "1.png 1 green")
    image = classifier().preprocess(Squares()[1].load())
    saliency = ej.attribution.gradient(other, other.preprocess(Squares()[1].load()), 1)
    laid = classifier().preprocessing.cut(other.preprocessing.place(saliency, (16, 20)))
    expected = ej.evaluation.reward_at_areas(classifier(), image, 1, laid, (0.05,))
    assert cropped["values"]["reward transferred"] == pytest.approx(float(expected[0]), rel=1e-4)


def test_values_that_are_not_finite_are_counted() -> None:
    class Broken(Network):
        def __call__(self, images: Any) -> Any:
            return super().__call__(images) + jnp.where(images[:, 5, 3, :1] > 0.5, jnp.nan, 0)  # if the square is red or yellow

    model = ej.models.Classifier(Broken(), "colours", CLASSES, classifier().preprocessing, ("places",))
    report = run(("insertion",), models={"colours": model}, methods=("center",))
    found = report.lines[0].estimates["insertion auc"]
    assert (found.number + found.lost, report.lines[0].cases) == (9, 9)
    assert found.lost > 2
    assert f"Values of center on colours that are not finite are left out (insertion auc: {found.lost})" in report.markdown()


def test_another_process_is_running(tmp_path: Any) -> None:
    def again(done: int, total: int) -> None:
        run(folder=tmp_path)

    with pytest.raises(BlockingIOError, match="another process is running shard 1 of 1"):
        run(folder=tmp_path, progress=again)


def test_seconds_are_those_after_compilation() -> None:
    assert np.isnan(run(limit=1).lines[0].seconds)
    assert run(batch_size=1).lines[0].seconds > 0


def test_an_image_that_was_skipped_stays_out_of_grids(tmp_path: Any) -> None:
    """Once it can be read, the grids that are left are still those of the first run."""
    given: Any = dict(methods=("gradient",), models={"colours": classifier(300.0)})
    run(("grid-pointing",), Squares(13, corrupt=1), folder=tmp_path / "whole", num_grids=5, **given)
    run(("grid-pointing",), Squares(13, corrupt=1), folder=tmp_path / "mended", num_grids=2, **given)
    run(("grid-pointing",), Squares(13), folder=tmp_path / "mended", num_grids=5, **given)
    assert rows(tmp_path / "mended") == rows(tmp_path / "whole")
    run(("grid-pointing",), Squares(13), folder=tmp_path / "other", num_grids=5, **given)
    assert rows(tmp_path / "other") != rows(tmp_path / "whole")


def test_grids(tmp_path: Any) -> None:
    models = {"colours": classifier(300.0)}
    report = run(("grid-pointing", "energy"), Squares(13), ("gradient",), num_grids=5, folder=tmp_path, models=models)
    grids = [row for row in rows(tmp_path) if row["of"] == "grids"]
    assert [row["image"] for row in sorted(grids, key=lambda row: row["image"])] == list(range(5))
    assert report.lines[0].estimates["grid-pointing share"].mean > 0.4  # black places have a gradient too; chance is a quarter
    assert report.lines[0].estimates["grid-pointing point"].mean == 1
    assert report.lines[0].estimates["energy iou"].number == 17
    with pytest.raises(
        ValueError, match=r"grids need images of 4 classes that the model recognises alone .* 2 are, of 2 classes; raise limit"
    ):
        run(("grid-pointing",), Squares(3), models=models)


def test_transfer_and_sanity(tmp_path: Any) -> None:
    tests = ("reward", "randomization", "sensitivity")
    report = run(tests, methods=("gradient",), transfer=classifier(15.0), folder=tmp_path)
    found = report.lines[0].estimates
    assert found["reward transferred"].mean == pytest.approx(found["reward feathered"].mean / 2, rel=1e-4)
    assert found["randomization rank correlation"].mean < 0.9
    assert found["sensitivity max sensitivity"].mean > 0


def test_presets_are_methods(tmp_path: Any) -> None:
    config: Any = dict(num_steps=2, pitch=4, sigma=4.0, num_levels=2, max_blur=4.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("extremal_jax.evaluation.suite.contenders.PRESETS", {"thorough": lambda: ej.Config.thorough(**config, candidates=1)})
        patch.setattr("extremal_jax.evaluation.suite.contenders.Config", lambda: ej.Config(**config))
        report = run(
            ("reward",), Squares(2), ("extremal_perturbation", "extremal_perturbation:thorough"), areas=(0.1, 0.3), folder=tmp_path
        )
    assert [line.method for line in report.lines] == ["extremal_perturbation", "extremal_perturbation:thorough"]
    assert json.loads((tmp_path / "settings.json").read_text())["areas"] == [0.1, 0.3]


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    run(progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (14, 14)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(tests=("pointing",)), "tests must be one of 'pointing-game', .*did you mean 'pointing-game'"),
        (dict(tests=()), "tests must be a sequence of at least one name"),
        (dict(tests="energy"), "tests must be a sequence of at least one name, got 'energy'"),
        (dict(methods=("gradient", "gradient")), "methods must be named once each"),
        (dict(methods=("grad_cm",)), "unknown method 'grad_cm'; did you mean 'grad_cam'"),
        (dict(methods=("extremal_perturbation:quick",)), "unknown preset 'quick'"),
        (dict(models={}), "models must be a sequence of at least one name"),
        (dict(dataset=Squares(0)), "squares has no images"),
        (dict(dataset=Squares().select([1, 1, 2])), r"must have different names, and 1\.png comes several times"),
        (dict(dataset=Squares(located=False)), "squares does not say where objects are, which pointing-game, energy must know"),
        (
            dict(dataset=Squares(classes=("red", "green", "blue", "gold"))),
            "squares has the class 'gold', which the classifier does not know",
        ),
        (dict(transfer=ej.models.load("scenes")), "transfer must have the classes of the models, and those of scenes and colours differ"),
        (dict(methods=("grad_cam",), models={"plain": nameless()}), "grad_cam needs at, a layer of the model with more than one place"),
        (dict(methods=("grad_cam:torchray",)), "grad_cam:torchray takes layers of VGG-16 or ResNet"),
        (dict(methods=("smooth_grad:torchray",)), "unknown method 'smooth_grad:torchray'"),
        (dict(areas=(0.1, 1.5)), r"areas must be shares of the image in \(0, 1\], got 1\.5"),
        (dict(seed=-1), "seed must be a whole number, at least 0, got -1"),
        (dict(seed=2**40), r"seed must be less than 2\^32"),
        (dict(limit=0), "limit must be a whole number, at least 1, got 0"),
        (dict(num_grids=0), "num_grids must be a whole number"),
        (dict(batch_size=0), "batch_size must be a whole number"),
        (dict(shard=(3, 2)), r"shard must be \(index, count\) with the index from 1 to the count, got \(3, 2\)"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_refused_before_any_work(tmp_path: Any, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**changes, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_weights_and_seeds_are_other_settings(tmp_path: Any) -> None:
    run(folder=tmp_path, limit=1)
    with pytest.raises(ValueError, match="other settings: seed was 0 and is 1"):
        run(folder=tmp_path, limit=1, seed=1)
    with pytest.raises(ValueError, match="other settings: models, colours was"):
        run(folder=tmp_path, limit=1, models={"colours": classifier(29.0)})


def test_one_image() -> None:
    report = run(dataset=Squares(2), limit=1)
    assert np.isnan(report.lines[0].estimates["energy iou"].low)
    assert "nan" not in report.markdown()
    assert json.loads(report.json())["rows"][0]["energy iou low"] is None
