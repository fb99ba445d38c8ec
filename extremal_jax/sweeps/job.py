"""From a call of `sweep` to a job: everything is checked before a picture is explained or a file is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec, Sharding

from extremal_jax.boundary.areas import check_areas, check_pixels
from extremal_jax.boundary.fingerprints import fingerprint
from extremal_jax.boundary.models import Model
from extremal_jax.boundary.targets import check_targets
from extremal_jax.data.examples import Dataset
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation
from extremal_jax.graph.functional import partition
from extremal_jax.ground.checks import check_choice, check_chunk_size, check_count, check_key, check_shard
from extremal_jax.operators.axes import names
from extremal_jax.operators.masks import SmoothMasks
from extremal_jax.operators.rewards import REWARDS
from extremal_jax.optimise.settings import check_settings
from extremal_jax.sweeps.inputs import Inputs, Prepare, dataset_of, inputs_of, largest
from extremal_jax.sweeps.layout import MASK_TYPES, REASON_BYTES, fields
from extremal_jax.sweeps.manifest import class_names, described, manifest
from extremal_jax.sweeps.probes import probes
from extremal_jax.sweeps.rows import UNKNOWN, Group, Row, Shape, grouped, list_rows
from extremal_jax.sweeps.store import Layout

LABELS, TOP = "labels", "top"
_FOR_EACH_DEVICE = 4  # pictures of a batch


@dataclass(frozen=True)
class Job:
    """A checked sweep.

    Attributes:
      model: as the caller gave it.
      dataset: the pictures.
      inputs: the model's inputs that are made of them.
      rows: the pictures with a class each.
      targets: (N,), the class of each picture of the dataset; None: those of the rows, or with `top` that of the highest
        score.
      top: whether the class is that of the highest score.
      areas: (K,).
      config: the settings.
      key: seeds everything that is drawn.
      masks: the type of the stored masks.
      batch_size: the pictures of a batch.
      sharding: how they are laid out over devices.
      chunk_size: as in `extremal_perturbation`.
    """

    model: Model
    dataset: Dataset
    inputs: Inputs
    rows: list[Row]
    targets: np.ndarray | None
    top: bool
    areas: np.ndarray
    config: Config
    key: Array
    masks: str
    batch_size: int
    sharding: Sharding
    chunk_size: int | None

    def groups(self, rows: Sequence[Row]) -> list[Group]:
        """The batches of some rows."""
        return grouped(rows, self.inputs.shapes, self.batch_size)

    def layout(self) -> Layout:
        """The arrays of the store, with the lengths of their axes."""
        height, width = self.inputs.largest
        rows, columns = largest({_lattice(self.config, shape) for shape in self.inputs.known})
        lengths = dict(
            area=len(self.areas),
            step=self.config.num_steps,
            row=height,
            column=width,
            lattice_row=rows,
            lattice_column=columns,
            side=2,
            byte=REASON_BYTES,
        )
        return {name: (field, tuple(lengths[axis] for axis in field.axes)) for name, field in fields(self.masks).items()}

    def manifest(self) -> dict[str, Any]:
        """What the store is of."""
        digest = fingerprint(partition(self.model, self.example())[1])
        given = None if self.targets is None else self.targets.tolist()
        return manifest(
            data=self.dataset.name,
            names=[f"{row.name} {row.label}" for row in self.rows],
            targets=given or (TOP if self.top else LABELS),
            inputs=self.inputs.digests(self.dataset),
            model=described(self.model, digest, self.inputs.own),
            shape=[*self.inputs.largest, self.inputs.channels],
            areas=[round(area, 7) for area in self.areas.tolist()],  # single precision, as a person writes it
            config=self.config,
            computed=probes(self.model, self.config, (*self.inputs.largest, self.inputs.channels)),
            key=np.asarray(jax.random.key_data(self.key)).tolist(),
            masks=self.masks,
            batch_size=self.batch_size,
        )

    def example(self) -> jax.ShapeDtypeStruct:
        """One input."""
        return jax.ShapeDtypeStruct((1, *self.inputs.largest, self.inputs.channels), np.float32)


def pose(
    model: Model,
    source: Any,
    areas: Any,
    targets: Any,
    config: Config | None,
    *,
    batch_size: int | None,
    limit: int | None,
    masks: str,
    key: Array | None,
    preprocess: Prepare | None,
    sharding: Sharding | None,
    chunk_size: int | None,
) -> Job:
    """Check a call of `sweep`, whose docstring describes the arguments."""
    settings = check_settings(config, Config)
    areas = np.asarray(check_areas(areas, None), np.float32)
    check_choice("masks", masks, MASK_TYPES)
    key = check_key(key)
    check_chunk_size(chunk_size)
    if isinstance(settings.reward, str) and REWARDS[settings.reward].arity != 1:
        raise ValueError(f"a sweep explains one class of a picture at a time, and the reward {settings.reward!r} takes several")
    sharding, batch_size = _laid_out(sharding, batch_size)
    classes = class_names(model)
    labelled, top = (isinstance(targets, str) and targets == name for name in (LABELS, TOP))
    dataset = dataset_of(source, classes, limit=limit, labelled=labelled)
    rows = list_rows(dataset, labelled=labelled)
    inputs = inputs_of(model, dataset, preprocess)
    for shape in inputs.known:
        _lattice(settings, shape)
        check_pixels(areas, shape[0] * shape[1])
    job = Job(model, dataset, inputs, rows, None, top, areas, settings, key, masks, batch_size, sharding, chunk_size)
    _try_shapes(job)
    if top:
        return job
    num_scores = jax.eval_shape(model, job.example()).shape[-1]
    if labelled:
        labels = np.array([row.label for row in rows if row.label != UNKNOWN])
        check_targets(labels, len(labels), num_scores, settings.reward)
        return job
    given = check_targets(targets, len(dataset), num_scores, settings.reward, classes or None)
    return replace(job, targets=np.asarray(given))


def _try_shapes(job: Job) -> None:
    """Raise what a run raises for the shapes of its smallest and its largest inputs, without computing anything."""
    targets = jax.ShapeDtypeStruct((job.batch_size,), np.int32)
    for height, width in {min(job.inputs.known), max(job.inputs.known)}:
        images = jax.ShapeDtypeStruct((job.batch_size, height, width, job.inputs.channels), np.float32)
        try:
            job.sharding.shard_shape(images.shape)
        except ValueError as error:
            raise ValueError(f"sharding must divide a batch of inputs {images.shape}, got {job.sharding}: {error}") from error
        jax.eval_shape(
            lambda images, targets: extremal_perturbation(
                job.model, images, targets, job.areas, config=job.config, key=job.key, chunk_size=job.chunk_size
            ),
            images,
            targets,
        )


def shard_of(shard: Any) -> tuple[int, int]:
    """(index, count) of the shard, the index from 1; None: this process among all."""
    if shard is None:
        return jax.process_index() + 1, jax.process_count()
    check_shard(shard)
    index, count = shard
    return index, count


def _laid_out(sharding: Sharding | None, batch_size: int | None) -> tuple[Sharding, int]:
    """How the images of a batch lie on devices, and how many they are."""
    if batch_size is not None:
        check_count("batch_size", batch_size, 1)
    if sharding is not None:
        if not isinstance(sharding, Sharding):
            raise TypeError(f"sharding must be a jax.sharding.Sharding, such as a NamedSharding, got {sharding!r}")
        return sharding, batch_size or _FOR_EACH_DEVICE * len(sharding.device_set)
    devices = jax.local_devices()
    count = batch_size or _FOR_EACH_DEVICE * len(devices)
    if count % len(devices):
        raise ValueError(f"batch_size must be a multiple of the {len(devices)} devices that share a batch, got {batch_size}")
    mesh = jax.make_mesh((len(devices),), ("images",), axis_types=(AxisType.Auto,), devices=devices)
    return NamedSharding(mesh, PartitionSpec("images")), count


def _lattice(config: Config, shape: Shape) -> Shape:
    """The lattice of the masks of a shape, once the settings are known to suit it."""
    if config.axes is not None:
        raise ValueError(f"a sweep explains images, and the config's axes are {', '.join(names(config.input_axes))}")
    settings = config.resolve(shape)
    if settings.perturbation_record().needs_reference:
        raise ValueError("a sweep has no reference image; choose another perturbation than 'reference'")
    assert settings.pitch is not None, "the settings are resolved"
    assert settings.sigma is not None, "the settings are resolved"
    height, width = SmoothMasks(shape, settings.pitch, settings.sigma, settings.temperature).lattice
    return height, width
