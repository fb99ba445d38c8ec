"""The command `plan`."""

from __future__ import annotations

from typing import Any

import click

from extremal_jax.cli import commands, tables
from extremal_jax.cli.console import output

_ACCELERATORS = tables.Name("extremal_jax.sweeps.planning:ACCELERATORS")


@commands.command(short_help="Measure a few steps, and compute what a sweep costs.")
@commands.model
@commands.weights
@click.option("--pictures", type=click.IntRange(min=1), default=50_000, show_default=True, help="Pictures of the sweep.")
@commands.areas
@commands.preset
@commands.steps
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures computed at a time.  [default: four for each device]")
@commands.chunk_size
@click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True, help="Number of devices elsewhere.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Masks per second of a device elsewhere.")
@click.option("--speedup", type=click.FloatRange(0, min_open=True), help="How many times faster a device is than this machine.")
@click.option("--accelerator", type=_ACCELERATORS, help="Estimate the time on a device from its published peak.")
@click.option(
    "--utilisation",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.3,
    show_default=True,
    help="The share of the peak that --accelerator assumes.",
)
def plan(model_name: str, weights: str | None, preset: str, num_steps: int | None, **options: Any) -> dict[str, Any]:
    """Measure a few steps of a sweep on this machine, and compute the cost of all of it, here and elsewhere.

    \b
    Examples:
      extremal-jax plan --model efficientnet_lite0
      extremal-jax plan --model resnet50 --weights hub --accelerator v5e --devices 8
      extremal-jax plan --pictures 1000 --speedup 30 --json
    """
    import dataclasses

    import extremal_jax as ej

    if options["accelerator"] is None:
        commands.refuse(["utilisation"], "only with --accelerator")
    model = commands.load(model_name, weights)
    found = ej.sweeps.plan(model, config=commands.config(preset, dict(num_steps=num_steps)), **options)
    output.answer(str(found))
    return dataclasses.asdict(found)
