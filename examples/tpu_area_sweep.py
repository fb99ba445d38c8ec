"""The mean reward of each area over a dataset: one script for a CPU, for GPUs, and for every host of a TPU slice.

    python examples/tpu_area_sweep.py --out out
    python examples/tpu_area_sweep.py --source photographs --model efficientnet_lite0 --limit 5000 --out gs://bucket/sweep

Every process of a job runs it with the same arguments and explains its share of the pictures. A run that was stopped
goes on when it is started again. docs/sweeps.md shows how to launch it.
"""

from __future__ import annotations

import argparse
import os

import jax
import numpy as np

import extremal_jax as ej


def join() -> None:
    """Join the other processes of the job, before anything is computed; a process that has no others stays alone.

    JAX finds the jobs of Slurm, Open MPI, TPU slices and Kubernetes by itself, and reads JAX_COORDINATOR_ADDRESS. The two
    numbers it does not read, so they are read here.
    """
    count, index = (os.environ.get(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    try:
        jax.distributed.initialize(
            num_processes=None if count is None else int(count),
            process_id=None if index is None else int(index),
            shutdown_timeout_seconds=86_400,  # shards end at different times
        )
    except ValueError:  # no coordinator is known
        if count or index or "JAX_COORDINATOR_ADDRESS" in os.environ:
            raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="scenes", help="a folder of pictures, or another dataset as `extremal-jax sweep` takes it")
    parser.add_argument("--model", default="scenes", help="a classifier; `extremal-jax models` lists them")
    parser.add_argument("--areas", nargs="+", type=float, default=[0.025, 0.05, 0.1, 0.2], help="shares of the image")
    parser.add_argument("--targets", default="top", help="`top`, `labels`, or a class for all")
    parser.add_argument("--steps", type=int, default=10, help="optimisation steps; the library's default is 50")
    parser.add_argument("--limit", type=int, default=8, help="the first so many pictures")
    parser.add_argument("--batch-size", type=int, help="pictures at a time in each process")
    parser.add_argument("--out", default="out", help="folder, or gs://BUCKET/FOLDER, which several hosts share")
    options = parser.parse_args()

    join()
    index, count = jax.process_index(), jax.process_count()
    first = index == 0
    if first:
        print(f"{count} processes, {jax.local_device_count()} devices here: {jax.devices()[0].device_kind}")
    found = ej.sweep(
        ej.models.load(options.model),
        options.source,
        f"{options.out.rstrip('/')}/area-sweep",
        areas=options.areas,
        targets=options.targets,
        config=ej.Config(num_steps=options.steps),
        batch_size=options.batch_size,
        limit=options.limit,
        progress=(lambda done, total: print(f"{done} of {total} pictures")) if first else None,
    )
    if not first:
        return

    results = [found[picture] for picture in found.done() if picture % count == index]
    if not results:
        raise SystemExit(f"no picture was explained; `extremal-jax sweep --status {options.out}/area-sweep` says why")
    rewards, whole = np.array([one.rewards for one in results]), np.array([one.image_rewards for one in results])
    print(f"\n{found}, of which this process explained {len(results)}; response to the whole image {whole.mean():.2f}")
    print("area   mean reward")
    for area, mean in zip(found.areas, rewards.mean(axis=0), strict=True):
        print(f"{area:5.1%}  {mean:.2f}")


if __name__ == "__main__":
    main()
