"""The command `benchmark`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import commands, tables
from extremal_jax.cli.console import exits, output
from extremal_jax.cli.console.progress import bar

if TYPE_CHECKING:
    from extremal_jax.evaluation.suite.summaries import Report


@commands.command(short_help="Compare methods on a dataset by the standard tests.")
@click.argument("tests", nargs=-1, type=tables.TESTS, metavar="TEST...")
@click.option(
    "--data",
    default="scenes",
    show_default=True,
    help="`scenes`, a folder of photographs DIR or DIR:CSV, `voc:DIR`, `coco:DIR:JSON` or `tfds:NAME`.",
)
@click.option("--models", type=tables.Names(tables.CLASSIFIERS), default="scenes", show_default=True, help="Classifiers.")
@commands.weights
@click.option(
    "--methods",
    type=tables.Names(tables.METHODS),
    default="extremal_perturbation",
    show_default=True,
    help="Methods, `all` of them, `extremal_perturbation:PRESET`, `METHOD:torchray`, or `center`.",
)
@click.option(
    "--transfer", type=tables.IMAGE_CLASSIFIERS, help="Another classifier of the same classes, which judges the masks of the test `reward`."
)
@click.option("--transfer-weights", type=commands.Weights(), help="As `--weights`, of the classifier `--transfer`.  [default: packaged]")
@click.option("--limit", type=click.IntRange(min=1), help="Test the first images only.")
@click.option("--grids", "num_grids", type=click.IntRange(min=1), default=100, show_default=True, help="Grids of images to make.")
@commands.areas
@click.option(
    "--difficult", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A list of difficult pairs of an image and a class."
)
@click.option("--torchray-average", is_flag=True, help="Count classes that no image shows as zero, as TorchRay does.")
@click.option(
    "--shard",
    type=commands.Shard(),
    default="1/1",
    show_default=True,
    help="Test a part of the images. Shards of one folder make one table.",
)
@click.option("--strict", is_flag=True, help="Stop at an image that cannot be read, instead of skipping it.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Pairs of an image and a class that are explained at a time.",
)
@commands.seed
@click.option("--table", is_flag=True, help="Only print the table of what is in the folder.")
@click.option(
    "--resume",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="benchmark",
    show_default=True,
    help="Folder of the rows and the tables; a run that was stopped goes on there.",
)
def benchmark(
    tests: tuple[str, ...],
    data: str,
    models: Sequence[str],
    weights: str | None,
    methods: Sequence[str],
    transfer: str | None,
    transfer_weights: str | None,
    limit: int | None,
    difficult: Path | None,
    table: bool,
    folder: Path,
    **options: Any,
) -> dict[str, Any]:
    """Run standard tests of methods on a dataset, and print a table with confidence intervals.

    \b
    Examples:
      extremal-jax benchmark pointing-game energy --methods extremal_perturbation,grad_cam,center --limit 50
      extremal-jax benchmark insertion deletion --data photographs --models efficientnet_lite0 --methods all
      extremal-jax benchmark pointing-game --data voc:VOCdevkit/VOC2007 --models resnet50_voc_fully_convolutional --weights w.pth
      extremal-jax benchmark road --limit 5000 --resume road --shard 2/8
      extremal-jax benchmark --table --resume road
    """
    import extremal_jax as ej

    if table:
        return _tell(ej.evaluation.tabulate(folder, torchray_average=options["torchray_average"]))
    if not tests:
        raise click.UsageError(f"name at least one test, of {', '.join(tables.TESTS.records())}")
    if "reward" not in tests:
        commands.refuse(["transfer"], "only with the test `reward`")
    if transfer is None:
        commands.refuse(["transfer_weights"], "only with --transfer")
    if weights is not None and len(models) > 1:
        raise click.BadParameter("applies only to a single classifier", param_hint="--weights")
    classifiers = {name: commands.load(name, weights) for name in models}
    classes = next(iter(classifiers.values())).classes
    dataset = ej.data.open_dataset(data, classes, limit=limit)
    pairs: frozenset[tuple[str, int]] = frozenset()
    if difficult is not None:
        whole = ej.data.open_dataset(data, classes)  # 500 scenes, which may be fewer than the limit
        pairs = ej.data.difficult_pairs(difficult, max(whole, dataset, key=len))
    with _kept(folder), bar("testing") as progress:
        report = ej.evaluation.benchmark(
            tests,
            dataset,
            classifiers,
            methods,
            folder=folder,
            transfer=None if transfer is None else ej.models.load(transfer, weights=transfer_weights or "default"),
            difficult=pairs,
            progress=progress,
            **options,
        )
    report.save(folder)
    document = _tell(report)
    output.say(f"wrote {folder}/table.md, table.csv and table.json")
    return document | {"files": [folder / f"table.{suffix}" for suffix in ("md", "csv", "json")]}


@contextlib.contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Say, where the run is interrupted, that it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise exits.Interrupted(f"stopped; what was finished is kept, and the same command goes on in {folder}") from None


def _tell(report: Report) -> dict[str, Any]:
    output.answer(report.markdown())
    return json.loads(report.json())
