"""What a sweep costs, from a few steps measured on this machine: time, files, and what bounds the run."""

from __future__ import annotations

import dataclasses
import io
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from extremal_jax.boundary.areas import USUAL_AREAS
from extremal_jax.boundary.models import Model
from extremal_jax.extremal.candidates import stages
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation
from extremal_jax.graph.functional import partition
from extremal_jax.ground.checks import check_choice, check_count, check_positive, check_share, find
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.sweeps.inputs import Prepare
from extremal_jax.sweeps.job import TOP, Job, pose
from extremal_jax.sweeps.layout import State, laid
from extremal_jax.sweeps.store import AREAS as AREA_NAMES, NAMES, create

_PHOTOGRAPH = (375, 500)  # (height, width) of one of ImageNet's
_READERS = 8  # threads that read, at most
_STEPS = 10  # of the run that is measured
_LONG = 10  # seconds, after which a measurement is not repeated
_BLOCK = 4096  # bytes of a small file or a folder on most disks


class Accelerator(NamedTuple):
    """A kind of chip, and its published dense peak."""

    tflops: float
    description: str


# Published by cloud.google.com/tpu/docs, and by NVIDIA's data sheets, whose numbers with sparsity are halved. At JAX's
# default precision, products of float32 are computed in bfloat16 on a TPU, and in TF32 on a GPU.
ACCELERATORS = {
    "v5e": Accelerator(197, "TPU v5e"),
    "v5p": Accelerator(459, "TPU v5p"),
    "v6e": Accelerator(918, "TPU v6e"),
    "a100": Accelerator(156, "NVIDIA A100, weights of float32"),
    "a100-bfloat16": Accelerator(312, "NVIDIA A100, weights of bfloat16"),
    "h100": Accelerator(494, "NVIDIA H100 SXM, weights of float32"),
    "h100-bfloat16": Accelerator(989, "NVIDIA H100 SXM, weights of bfloat16"),
}


@dataclass(frozen=True)
class Estimate:
    """The whole sweep on some devices."""

    where: str  # the devices, and what the number rests on
    masks_per_second: float  # by the model's arithmetic
    hours: float
    bound: str  # what takes longest


@dataclass(frozen=True)
class Plan:
    """What a sweep costs; `print` shows it."""

    model: str
    size: tuple[int, int]  # (height, width) of its input
    pictures: int
    areas: int
    num_steps: int
    batch_size: int
    passes: tuple[int, int]  # of the model per mask: forward and backward, and forward only
    mask_flops: float  # of these passes, by XLA's count, which counts the body of a loop once
    step_seconds: float  # of a batch: its share of a measured run of few steps, by operations
    batch_seconds: float  # of a batch: that run's, times the operations that a whole run has more
    read_seconds: float  # of a JPEG file of 375x500 pixels, on one core, measured
    write_seconds: float  # of a picture's results, to the folder for temporary files, measured
    store_bytes: int
    store_files: int
    disk_bytes: int  # of the store in blocks of 4 KiB
    runs: tuple[Estimate, ...]  # on this machine, and elsewhere

    def __str__(self) -> str:
        size, (both, forward) = "x".join(map(str, self.size)), self.passes
        lines = [
            f"{self.pictures:,} pictures x {self.areas} areas, {self.model} at {size}, {self.num_steps} steps",
            f"passes per mask: {both} forward and backward, {forward} forward; {self.mask_flops / 1e9:.3g} GFLOP",
            f"measured: {self.step_seconds:.3g} s a step, {self.batch_seconds:.3g} s a batch of {self.batch_size} pictures",
            f"measured: {self.read_seconds * 1e3:.3g} ms to read a picture, {self.write_seconds * 1e3:.3g} ms to write its results",
            f"store: {self.store_bytes / 1e9:.3g} GB in {self.store_files:,} files",
            f"store on a disk with blocks of 4 KiB: {self.disk_bytes / 1e9:.3g} GB",
        ]
        runs = [f"{run.where}: {run.masks_per_second:.3g} masks/s, {run.hours:.3g} hours, bound by {run.bound}" for run in self.runs]
        return "\n  ".join(lines + runs)


def plan(
    model: Model,
    *,
    pictures: int = 50_000,
    areas: Any = USUAL_AREAS,
    config: Config | None = None,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    preprocess: Prepare | None = None,
    devices: int = 1,
    rate: float | None = None,
    speedup: float | None = None,
    accelerator: str | None = None,
    utilisation: float = 0.3,
) -> Plan:
    """Measure a few steps of a sweep on this machine, and compute what all of it costs here and elsewhere.

    Elsewhere, one host is assumed that reads in eight threads, each as fast as a core here, and writes as fast.

    Args:
      model, areas, config, batch_size, chunk_size, preprocess: as in `sweep`; no schedule may be an array.
      pictures: how many the sweep has.
      devices: how many there are elsewhere.
      rate: masks per second of one of them, if you have measured it.
      speedup: how many times as fast as this machine one is.
      accelerator: a key of `ACCELERATORS`, for an estimate from its published peak.
      utilisation: the share of the peak that the estimate assumes, in (0, 1]. Nothing here measures it.

    Returns:
      What was measured, and what follows from it. `print` shows it.

    Raises:
      TypeError, ValueError: for bad arguments.

    Example:
      >>> import extremal_jax as ej
      >>> print(plan(ej.models.load("scenes"), accelerator="v5e", devices=8))  # doctest: +SKIP
    """
    for name, count in dict(pictures=pictures, devices=devices, batch_size=batch_size or 1).items():
        check_count(name, count, 1)
    check_positive("rate", 1 if rate is None else rate)
    check_positive("speedup", 1 if speedup is None else speedup)
    check_choice("accelerator", accelerator or "v5e", ACCELERATORS)
    check_share("utilisation", utilisation, "the peak")
    check_positive("utilisation", utilisation)
    options: Any = dict(limit=None, masks="uint8", key=None, preprocess=preprocess, sharding=None, chunk_size=chunk_size)
    source = [_photograph()] * (batch_size or 4 * len(jax.local_devices()))
    job = pose(model, source, areas, TOP, config, batch_size=batch_size, **options)
    image = job.inputs.prepare(job.dataset[0].load())
    shape, num_areas = (image.shape[0], image.shape[1]), len(job.areas)
    seconds, result = _computed(job, np.stack([image] * job.batch_size))
    write, *store = _stored(job, result)
    read = _seconds(lambda: job.inputs.prepare(job.dataset[0].load()))
    whole, few = (passes(config, shape, num_areas) for config in (job.config, result.config))
    operations = _flops(job)
    flops = float(operations @ whole)
    per_flop = seconds / float(operations @ few)
    step, batch = per_flop * float(operations[0]) * few[0] / result.config.num_steps, per_flop * flops
    here = job.batch_size * num_areas / batch

    def estimate(where: str, speed: float, readers: int = _READERS) -> Estimate:
        times = {"the model's arithmetic": num_areas / speed, "reading": read / readers, "writing": write}
        bound = max(times, key=lambda name: times[name])
        return Estimate(where, speed, pictures * times[bound] / 3600, bound)

    runs = [estimate(f"this machine ({jax.default_backend()})", here, min(_READERS, os.cpu_count() or 1))]
    if rate is not None:
        runs.append(estimate(f"{devices} x {rate:g} masks/s", devices * rate))
    if speedup is not None or (devices > 1 and rate is None and accelerator is None):
        runs.append(estimate(f"{devices} x {speedup or 1:g} times this machine", devices * here * (speedup or 1)))
    if accelerator is not None:
        peak = ACCELERATORS[accelerator].tflops
        where = f"estimate for {devices} x {accelerator} at {utilisation:.0%} of {peak:g} TFLOP/s"
        runs.append(estimate(where, devices * peak * 1e12 * utilisation / flops))
    sweep = (getattr(model, "name", None) or type(model).__name__, shape, pictures, num_areas, job.config.num_steps, job.batch_size)
    total, files, disk = (round(pictures * one) for one in store)
    return Plan(*sweep, whole, flops, step, batch, read, write, total, files, disk, tuple(runs))


def passes(config: Config, shape: tuple[int, int], areas: int) -> tuple[int, int]:
    """The passes of the model per mask: forward and backward in the steps; forward only to choose among candidates and
    masks of other areas, and to evaluate the result.

    Example:
      >>> passes(Config(), (224, 224), 4), passes(Config(), (224, 224), 1), passes(Config.thorough(), (224, 224), 1)
      ((50, 11), (50, 3), (176, 9))
    """
    exchange = config.resolve(shape).exchange and areas > 1
    planned = stages(config.candidates, config.num_steps, exchange)
    begins = [0, *(end for _, end in planned)]
    both = sum(count * (end - begin) for (count, end), begin in zip(planned, begins, strict=False))
    judged = planned if len(planned) > 1 and exchange else planned[:-1]
    forward = 3 + sum(count * (areas if exchange else 1) for count, _ in judged)
    terms = len(find("game", config.game, GAMES, Game).terms)
    return terms * both, terms * forward


def _computed(job: Job, images: np.ndarray) -> tuple[float, Any]:
    """Seconds of a run of a batch that has few steps, and its result."""
    few = max(_STEPS, 2 ** (job.config.candidates - 1).bit_length())
    config = dataclasses.replace(job.config, num_steps=min(few, job.config.num_steps))

    def run() -> Any:
        batch, targets = jax.device_put(images, job.sharding), np.zeros(len(images), np.int32)
        return jax.device_get(extremal_perturbation(job.model, batch, targets, job.areas, config=config, chunk_size=job.chunk_size))

    result = run()  # compiles
    return _seconds(run), result


def _stored(job: Job, result: Any) -> tuple[float, float, float, float]:
    """What a picture takes in a store: seconds to write it, bytes, files, bytes in blocks."""
    count, more = len(job.rows), (job.config.num_steps - result.config.num_steps) * len(job.areas) * 8  # bytes of the steps not run
    short, values = dataclasses.replace(job, config=result.config), laid(result, [_PHOTOGRAPH] * count, job.masks)
    with tempfile.TemporaryDirectory() as folder:
        store = create(folder, short.manifest(), [row.name for row in job.rows], job.areas.tolist(), short.layout())
        seconds = _seconds(lambda: store.finish(range(count), [State.EXPLAINED] * count, store.write(range(count), values)))
        sizes = [path.stat().st_size for path in Path(folder).glob("*/c.*") if path.parent.name not in (NAMES, AREA_NAMES)]
    blocks = sum(-(-size // _BLOCK) for size in sizes)
    return seconds / count, sum(sizes) / count + more, len(sizes) / count, blocks * _BLOCK / count + more


def _flops(job: Job) -> np.ndarray:
    """(2,), operations of the model for an image, forward and backward, and forward."""
    program, arrays = partition(job.model, job.example())
    shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]
    gradient = jax.value_and_grad(lambda arrays, images: program(arrays, images).sum(), argnums=1)
    lowered = [jax.jit(function).lower(shapes, job.example()) for function in (gradient, program)]
    found: list[Any] = [one.cost_analysis() or one.compile().cost_analysis() for one in lowered]  # some backends count only the latter
    return np.array([one["flops"] for one in found])


def _photograph() -> bytes:
    """A JPEG file with about the pixels and the bytes of a photograph of ImageNet."""
    rng, (height, width) = np.random.default_rng(0), _PHOTOGRAPH
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.clip(np.asarray(coarse) + rng.normal(0, 15, (height, width, 1)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=90)
    return file.getvalue()


def _seconds(function: Callable[..., Any], *arguments: Any, most: int = 3) -> float:
    """The least seconds of some calls, up to `most`, or fewer if they take long."""
    found: list[float] = []
    while len(found) < most and sum(found) < _LONG:
        begin = time.perf_counter()
        function(*arguments)
        found.append(time.perf_counter() - begin)
    return min(found)
