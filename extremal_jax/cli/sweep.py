"""The commands `sweep` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import commands, tables
from extremal_jax.cli.console import exits, output
from extremal_jax.cli.console.progress import bar
from extremal_jax.ground.files import address, check_writable

if TYPE_CHECKING:
    from extremal_jax.sweeps import Sweep

_TYPES = ("uint8", "uint16", "float32")
_MOST_SKIPPED = 10  # pictures whose reasons are printed


@commands.command(short_help="Explain all pictures of a dataset, into a store that resumes.")
@click.argument("source", required=False)
@click.option("--out", metavar="DIR|gs://...", help="Where the results are kept; a sweep that was stopped goes on there.")
@commands.areas
@commands.model
@commands.weights
@click.option(
    "--target",
    default="top",
    show_default=True,
    help="`top`, the class of the highest score; `labels`, those of the dataset; or a class by name or index.",
)
@commands.game
@click.option("--perturbation", type=tables.PERTURBATIONS, help="How a mask removes pixels.  [default: blur]")
@commands.reward
@commands.preset
@commands.steps
@commands.seed
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures computed at a time.  [default: four for each device]")
@commands.chunk_size
@click.option("--limit", type=click.IntRange(min=1), help="Explain the first pictures only.")
@click.option("--shard", type=commands.Shard(), help="Explain a part of the pictures.  [default: by the number of the process]")
@click.option("--masks", type=click.Choice(_TYPES), default="uint8", show_default=True, help="How masks are kept.")
@click.option("--strict", is_flag=True, help="Stop at a picture that cannot be read, instead of skipping it.")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write HTML pages to look through all pictures as well, into this folder.",
)
@click.option("--status", metavar="DIR|gs://...", help="Only say how far the sweep there is.")
def sweep(
    source: str | None,
    out: str | None,
    model_name: str,
    weights: str | None,
    target: str,
    preset: str,
    areas: tuple[float, ...],
    seed: int,
    report: Path | None,
    status: str | None,
    **options: Any,
) -> dict[str, Any]:
    """Explain all pictures of SOURCE: a folder, or a dataset as `benchmark` takes it.

    A sweep that was stopped or killed goes on when the command is given again. Several processes share the work with
    --shard.

    \b
    Examples:
      extremal-jax sweep photographs --out sweep --model efficientnet_lite0
      extremal-jax sweep scenes --target labels --limit 20 --areas 0.05,0.2 --out sweep
      extremal-jax sweep voc:VOCdevkit/VOC2007 --target labels --shard 2/8 --out gs://bucket/voc
      extremal-jax sweep photographs --out sweep --report pages
      extremal-jax sweep --status sweep
    """
    import jax

    import extremal_jax as ej

    if status is not None:
        commands.refuse(["report"], "only to a sweep that is run, not with --status")
        return _tell(ej.open_sweep(status))
    source, out = _required("argument", "SOURCE", source), _required("option", "--out", out)
    if report is not None:
        _check_pages(report, out)
    settings = {name: options.pop(name) for name in ("game", "perturbation", "reward", "num_steps")}
    model = commands.load(model_name, weights)
    try:
        with bar("explaining") as progress:
            found = ej.sweep(
                model,
                source,
                out,
                areas=areas,
                targets=int(target) if target.isdecimal() else target,
                config=commands.config(preset, settings),
                key=jax.random.key(seed),
                progress=progress,
                **options,
            )
    except KeyboardInterrupt:
        raise exits.Interrupted(f"stopped; what was finished is kept, and the same command goes on in {out}") from None
    document = _tell(found)
    if report is not None:
        with bar("writing pages") as progress:
            ej.report.write_sweep(report, found, source, progress=progress)
        output.say(f"wrote {report / 'index.html'}")
    return document | {"report": None if report is None else report / "index.html"}


@commands.command(short_help="Write the masks of a sweep as PNG, COCO or NPZ files.")
@click.argument("store", metavar="DIR|gs://...")
@click.option("--format", "file_format", type=tables.EXPORTS, default="png", show_default=True, help="What is written.")
@click.option("--input-size", is_flag=True, help="Masks of the size of the model's input, instead of the picture's.")
@click.option("--binary", is_flag=True, help="Cut PNG masks to exact areas, black and white.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="masks", show_default=True, help="Output folder.")
def export(store: str, file_format: str, input_size: bool, binary: bool, out: Path) -> dict[str, Any]:
    """Write the masks of all pictures that a sweep has explained.

    \b
    Examples:
      extremal-jax export sweep --out masks
      extremal-jax export sweep --format coco --out masks
    """
    from extremal_jax.sweeps import export as write, open_sweep

    if file_format != "png":
        commands.refuse(["binary"], "only with --format png; masks of COCO are binary")
    if file_format == "npz":
        commands.refuse(["input_size"], "only with --format png or coco; NPZ files have the size of the model's input")
    found = write(open_sweep(store), out, file_format, on_picture=not input_size, binary=binary)
    files = "1 file" if found.files == 1 else f"{found.files} files"
    output.say(f"wrote {files} of {found.pictures} pictures to {out}")
    return {"folder": out, "files": found.files, "pictures": found.pictures}


def _check_pages(folder: Path, out: str) -> None:
    """Raise now the errors that the pages of a sweep would raise after it."""
    store = None if address(out) else Path(out).resolve()
    if store == folder.resolve():
        raise click.BadParameter(f"{folder} is the folder of the sweep; choose another one for the pages", param_hint="--report")
    if store not in folder.resolve().parents:  # a folder inside must not be there before the store
        check_writable(folder / "index.html")


def _required(kind: str, name: str, value: str | None) -> str:
    """The value of a parameter that only --status does without."""
    if value is None:
        raise click.MissingParameter(ctx=click.get_current_context(), param_type=kind, param_hint=f"'{name}'")
    return value


def _tell(sweep: Sweep) -> dict[str, Any]:
    """Print how far a sweep is, and why pictures were skipped."""
    from extremal_jax.sweeps.layout import State

    counts = sweep.counts()
    done = len(sweep) - counts.absent
    output.say(f"{sweep}: {done} of {len(sweep)} done: {counts.explained} explained, {counts.faulty} with faults, {counts.skipped} skipped")
    skipped = [index for index, state in enumerate(sweep.states()) if state == State.SKIPPED]
    for index in skipped[:_MOST_SKIPPED]:
        output.say(f"  skipped {sweep.names[index]}: {sweep.reason(index)}")
    if len(skipped) > _MOST_SKIPPED:
        output.say(f"  and {len(skipped) - _MOST_SKIPPED} more")
    return {
        "pictures": len(sweep),
        "explained": counts.explained,
        "faulty": counts.faulty,
        "skipped": [
            {"picture": sweep.names[index], "reason": sweep.reason(index)} for index in skipped if output.is_json()
        ],  # each is read
        "absent": counts.absent,
    }
