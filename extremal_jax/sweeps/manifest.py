"""What a store is of: everything that determines its numbers, so that another sweep does not go on in it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from extremal_jax.extremal.config import Config
from extremal_jax.ground.differences import differences
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.optimise.settings import from_json, to_json
from extremal_jax.sweeps.probes import Probes, same_numbers

FORMAT = 1  # of the stores that this version writes
_BESIDES = ("jax", "batch_size")  # settings that change no number but by rounding


def manifest(
    *,
    data: str,
    names: Sequence[str],
    inputs: Sequence[str | None],
    targets: Any,
    model: Mapping[str, Any],
    shape: Sequence[int],
    areas: Sequence[float],
    config: Config,
    computed: Probes,
    key: Sequence[int],
    masks: str,
    batch_size: int,
) -> dict[str, Any]:
    """The manifest of a sweep, as values of JSON."""
    entries = dict(
        format=FORMAT,
        version=importlib.metadata.version("extremal-jax"),
        jax=importlib.metadata.version("jax"),
        data=data,
        pictures=len(names),
        names=hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16],
        inputs=list(inputs),
        targets=targets,
        model=dict(model),
        shape=list(shape),
        areas=list(areas),
        config=json.loads(to_json(config)),
        updates=_updates(config),
        computed=computed,
        key=list(key),
        masks=masks,
        batch_size=batch_size,
    )
    return json.loads(json.dumps(entries))


def _updates(config: Config) -> list[float]:
    """What the optimizer makes of two gradients, which tells apart optimizers of one name and other settings."""
    params, found = jnp.ones(2), []
    state = config.optimizer.init(params)
    for gradient in (jnp.array([1.0, -0.1]), jnp.array([0.5, 3.0])):
        updates, state = config.optimizer.update(gradient, state, params)
        found += np.asarray(updates).tolist()
    return [float(f"{update:.5g}") for update in found]


def check_same(kept: Mapping[str, Any], now: Mapping[str, Any], location: str) -> None:
    """Raise a ValueError, with the differences, unless a store holds the same sweep. An input that could not be read then
    or cannot be read now is no difference, and neither is rounding in what models and functions compute."""
    before, after = kept.get("inputs"), now["inputs"]
    if isinstance(before, list) and len(before) == len(after):
        seen = [one if one is None or other is None else other for one, other in zip(before, after, strict=True)]
        now = {**now, "inputs": seen}
    if "computed" not in kept or same_numbers(kept["computed"], now["computed"]):  # the first stores had none
        now = {**now, "computed": kept.get("computed")}
    if found := differences(kept, now, _BESIDES):
        raise ValueError(f"{location} holds another sweep: {'; '.join(found)}. Choose another folder, or the same settings")


def check_format(kept: Any, location: str) -> None:
    """Raise a ValueError unless this version reads a store."""
    if not isinstance(kept, Mapping) or not isinstance(kept.get("format"), int):
        raise ValueError(f"{location} is a zarr group, but not of a sweep")
    if kept["format"] > FORMAT:
        raise ValueError(
            f"{location} was written by extremal-jax {kept.get('version')}, in the format {kept['format']}; this version"
            f" reads the format {FORMAT} and older ones; update extremal-jax"
        )


def described(model: Any, digest: str, own_input: bool) -> dict[str, Any]:
    """What the manifest says of a model; of its preprocessing only where the inputs are made by it, rather than by the caller."""
    preprocessing = None if own_input else getattr(model, "preprocessing", None)
    classes = class_names(model)
    return dict(
        name=getattr(model, "name", None) or type(model).__name__,
        digest=digest,
        classes=list(classes) or None,
        preprocessing=dataclasses.asdict(preprocessing) if isinstance(preprocessing, Preprocessing) else None,
    )


def class_names(model: Any) -> tuple[str, ...]:
    """The names of a model's classes, by index; none if it has none.

    Example:
      >>> import types
      >>> class_names(types.SimpleNamespace(classes={0: "dog", 2: "cat"}))
      ('dog', '1', 'cat')
    """
    found = getattr(model, "classes", None)
    if isinstance(found, Mapping):
        return tuple(str(found.get(index, index)) for index in range(max(found, default=-1) + 1))
    return () if found is None else tuple(map(str, found))


def preprocessing_of(kept: Mapping[str, Any]) -> Preprocessing | None:
    """The preprocessing of the model in a manifest; None if the caller made the model's input."""
    found = kept["model"]["preprocessing"]
    if found is None:
        return None
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return Preprocessing(**values)


def config_of(kept: Mapping[str, Any]) -> Config:
    """The settings in a manifest."""
    return from_json(Config, json.dumps(kept["config"]))
