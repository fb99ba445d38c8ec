"""Options whose values are names in the library's tables, which are imported when a value or help needs them."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from extremal_jax.cli.console.remembered import remembered

PRESETS = {
    "default": "exact areas in few steps",
    "thorough": "better masks in three and a half times the time: four candidates for each mask",
    "torchray": "the settings of TorchRay 1.0, for comparison",
    "paper": "the settings of the paper, for images of 224 pixels",
}


AXES = {
    "image": "(height, width, channel)",
    "video": "(time, height, width, channel)",
    "volume": "(depth, height, width, channel)",
    "spectrogram": "(time, frequency, channel)",
    "series": "(time, feature)",
    "moments": "(time, feature), with one mask for all features",
}


class Name(click.ParamType):
    """A name in a table: a mapping from names to descriptions or to records with one, or a sequence of names.

    The table is given by its place, "package.module:TABLE", and has the records that it admits; None: all.
    """

    name = "name"

    def __init__(self, table: str, admits: Callable[[Any], bool] | None = None, listed: bool = True):
        self.table, self.admits, self.listed = table, admits, listed

    def records(self) -> dict[str, Any]:
        """The records that can be chosen, by name."""
        table = pkgutil.resolve_name(self.table)
        records = table if isinstance(table, Mapping) else dict.fromkeys(table)
        return {name: record for name, record in records.items() if self.admits is None or self.admits(record)}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if ctx is not None and ctx.resilient_parsing:  # for completion, which need not load the table
            return value
        from extremal_jax.ground.checks import nearest

        if value not in (known := self.records()):
            self.fail(f"unknown name {value!r}; {nearest(value, known)}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _completions(self.names(), incomplete)

    def names(self) -> Mapping[str, str]:
        """The names that completion offers, with their descriptions."""
        return remembered(self.table, lambda: {name: _description(record) for name, record in self.records().items()})


class Names(click.ParamType):
    """Names of a table, separated by commas; `all` stands for the whole table."""

    name = "name,name,..."

    def __init__(self, table: Name):
        self.table = table

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail(f"expected names separated by commas, got {value!r}", param, ctx)
        return tuple(dict.fromkeys(one for name in names for one in (self.table.records() if name == "all" else (name,))))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return _completions(self.table.names(), last, before + comma)


class Layer(click.ParamType):
    """The name of a layer's activation. Completion offers those of the classifier that `--model` names."""

    name = "layer"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        model = ctx.params.get("model_name") or "scenes"

        def find() -> dict[str, str]:
            entry = CLASSIFIERS.records().get(model)
            return {} if entry is None else dict.fromkeys(entry.activations, "")

        return _completions(remembered(f"layers of {model}", find), incomplete)


def _completions(names: Mapping[str, str], incomplete: str, before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name, help=text or None) for name, text in names.items() if name.startswith(incomplete)]


def _description(record: Any) -> str:
    return getattr(record, "description", record or "")


class ImageClassifier(Name):
    """The name of a classifier of images."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from extremal_jax.operators.axes import IMAGE, names

        record = self.records().get(super().convert(value, param, ctx))
        if record is not None and record.axes != IMAGE:
            self.fail(f"{value} takes ({', '.join(names(record.axes))}), and this command is for images; `explain` takes both", param, ctx)
        return value


class Command(click.Command):
    """A command whose help ends with the names that its options take."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        for option in self.get_params(ctx):
            if isinstance(option.type, Name) and option.type.listed:
                with formatter.section(f"Values of {option.opts[0]}"):
                    records = option.type.records().items()
                    formatter.write_dl([(name, _description(record)) for name, record in records])


AXES_NAMES = Name("extremal_jax.cli.tables:AXES")
CLASSIFIERS = Name("extremal_jax.models.entries:ENTRIES", listed=False)
IMAGE_CLASSIFIERS = ImageClassifier("extremal_jax.models.entries:ENTRIES", listed=False)
EXPORTS = Name("extremal_jax.sweeps.exporting:FORMATS")
GAMES = Name("extremal_jax.operators.games:GAMES")
METHODS = Name("extremal_jax.attribution:METHODS")
OBJECTIVES = Name("extremal_jax.inversion.config:OBJECTIVES")
PERTURBATIONS = Name("extremal_jax.operators.perturbations:PERTURBATIONS")
PRESET_NAMES = Name("extremal_jax.cli.tables:PRESETS")
REWARDS = Name("extremal_jax.operators.rewards:REWARDS", lambda reward: reward.arity == 1)
TESTS = Name("extremal_jax.evaluation.suite.standard:TESTS")
