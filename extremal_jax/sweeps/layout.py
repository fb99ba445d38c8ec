"""The arrays of a sweep's store: their names, types and axes, and how a result is laid in them and taken out again.

Every array has the pictures as its first axis, and every picture is a chunk of its own in every array.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np

from extremal_jax.extremal.config import Config
from extremal_jax.extremal.result import ExtremalResult, History
from extremal_jax.optimise.status import Status

MASK_TYPES = ("uint8", "uint16", "float32")
REASON_BYTES = 240


class State(enum.IntEnum):
    """What has become of a picture."""

    ABSENT = 0
    EXPLAINED = 1
    FAULTY = 2  # explained, but the run did not go well
    SKIPPED = 3  # it could not be read


class Field(NamedTuple):
    """An array of the store.

    Attributes:
      dtype: of its numbers.
      axes: the names of its axes after the first, the pictures.
      attributes: what tools that know the conventions of climate data (CF) make of its numbers.
    """

    dtype: str
    axes: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}  # noqa: RUF012 (never changed)


_FAULTS = ("no_gradient", "nonfinite_image", "depends_on_batch", "nonfinite_reward", "unchanged")  # of a status, by bit
STATUS = "status"


def fields(mask_type: str) -> dict[str, Field]:
    """The arrays by name, for masks of a type in `MASK_TYPES`."""
    scale = {} if mask_type == "float32" else {"scale_factor": 1 / np.iinfo(mask_type).max}
    states = {"flag_values": [int(state) for state in State], "flag_meanings": " ".join(state.name.lower() for state in State)}
    bits = {"flag_masks": [1 << bit for bit in range(len(_FAULTS))], "flag_meanings": " ".join(_FAULTS)}
    return {
        "masks": Field(mask_type, ("area", "row", "column"), scale),
        "params": Field("float32", ("area", "lattice_row", "lattice_column")),
        "rewards": Field("float32", ("area",)),
        "areas": Field("float32", ("area",)),
        "image_rewards": Field("float32"),
        "targets": Field("int32"),
        "history_rewards": Field("float32", ("step", "area")),
        "history_area_losses": Field("float32", ("step", "area")),
        "nonfinite_step": Field("int32", ("area",)),
        "faults": Field("uint8", ("area",), bits),
        "sizes": Field("int32", ("side",)),  # (height, width) of the picture
        "shapes": Field("int32", ("side",)),  # (height, width) of its masks, where pictures differ
        "lattices": Field("int32", ("side",)),  # and of their parameters
        "reasons": Field("uint8", ("byte",)),  # why a picture was skipped, UTF-8
        STATUS: Field("uint8", (), states),
    }


def laid(result: ExtremalResult, sizes: list[tuple[int, int]], mask_type: str) -> dict[str, np.ndarray]:
    """The arrays of a batch's first pictures, as many as there are sizes. The values of a result on the host."""
    count = len(sizes)
    status = result.status
    faults = sum(np.asarray(getattr(status, name), np.uint8) << bit for bit, name in enumerate(_FAULTS))
    values: dict[str, Any] = dict(
        masks=_quantised(np.asarray(result.masks[:count]), mask_type),
        params=result.params,
        rewards=result.rewards,
        areas=result.areas,
        image_rewards=result.image_rewards,
        targets=result.targets,
        history_rewards=result.history.rewards,
        history_area_losses=result.history.area_losses,
        nonfinite_step=status.nonfinite_step,
        faults=faults,
        sizes=np.array(sizes),
        shapes=np.tile(result.masks.shape[-2:], (count, 1)),
        lattices=np.tile(result.params.shape[-2:], (count, 1)),
    )
    kinds = fields(mask_type)
    return {name: np.asarray(value)[:count].astype(kinds[name].dtype) for name, value in values.items()}


def taken(values: dict[str, np.ndarray], areas: np.ndarray, config: Config, mask_type: str) -> ExtremalResult:
    """The result of one picture from its values."""
    height, width = values["shapes"]
    rows, columns = values["lattices"]
    masks = values["masks"][:, :height, :width]
    bits = values["faults"]
    return ExtremalResult(
        masks=masks if mask_type == "float32" else masks.astype(np.float32) / np.float32(np.iinfo(mask_type).max),
        params=values["params"][:, :rows, :columns],
        rewards=values["rewards"],
        image_rewards=values["image_rewards"],
        areas=values["areas"],
        requested_areas=areas,
        targets=values["targets"],
        history=History(values["history_rewards"], values["history_area_losses"]),
        status=Status(values["nonfinite_step"], *((bits >> bit & 1).astype(bool) for bit in range(len(_FAULTS)))),
        config=config.resolve((int(height), int(width))),
    )


def _quantised(masks: np.ndarray, mask_type: str) -> np.ndarray:
    return masks if mask_type == "float32" else np.rint(masks * np.float32(np.iinfo(mask_type).max))
