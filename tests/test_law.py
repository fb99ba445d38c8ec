"""One law for every public call: the order, the defaults and the documentation of arguments, read from signatures and docstrings."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import extremal_jax as ej

ORDER = ("at", "config", "key", "progress", "chunk_size", "resize", "smooth")  # of the shared arguments, after a call's own
DEFAULTS = {**dict.fromkeys(ORDER), "resize": False}
SUBJECTS = {  # of calls that do not explain an image and its target
    "invert_features": ["model", "activation"],
    "maximize_channel": ["model", "channels"],
    "sweep": ["model", "source", "out"],
}
FORBIDDEN = {"steps", "num_iterations", "iterations", "n_steps", "max_iter", "seed", "batch_size", "layer", "input", "type", "step"}


def functions(namespace: Any, names: Any = None) -> dict[str, Callable[..., Any]]:
    """The public functions of a namespace."""
    if names is None:
        names = getattr(namespace, "__all__", None) or [name for name in vars(namespace) if not name.startswith("_")]
    found = {name: getattr(namespace, name) for name in names}
    return {name: value for name, value in found.items() if is_function(value) and value.__module__.startswith("extremal_jax")}


def is_function(value: Any) -> bool:
    """Whether a value is a function, also a compiled one or one with a gradient of its own."""
    return callable(value) and inspect.isfunction(inspect.unwrap(value))


def function_of(method: Any) -> Callable[..., Any]:
    """A method of the table: a record with its function, or the function."""
    return getattr(method, "function", method)


CALLS = {name: call for name, call in functions(ej).items() if name != "open_sweep"}
ALLOWED = {  # a batch of a dataset's pictures, and the seed of what is generated or of a whole benchmark
    "data.scenes.generate": {"seed"},
    "evaluation.benchmark": {"seed", "batch_size"},
    "evaluation.make_grids": {"seed"},
    "evaluation.pasted_pairs": {"seed"},
    "sweep": {"batch_size"},
    "sweeps.plan": {"batch_size"},
}
METHODS = {f"attribution.{name}": function_of(method) for name, method in ej.attribution.METHODS.items()}
EXPLAINERS = {**CALLS, **METHODS}
OTHERS = {
    f"{namespace.__name__.removeprefix('extremal_jax.')}.{name}": function
    for namespace in (ej.attribution, ej.evaluation, ej.graph, ej.models, ej.data, ej.data.scenes, ej.plots, ej.report, ej.sweeps)
    for name, function in functions(namespace).items()
    if function not in EXPLAINERS.values() and function.__module__.startswith(namespace.__name__)
}
PIECES = {f"perturbation.{name}": value for name, value in functions(ej.perturbation).items() if value not in EXPLAINERS.values()}
EVERY = {**EXPLAINERS, **OTHERS, **PIECES}
each_explainer = pytest.mark.parametrize("name", EXPLAINERS)
each_call = pytest.mark.parametrize("name", EXPLAINERS | OTHERS)
each = pytest.mark.parametrize("name", EVERY)


def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(EVERY[name]).parameters)


def sections(function: Callable[..., Any]) -> dict[str, str]:
    """The sections of a docstring by their titles; "Returns, Raises: as `gradient`." are two."""
    found: dict[str, str] = {}
    title, lines = "", [""]
    for line in [*(inspect.getdoc(function) or "").splitlines(), "End:"]:
        heading = re.fullmatch(r"((?:[A-Z]\w+)(?:, [A-Z]\w+)*):(.*)", line)
        if heading:
            found |= {part: "\n".join(lines) for part in title.split(", ")}
            title, lines = heading[1], [heading[2]]
        else:
            lines.append(line)
    return found


def documented(function: Callable[..., Any]) -> set[str]:
    """The arguments that a docstring names: in Args, or as those of another function, which documents them itself."""
    text = sections(function)
    return {name for line in re.findall(r"(?m)^  (\w[\w, *]*):", text.get("Args", "")) for name in re.split(r",\s*\**", line)}


def reference(function: Callable[..., Any]) -> tuple[str, Callable[..., Any] | None]:
    """The sentence in which a docstring refers to another function for the (other) arguments, if any, and that function."""
    text = " ".join((inspect.getdoc(function) or "").split())
    found = re.search(r"[Tt]he (?:other )?arguments,?[^.]* are those of `(\w+)`", text)
    return ("", None) if found is None else (found[0], next(other for name, other in EVERY.items() if name.split(".")[-1] == found[1]))


def arguments(function: Callable[..., Any]) -> set[str]:
    """The arguments that a docstring names, or the other function that it refers to, or the next."""
    _, other = reference(function)
    return documented(function) | (set() if other is None else arguments(other))


@each_explainer
def test_the_model_and_what_is_explained_come_first(name: Any) -> None:
    wanted = SUBJECTS.get(name, ["model", "images", "targets"])
    assert list(parameters(name))[: len(wanted)] == wanted
    for parameter in list(parameters(name).values())[: len(wanted)]:
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


@each_explainer
def test_at_most_one_more_argument_is_positional(name: Any) -> None:
    """Areas, counts, or a mask."""
    positional = [n for n, p in parameters(name).items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert positional[len(SUBJECTS.get(name, "123")) :] in ([], ["areas"], ["counts"], ["mask"])


@each_call
def test_shared_arguments_are_keywords_in_one_order(name: Any) -> None:
    found = {n: p for n, p in parameters(name).items() if n in ORDER}
    assert {n for n, p in found.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY} == set()
    assert list(found) == [n for n in ORDER if n in found]


@each_explainer
def test_own_options_stand_between_the_layer_and_the_shared_arguments(name: Any) -> None:
    keywords = [n for n, p in parameters(name).items() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    own = [n for n in keywords if n not in ORDER]
    assert keywords == [*(["at"] if "at" in keywords else []), *own, *(n for n in ORDER[1:] if n in keywords)]


@each
def test_shared_arguments_have_the_defaults_of_the_law(name: Any) -> None:
    for argument, parameter in parameters(name).items():
        if argument in ORDER:
            required = argument == "at" and parameter.default is inspect.Parameter.empty
            assert required or parameter.default is DEFAULTS[argument], argument


@each
def test_arguments_go_by_the_words_of_the_law(name: Any) -> None:
    assert FORBIDDEN & set(parameters(name)) <= ALLOWED.get(name, set())


@each
def test_every_argument_is_documented(name: Any) -> None:
    function, wanted = EVERY[name], set(parameters(name))
    missing = wanted - arguments(function)
    if "Args" not in sections(function) and len(wanted) <= 1:
        missing = set()  # the first line says what a single argument is
    assert missing == set()
    assert documented(function) - wanted == set(), "the docstring documents arguments that do not exist"


@each
def test_results_errors_and_an_example_are_documented(name: Any) -> None:
    function = EVERY[name]
    found, text = sections(function), inspect.getdoc(function) or ""
    sentence, _ = reference(function)
    wanted = {"Returns", "Example"}
    if name in EXPLAINERS or re.search(r"\braise \w", inspect.getsource(inspect.unwrap(function))):
        wanted |= {"Raises"}
    wanted -= {section for section, word in (("Returns", "the result"), ("Raises", "the errors")) if word in sentence}
    if "Args" not in found:
        wanted -= {"Returns"}  # the first line says what a function of one argument returns
    assert wanted - set(found) == set()
    assert doctest.DocTestParser().get_examples(text)


def test_shares_of_a_side_are_of_the_shorter_side() -> None:
    """Every smoothing says its unit, and the same one."""
    for name, function in EXPLAINERS.items():
        if "smooth" in parameters(name):
            text = " ".join((inspect.getdoc(function) or "").split())
            assert "shorter side" in text or re.search(r"\bsmooth\b[\w, ]*: as in `", text) or reference(function)[0], name


def test_all_calls_are_held_to_the_law() -> None:
    assert {"extremal_perturbation", "channel_perturbation", "class_channels", "smallest_area", "invert_features"} <= set(CALLS)
    assert {f"attribution.{name}" for name in ("gradient", "grad_cam", "rise", "occlusion")} <= set(METHODS)
    assert {"graph.capture", "models.load", "data.load_image", "data.scenes.generate", "plots.overview", "report.write"} <= set(OTHERS)
    assert {"perturbation.init", "perturbation.listen", "perturbation.select_top"} <= set(PIECES)
