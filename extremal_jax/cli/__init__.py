"""The command line: options in, calls of the library, reports out. Help of the group loads no command's libraries."""

from __future__ import annotations

import click

from extremal_jax.cli.benchmark import benchmark
from extremal_jax.cli.channels import channels
from extremal_jax.cli.classifiers import convert, models
from extremal_jax.cli.commands import Commands
from extremal_jax.cli.doctor.command import doctor
from extremal_jax.cli.explain import explain
from extremal_jax.cli.invert import invert
from extremal_jax.cli.plan import plan
from extremal_jax.cli.scenes import scenes
from extremal_jax.cli.smallest_area import smallest_area
from extremal_jax.cli.sweep import export, sweep


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="extremal-jax")
def main() -> None:
    """Extremal perturbations: find the parts of an image that excite a classifier most.

    \b
    Examples:
      extremal-jax explain photo.png
      extremal-jax scenes --count 10 --out scenes
      extremal-jax explain scenes/scene-0-000.png --areas 0.02,0.1
    """


for command in (benchmark, channels, convert, doctor, explain, export, invert, models, plan, scenes, smallest_area, sweep):
    main.add_command(command)
