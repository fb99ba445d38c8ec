"""A benchmark: standard tests of methods and models on a dataset, image by image, resumable."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from extremal_jax.boundary.areas import USUAL_AREAS, check_areas
from extremal_jax.boundary.fingerprints import fingerprint
from extremal_jax.boundary.models import Model
from extremal_jax.data.examples import Dataset
from extremal_jax.evaluation.suite.cases import Batch, Skipped, batches, grid_batches, recognise
from extremal_jax.evaluation.suite.cell_models import CellModels, cell_models
from extremal_jax.evaluation.suite.contenders import Contender, check_explanation, check_layers, contenders_of
from extremal_jax.evaluation.suite.journal import Journal, Row
from extremal_jax.evaluation.suite.pairs import shared_images
from extremal_jax.evaluation.suite.standard import TESTS, Test, Trial
from extremal_jax.evaluation.suite.summaries import Report, tabulate
from extremal_jax.graph import Activation, activations
from extremal_jax.ground.checks import check_choice, check_count, check_shard
from extremal_jax.ground.progress import Counter
from extremal_jax.models.classifier import Classifier

Source = Iterable[Batch | Skipped]
_KINDS = ("grids", "difull", "dipart", "images")  # of `Test.of`; grids first, since their images may be too few


def benchmark(
    tests: Sequence[str],
    dataset: Dataset,
    models: Mapping[str, Classifier],
    methods: Sequence[str | Contender],
    *,
    folder: str | os.PathLike[str] | None = None,
    transfer: Classifier | None = None,
    limit: int | None = None,
    num_grids: int = 100,
    areas: tuple[float, ...] = USUAL_AREAS,
    difficult: frozenset[tuple[str, int]] = frozenset(),
    seed: int = 0,
    batch_size: int = 16,
    shard: tuple[int, int] = (1, 1),
    strict: bool = False,
    torchray_average: bool = False,
    progress: Counter | None = None,
) -> Report:
    """Run standard tests, and keep a row for each image, model and method as it comes.

    Each class of an image is a case of its own. A run that was killed goes on where it stopped when it is started again
    with the same settings and folder: no case is lost or done twice. A higher `limit` or `num_grids` adds to what is
    there; grids are made of the images within the limit, so with a test on grids `limit` cannot change. Other methods and
    models are added as well. `tabulate` makes the table of what is there.

    Args:
      tests: the names of tests, keys of `TESTS`.
      dataset: the images with their classes; see `data.open_dataset`.
      models: classifiers by name, which know the dataset's classes.
      methods: names of contenders: methods of the registry; presets of extremal perturbation such as
        "extremal_perturbation:thorough"; methods with the settings of TorchRay's table, such as "gradient:torchray"; and
        "center". A layer that a method needs is the last one with more than one place, or the one of TorchRay's table. A
        method of your own is a `Contender`.
      folder: where rows are kept; None: nowhere.
      transfer: another classifier of the same classes, to which masks are transferred, by the test "reward".
      limit: how many images of the dataset are tested, from the first; None: all.
      num_grids: how many grids of images the tests on grids make.
      areas: the areas of masks, as shares of the image.
      difficult: the pairs of an image's name and the dataset's index of a class that the pointing game reports on their
        own as well; see `data.difficult_pairs`.
      seed: seeds everything that is drawn.
      batch_size: how many cases are explained at a time. It changes no number but by rounding.
      shard: (index, count), the index from 1: every count-th image. The shards of one folder make one table.
      strict: stop at an image that cannot be read, instead of skipping and counting it.
      torchray_average: in means over classes, count classes that no image shows as zero, as TorchRay does.
      progress: a function that is called with the numbers of finished and of all explained images, as they are done.

    Returns:
      The table of all rows in the folder.

    Raises:
      TypeError: for models that are no mapping, or a method that is neither a name nor a `Contender`; and for what a
        method of your own returns, if it is no `Explanation`.
      ValueError: before any test, for names that are not known or come twice, a dataset without images or without
        regions where a test needs them, classes that a model does not know, a method that needs a layer of a model that
        has none, or a folder of other settings; before the tests of a model, for too few images for grids; if no image
        shows a class to test; and for an explanation of another shape than that of the images.
      OSError: if the folder cannot be written, or another process is running the same shard there.

    Example:
      >>> import extremal_jax as ej
      >>> scenes = ej.data.SceneDataset(2, objects=1)
      >>> model = ej.models.load("scenes")
      >>> report = benchmark(["pointing-game"], scenes, {"scenes": model}, ["center"])
      >>> report.rows()[0]["method"]
      'center'
    """
    chosen = _check(tests, dataset, models, methods, transfer, limit, num_grids, batch_size, seed, shard)
    contenders = contenders_of(methods)
    check_areas(areas, None)
    areas, seed, shard = tuple(np.atleast_1d(np.asarray(areas, np.float64)).tolist()), int(seed), (int(shard[0]), int(shard[1]))
    datasets = {name: dataset.with_classes(model.classes) for name, model in models.items()}
    layers = {name: _layers(model, contenders) for name, model in models.items()}
    cells = {name: _cells(model, chosen, contenders) for name, model in models.items()}
    count = len(dataset) if limit is None else min(int(limit), len(dataset))
    settings = dict(
        **_tested(chosen, dataset, models, contenders, transfer),
        grids_of=count if any(test.of != "images" for test in chosen) else None,
        areas=list(areas),
        difficult=hashlib.sha256(json.dumps(sorted(difficult)).encode()).hexdigest()[:16] if difficult else None,
        seed=seed,
        shards=shard[1],
    )
    images, numbers = range(shard[0] - 1, count, shard[1]), range(shard[0] - 1, num_grids, shard[1])
    kinds = {kind: [test for test in chosen if test.of == kind] for kind in _KINDS if any(test.of == kind for test in chosen)}
    total = sum(len(images if kind == "images" else numbers) for kind in kinds) * len(models) * len(contenders)
    done = 0.0
    with (
        tempfile.TemporaryDirectory() as temporary,
        Journal(Path(temporary) / "rows" if folder is None else folder, settings, shard) as journal,
    ):
        for name, model in models.items():
            labels = _labels(dataset, model)
            shared = layers[name], cells[name], contenders, transfer, areas, jax.random.key(seed), strict, journal
            run = _Run(name, model, {label: index for index, label in enumerate(labels)}, *shared)
            skipped = {row["skipped"] for row in journal.rows() if row.get("model") == name and row["of"] != "images" and "skipped" in row}
            sources = _grid_sources(kinds, datasets[name], count, model, numbers, batch_size, seed, skipped)
            if "images" in kinds:
                pairs = frozenset((file, labels[label]) for file, label in difficult)
                sources["images"] = _image_batches(kinds["images"], datasets[name], images, model, transfer, pairs, batch_size)
            for kind, some in kinds.items():
                for finished in run.evaluate(kind, some, sources[kind]):
                    done += finished
                    if progress is not None:
                        progress(round(done), total)
        journal.finish()
        if progress is not None:
            progress(total, total)  # images without a class to test are finished as well
        report = tabulate(journal.folder, torchray_average=torchray_average)
    if not report.lines and shard[1] == 1:
        reason = next(iter(report.skipped.values()), "none shows a class that is not difficult")
        raise ValueError(f"no image of {dataset.name} could be tested: {reason}")
    return report


def _tested(
    tests: list[Test], dataset: Dataset, models: Mapping[str, Classifier], contenders: list[Contender], transfer: Classifier | None
) -> dict[str, Any]:
    """The settings that identify the tests, data, models and methods, by names, digests and versions."""
    return dict(
        tests=[test.name for test in tests],
        data=dataset.name,
        classes=list(dataset.classes or next(iter(models.values())).classes),
        models={name: _digest(model) for name, model in models.items()},
        methods={one.name: one.settings for one in contenders},
        transfer=None if transfer is None else f"{transfer.name} {_digest(transfer)}",
        version=importlib.metadata.version("extremal-jax"),
        environments={f"JAX {jax.__version__}, Python {platform.python_version()}": ""},
    )


def _grid_sources(
    kinds: Iterable[str],
    dataset: Dataset,
    count: int,
    model: Classifier,
    numbers: Iterable[int],
    batch_size: int,
    seed: int,
    skipped: Collection[str],
) -> dict[str, Source]:
    """The batches of each kind of grids of a dataset's first images, for which the model must recognise them. Images that
    grids skipped before stay out, though they can be read by now, so that the grids stay as they are."""
    kinds = [kind for kind in kinds if kind != "images"]
    if not kinds:
        return {}
    readable = (index for index in range(count) if dataset.names[index] not in skipped)
    known = recognise(dataset, readable, model, batch_size)
    return {kind: grid_batches(known, numbers, batch_size, seed, corners=kind != "grids") for kind in kinds}


def _image_batches(
    tests: list[Test],
    dataset: Dataset,
    images: Iterable[int],
    model: Classifier,
    transfer: Classifier | None,
    difficult: frozenset[tuple[str, int]],
    batch_size: int,
) -> Iterator[Batch | Skipped]:
    """The batches of a dataset's images, for a model and the one that masks are transferred to."""
    networks = [model] if transfer is None else [model, transfer]
    size = 1 if any(one.preprocessing.crop is None for one in networks) else batch_size  # images of any shape, one by one
    prepare, with_regions = [one.preprocess for one in networks], any(test.needs_regions for test in tests)
    return batches(dataset, images, prepare, size, with_regions=with_regions, difficult=difficult)


def _labels(dataset: Dataset, model: Classifier) -> Sequence[int]:
    """The model's index of each of the dataset's classes."""
    if not dataset.classes or tuple(dataset.classes) == tuple(model.classes):  # two of which may have one name
        return range(len(model.classes))
    return [model.classes.index(name) for name in dataset.classes]


@dataclasses.dataclass(frozen=True)
class _Run:
    """The evaluation of one model."""

    name: str
    model: Classifier
    classes: Mapping[int, int]  # the dataset's index of each class of the model
    layers: tuple[Activation, ...]  # of an image of the model's input size, so that images of all shapes are explained at the same
    cells: CellModels | None
    contenders: list[Contender]
    transfer: Classifier | None
    areas: tuple[float, ...]
    key: jax.Array
    strict: bool
    journal: Journal
    warm: set[Any] = dataclasses.field(default_factory=set)  # the programs that are compiled

    def evaluate(self, kind: str, tests: list[Test], source: Source) -> Iterator[float]:
        """Evaluate the cases of a kind that have no rows yet, and append their rows. Yields how many images, times
        contenders, are finished."""
        own = [row for row in self.journal.own_rows() if (row.get("model"), row["of"]) == (self.name, kind)]
        kept = {(row["method"], row["case"]) for row in own if "case" in row}
        skipped = {row["skipped"] for row in own if "skipped" in row}
        for batch in source:
            if isinstance(batch, Skipped):
                if self.strict:
                    raise ValueError(f"{batch.reason}; without strict it is skipped and counted")
                if batch.name not in skipped:
                    self.journal.append([{"skipped": batch.name, "reason": batch.reason, "model": self.name, "of": kind}])
                    skipped.add(batch.name)
                yield len(self.contenders) * (kind == "images")
                continue
            for one in self.contenders:
                left = [index for index, case in enumerate(batch.cases) if (one.name, case.name) not in kept]
                if left:
                    rows = self._rows(kind, tests, one, batch)
                    self.journal.append([{"of": kind} | rows[index] for index in left])
                yield sum(case.share for case in batch.cases)

    def _explained(self, one: Contender, batch: Batch, kind: str) -> tuple[Model, tuple[Activation, ...]]:
        """The model that a contender explains, and its layers, for a method that needs some."""
        if self.cells is not None and batch.cell is not None:
            model, layers = self.cells.connected(kind, batch.cell, one.needs)
            return model, layers if one.needs else ()
        return self.model, self.layers if one.needs else ()

    def _rows(self, kind: str, tests: list[Test], one: Contender, batch: Batch) -> list[Row]:
        """A contender's rows of a batch."""
        model, layers = self._explained(one, batch, kind)
        start = time.perf_counter()
        explanation = jax.block_until_ready(one.explain(model, batch.images, batch.targets, self.areas, self.key, layers))
        shared = len(shared_images(batch.images, batch.targets)) if one.all_classes else 0
        seconds = (time.perf_counter() - start) / (shared or len(batch.images))
        check_explanation(one.name, explanation, batch.images.shape[:-1], len(self.areas))
        program = one.name, batch.images.shape, shared > 0
        timed = model is self.model and program in self.warm  # else it compiles
        if model is self.model:
            self.warm.add(program)
        transfer = None if self.transfer is None or not batch.others else (self.transfer, batch.others[0])
        known = batch.regions, batch.sizes, transfer, self.areas, self.key, layers
        trial = Trial(self.model, batch.images, batch.targets, explanation, one, *known)
        scores = {f"{test.name} {measure}": values for test in tests for measure, values in test.score(trial).items()}
        return [
            dict(
                model=self.name,
                method=one.name,
                case=case.name,
                name=case.file,
                image=case.image,
                label=self.model.classes[case.label],
                class_index=self.classes[case.label],
                difficult=case.difficult,
                seconds=round(seconds, 6) if timed else None,
                values={name: _json(values[index]) for name, values in scores.items()},
            )
            for index, case in enumerate(batch.cases)
        ]


def _layers(model: Classifier, contenders: list[Contender]) -> tuple[Activation, ...]:
    """The layers of an image of the model's input size, where methods need them. Raises a ValueError if one is missing."""
    needing = [one for one in contenders if one.needs]
    layers = activations(model, jax.ShapeDtypeStruct((1, *model.input_size, 3), np.float32)) if needing else ()
    for one in needing:
        check_layers(one, layers)
    return tuple(layers)


def _cells(model: Classifier, tests: list[Test], contenders: list[Contender]) -> CellModels | None:
    """The models of single cells, where tests need them. Raises a ValueError if a layer is missing that a method or a
    test needs."""
    kinds = {test.of for test in tests} & {"difull", "dipart"}
    cells = cell_models(model) if kinds else None
    if cells is not None and "dipart" in kinds and not cells.dipart:
        raise ValueError(
            f"dipart needs a layer of {model.name} that everything passes through, with twice the sides for a grid of 2x2 cells; none has"
            f" (ej.graph.cuts lists such layers). difull and grid-pointing need none"
        )
    if cells is not None:
        for one in contenders:
            if one.needs:
                check_layers(one, cells.difull if "difull" in kinds else cells.dipart)
    return cells


def _digest(model: Classifier) -> str:
    """A name for the weights, the preprocessing and the classes of a model, so that a folder is not resumed with others."""
    return fingerprint(jax.tree.leaves(model), repr((model.preprocessing, model.classes)))


def _json(value: Any) -> float | None:
    """A number as JSON has it: None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def _check(
    tests: Any,
    dataset: Dataset,
    models: Any,
    methods: Any,
    transfer: Classifier | None,
    limit: Any,
    num_grids: Any,
    batch_size: Any,
    seed: Any,
    shard: Any,
) -> list[Test]:
    """The tests by their names, once all arguments are checked."""
    if not isinstance(models, Mapping):
        raise TypeError(f"models must be a mapping from names to classifiers, such as {{'scenes': model}}, got {models!r}")
    for name, values in (("tests", tests), ("methods", methods), ("models", models)):
        if isinstance(values, str | Contender) or not len(values):
            raise ValueError(f"{name} must be a sequence of at least one name, got {values!r}")
        for one in values:
            if not isinstance(one, str | Contender):
                raise TypeError(f"{name} must be names{', or Contenders for methods of your own' * (name == 'methods')}, got {one!r}")
        named = [one.name if isinstance(one, Contender) else one for one in values]
        if len(set(named)) < len(named):
            raise ValueError(f"{name} must be named once each, got {named}")
    for test in tests:
        check_choice("tests", test, TESTS)
    counts = ("num_grids", num_grids, 1), ("batch_size", batch_size, 1), ("limit", 1 if limit is None else limit, 1), ("seed", seed, 0)
    for name, value, least in counts:
        check_count(name, value, least)
    if seed >= 2**32:
        raise ValueError(f"seed must be less than 2^32, since JAX's keys have no more bits, got {seed}")
    check_shard(shard)
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name} has no images")
    if len(set(dataset.names)) < len(dataset):
        twice, _ = collections.Counter(dataset.names).most_common(1)[0]
        raise ValueError(f"the images of {dataset.name} must have different names, and {twice} comes several times")
    for name, model in models.items():
        if transfer is not None and tuple(transfer.classes) != tuple(model.classes):
            raise ValueError(f"transfer must have the classes of the models, and those of {transfer.name} and {name} differ")
    chosen = [test for test in TESTS.values() if test.name in tests]
    needing = [test.name for test in chosen if test.needs_regions]
    if needing and not _has_regions(dataset):
        lacking = ", ".join(needing)
        raise ValueError(f"{dataset.name} does not say where objects are, which {lacking} must know; grid-pointing needs no regions")
    return chosen


def _has_regions(dataset: Dataset) -> bool:
    """Whether the first image that shows a class has regions."""
    for index in range(len(dataset)):
        with contextlib.suppress(OSError, ValueError):  # such an image is skipped
            if (example := dataset[index]).labels:
                return example.has_regions
    return False
