"""Train the packaged scenes classifier: about twenty-five minutes on two cores.

    python examples/scenes/train.py                           # trains, measures, and writes extremal_jax/models/pretrained/scenes.*
    python examples/scenes/train.py --steps 20 --out out   # a quick look

Every batch is generated afresh from the seed and its number. The state is saved as it goes: the same command, run again after an
interruption, goes on from there and ends with the same weights.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.numpy import load_file, save_file

from extremal_jax.data.scenes import CLASSES, generate
from extremal_jax.ground.files import whole_file
from extremal_jax.models.formats.safetensors import tensor_names
from extremal_jax.models.networks.scenes import LAYOUT, MEAN, SIZE, STD, ScenesNetwork

PRETRAINED = Path(__file__).parents[2] / "extremal_jax" / "models" / "pretrained"


class State(NamedTuple):
    step: jax.Array
    parameters: nnx.State
    statistics: nnx.State
    optimizer: optax.OptState


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--peak", type=float, default=4e-3, help="highest learning rate of the one-cycle schedule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluation-seed", type=int, default=1)
    parser.add_argument("--evaluation-scenes", type=int, default=2000)
    parser.add_argument("--save-every", type=int, default=100, help="steps between saved states")
    parser.add_argument("--out", type=Path, default=PRETRAINED, help="folder for scenes.safetensors and scenes.json")
    return parser.parse_args(arguments)


def batch(seed: int, size: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    scenes = generate(seed, size, SIZE, first=index * size)
    return scenes.images, scenes.labels


def batches(seed: int, size: int, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches `start` to `stop`, generated ahead in another process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        ahead: list[Future[tuple[np.ndarray, np.ndarray]]] = []
        for index in range(start, stop):
            while len(ahead) < 4 and index + len(ahead) < stop:
                ahead.append(pool.submit(batch, seed, size, index + len(ahead)))
            yield ahead.pop(0).result()


def normalized(images: jax.Array) -> jax.Array:
    return (images / 255.0 - MEAN) / STD


def names(tree: Any) -> list[str]:
    """The names of a tree's arrays in files, as `extremal_jax.models.load` expects those of the network."""
    return [LAYOUT.name(path) for path in tensor_names(tree)]


def save(path: Path, tree: Any) -> None:
    """Write a tree's arrays under their names."""
    with whole_file(path) as temporary:
        save_file(dict(zip(names(tree), map(np.asarray, jax.tree.leaves(tree)), strict=True)), temporary)


def restore(tree: State, path: Path) -> State:
    """The tree with the arrays that `save` wrote."""
    arrays = load_file(path)
    return jax.tree.unflatten(jax.tree.structure(tree), [jnp.asarray(arrays[name]) for name in names(tree)])


def train(options: argparse.Namespace) -> nnx.Module:
    network = ScenesNetwork(len(CLASSES), rngs=nnx.Rngs(options.seed))
    structure, parameters, statistics = nnx.split(network, nnx.Param, ...)
    schedule = optax.cosine_onecycle_schedule(options.steps, options.peak)
    optimizer = optax.adamw(schedule, weight_decay=1e-2, mask=lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree))

    def loss(parameters: nnx.State, statistics: nnx.State, images: jax.Array, labels: jax.Array) -> Any:
        network = nnx.merge(structure, parameters, statistics, copy=True)
        logits = network(normalized(images))
        updated = nnx.split(network, nnx.Param, ...)[2]
        return optax.sigmoid_binary_cross_entropy(logits, labels).sum(-1).mean(), updated

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
        (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters, state.statistics, images, labels)
        updates, moments = optimizer.update(gradient, state.optimizer, state.parameters)
        return State(state.step + 1, optax.apply_updates(state.parameters, updates), statistics, moments), value

    state = State(jnp.zeros((), jnp.int32), parameters, statistics, optimizer.init(parameters))
    saved = options.out / f"training-{options.seed}-{options.batch}x{options.steps}-{options.peak}.safetensors"
    if saved.exists():
        state = restore(state, saved)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("training", total=options.steps, completed=int(state.step))
        for images, labels in batches(options.seed, options.batch, int(state.step), options.steps):
            state, value = update(state, images, labels)
            step = int(state.step)
            progress.update(task, advance=1, description=f"loss {value:.4f}")
            if step % options.save_every == 0:
                save(saved, state)
                progress.console.print(f"step {step}: loss {value:.4f}")
    network = nnx.merge(structure, state.parameters, state.statistics)
    save(options.out / "scenes.safetensors", network)
    saved.unlink(missing_ok=True)
    return network


def evaluate(network: nnx.Module, seed: int, count: int) -> dict[str, float]:
    """Shares of labels and of whole scenes that are right, on fresh scenes."""
    network.eval()
    predict = nnx.jit(lambda network, images: network(normalized(images)) > 0)
    right = [np.asarray(predict(network, images)) == labels for images, labels in batches(seed, min(count, 100), 0, -(-count // 100))]
    labels = np.concatenate(right)[:count]
    return dict(labels_right=float(labels.mean()), scenes_right=float(labels.all(axis=1).mean()))


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    network = train(options)
    measured = evaluate(network, options.evaluation_seed, options.evaluation_scenes)
    record = dict(
        classes=list(CLASSES),
        **measured,
        evaluation=f"{options.evaluation_scenes} fresh scenes of 1 to 3 objects, {SIZE}x{SIZE}, seed {options.evaluation_seed}",
        command=(
            f"python examples/scenes/train.py --steps {options.steps} --batch {options.batch} --peak {options.peak}"
            f" --seed {options.seed} --evaluation-seed {options.evaluation_seed}"
        ),
    )
    with whole_file(options.out / "scenes.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
