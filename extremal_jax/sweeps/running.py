"""Sweeps: the extremal perturbations of all pictures of a dataset, on all devices, into a store that survives any kill."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Sharding
from jaxtyping import Bool

from extremal_jax.boundary.areas import USUAL_AREAS
from extremal_jax.boundary.models import Model
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation
from extremal_jax.graph.functional import Arrays, Program, partition
from extremal_jax.ground.progress import Counter
from extremal_jax.operators.rewards import image_scores
from extremal_jax.sweeps.claims import claimed
from extremal_jax.sweeps.inputs import Prepare
from extremal_jax.sweeps.job import LABELS, Job, pose, shard_of
from extremal_jax.sweeps.layout import REASON_BYTES, State, laid
from extremal_jax.sweeps.opened import Sweep
from extremal_jax.sweeps.reading import Read, read_ahead
from extremal_jax.sweeps.rows import UNKNOWN, Group, Row
from extremal_jax.sweeps.store import Store, create


def sweep(
    model: Model,
    source: Any,
    out: str | os.PathLike[str],
    *,
    areas: Any = USUAL_AREAS,
    targets: Any = LABELS,
    batch_size: int | None = None,
    shard: tuple[int, int] | None = None,
    limit: int | None = None,
    masks: str = "uint8",
    preprocess: Prepare | None = None,
    sharding: Sharding | None = None,
    strict: bool = False,
    config: Config | None = None,
    key: Array | None = None,
    progress: Counter | None = None,
    chunk_size: int | None = None,
) -> Sweep:
    """Explain every picture of a dataset, and keep each result as it comes.

    A sweep that was killed, at any moment, goes on where it stopped when it is started again with the same arguments: no
    picture is lost, and none is done twice but those that were being computed. On CPUs the store is then the same, to
    the last bit, as without the kill. Pictures that cannot be read are recorded and passed by.

    All local devices share each batch. Several processes, on one host or many, each take a shard: with
    `jax.distributed.initialize()` theirs is chosen by their number. They exchange nothing, so that the end of one loses
    nothing of the others.

    Args:
      model: as in `extremal_perturbation`. If it is none of this project's classifiers, give `preprocess`.
      source: a folder of pictures, or another text as `data.open_dataset` takes it; a `data.Dataset`; or any object with
        a length and an index, as `data.IndexableDataset` describes.
      out: the store: a folder, which is made where it is missing, or gs://BUCKET/FOLDER.
      areas: (K,) shares of the image in (0, 1].
      targets: "labels", the classes that a picture shows by its label, each explained by itself; "top", the class of the
        highest score; a class, by index or name, for all; or one for each picture.
      batch_size: the pictures that are computed at a time by this process; None: four for each of its devices. It changes
        no number but by rounding.
      shard: (index, count), the index from 1: every count-th picture; None: by the number of this process among all.
      limit: how many pictures are explained, from the first; None: all.
      masks: "uint8" and "uint16" quantise masks to so many bits; "float32" keeps them as they are.
      preprocess: from a picture (H, W, 3) uint8 to the model's input (h, w, C), floats, of one shape for all; None: the
        model's own.
      sharding: how the images of a batch, (N, h, w, C), are laid out over devices; None: their first axis over all local
        ones.
      strict: stop at a picture that cannot be read.
      config: the settings; None: `Config()`.
      key: for the random part, the same for all pictures; None: `jax.random.key(0)`.
      progress: a function that is called before each batch and at the end, with the numbers of finished and of all
        pictures of the shard.
      chunk_size: as in `extremal_perturbation`.

    Returns:
      The store, opened: all that is there, also of other shards.

    Raises:
      TypeError, ValueError: before any work, for bad arguments, and if the store holds another sweep, with the
        differences; and with `strict` for a picture that cannot be read.
      OSError: if the store cannot be written, or another process runs the same shard. What was finished is kept.

    Example:
      >>> import tempfile
      >>> import extremal_jax as ej
      >>> scenes = ej.data.SceneDataset(2, objects=1)
      >>> model = ej.models.load("scenes")
      >>> found = sweep(model, scenes, tempfile.mkdtemp(), areas=[0.1], config=ej.Config(num_steps=2))
      >>> found[0].masks.shape, found.counts().explained
      ((1, 128, 128), 2)
    """
    index, count = shard_of(shard)
    job = pose(
        model,
        source,
        areas,
        targets,
        config,
        batch_size=batch_size,
        limit=limit,
        masks=masks,
        key=key,
        preprocess=preprocess,
        sharding=sharding,
        chunk_size=chunk_size,
    )
    store = create(out, job.manifest(), [row.name for row in job.rows], job.areas.tolist(), job.layout())
    with claimed(store.location, (index, count)):
        _run(job, store, job.rows[index - 1 :: count], strict, progress)
    return Sweep(store)


def _run(job: Job, store: Store, rows: Sequence[Row], strict: bool, progress: Counter | None) -> None:
    """Explain the rows that are absent, or were skipped before, and write each batch while the next is computed."""
    absent = np.isin(store.statuses(), (State.ABSENT, State.SKIPPED))
    groups = [group for group in job.groups(rows) if any(absent[row.place] for row in group.rows)]
    left = sum(len(group.rows) for group in groups)
    finish: Callable[[], None] | None = None
    try:
        for group, read in read_ahead(groups, job.dataset, job.inputs.prepare):
            if progress is not None:
                progress(len(rows) - left, len(rows))
            fitting = [_fitting(job, row, one, (*group.shape, job.inputs.channels)) for row, one in zip(group.rows, read, strict=True)]
            if strict and (reason := next((one.reason for one in fitting if one.reason), None)):
                raise ValueError(f"{reason}; without strict it is skipped and recorded")
            new = any(absent[row.place] and one.image is not None for row, one in zip(group.rows, fitting, strict=True))
            result = _explained(job, group, fitting) if new else None
            if finish is not None:
                finish()
            finish = _written(job, store, group, fitting, result, absent)
            left -= len(group.rows)
    finally:  # also after an interruption, what was computed is kept
        if finish is not None:
            finish()
    if progress is not None:
        progress(len(rows), len(rows))


def _fitting(job: Job, row: Row, one: Read, shape: tuple[int, int, int]) -> Read:
    """A picture with an input of a shape, of finite floats, and a class to explain; else the reason why it has none."""
    if one.image is None:
        return one
    if one.image.shape != shape:
        return Read(None, one.size, f"the input of {row.name} has the shape {one.image.shape}, and not {shape} like the others")
    if one.image.dtype.kind != "f":
        return Read(None, one.size, f"the input of {row.name} is of {one.image.dtype}, and not of floats")
    if not np.isfinite(one.image).all():
        return Read(None, one.size, f"the input of {row.name} is not finite")
    if job.targets is None and not job.top and row.label == UNKNOWN:
        return Read(None, one.size, f"the labels of {row.name} could not be read")
    return one


def _explained(job: Job, group: Group, read: Sequence[Read]) -> Any:
    """The result of a batch, on the host; None if no picture could be read.

    Pictures that could not be read, and what a batch lacks, are filled with another picture, so that all batches of a
    shape run the same program.
    """
    known = [one.image for one in read if one.image is not None]
    if not known:
        return None
    missing = job.batch_size - len(group.rows)
    filled = [known[0] if one.image is None else one.image for one in read] + [known[0]] * missing
    images = jax.device_put(np.stack(filled), job.sharding)
    if job.top:
        targets = np.asarray(_highest(*partition(job.model, images), images))
    else:
        chosen = [max(row.label, 0) if job.targets is None else job.targets[row.picture] for row in group.rows]
        targets = np.array(chosen + [0] * missing, np.int32)
    result = extremal_perturbation(job.model, images, targets, job.areas, config=job.config, key=job.key, chunk_size=job.chunk_size)
    return jax.device_get(dataclasses.replace(result, masks_with_margin=None))


@functools.partial(jax.jit, static_argnums=0)
def _highest(program: Program, arrays: Arrays, images: Array) -> Array:
    """(N,), the class of the highest score of each image."""
    return image_scores(program(arrays, images)).argmax(axis=-1)


def _written(
    job: Job, store: Store, group: Group, read: Sequence[Read], result: Any, absent: Bool[np.ndarray, " rows"]
) -> Callable[[], None]:
    """Begin to write the pictures of a batch that are absent; what is returned ends it. Those that are there stay as they are."""
    futures: list[Any] = []
    places = [row.place for row in group.rows]
    new = [index for index, place in enumerate(places) if absent[place]]
    good, bad = ([index for index in new if (read[index].image is None) == missing] for missing in (False, True))
    if good:
        values = laid(result, [one.size for one in read], job.masks)
        futures += store.write([places[index] for index in good], {name: value[good] for name, value in values.items()})
    if bad:
        reasons = np.stack([_bytes(read[index].reason) for index in bad])
        futures += store.write([places[index] for index in bad], {"reasons": reasons})
    found = [State.SKIPPED if index in bad else State.EXPLAINED if result[index].status.ok else State.FAULTY for index in new]
    return functools.partial(store.finish, [places[index] for index in new], found, futures)


def _bytes(text: str) -> np.ndarray:
    """A text as UTF-8, cut to the length of the store's reasons."""
    encoded = text.encode(errors="replace")[:REASON_BYTES]
    return np.frombuffer(encoded.ljust(REASON_BYTES, b"\0"), np.uint8)
