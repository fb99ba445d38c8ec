"""The loop that trains the packaged classifiers of clips and series. `train_moving_scenes.py` and `train_series.py` call it."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from safetensors.numpy import save_file

from extremal_jax.ground.files import whole_file
from extremal_jax.models.formats.safetensors import tensor_names

PRETRAINED = Path(__file__).parents[2] / "extremal_jax" / "models" / "pretrained"
Batch = tuple[np.ndarray, np.ndarray]  # inputs, prepared, and labels
Data = Callable[..., Batch]  # of a seed, a count and the index of the first


def parse(description: str | None, arguments: list[str] | None, **defaults: Any) -> argparse.Namespace:
    """The options, whose defaults made the packaged weights."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=defaults["steps"])
    parser.add_argument("--batch", type=int, default=defaults["batch"])
    parser.add_argument("--peak", type=float, default=defaults["peak"], help="highest learning rate of the one-cycle schedule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluation-seed", type=int, default=1)
    parser.add_argument("--evaluation-count", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=PRETRAINED, help="folder for the weights and their record")
    return parser.parse_args(arguments)


def batches(data: Data, seed: int, size: int, count: int) -> Iterator[Batch]:
    """Batches from 0 to `count`, each generated while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(data, seed, size, 0)
        for index in range(count):
            batch = ahead.result()
            if index + 1 < count:
                ahead = pool.submit(data, seed, size, (index + 1) * size)
            yield batch


def train(network: nnx.Module, data: Data, options: argparse.Namespace) -> nnx.Module:
    """The network after `options.steps` steps on fresh batches."""
    structure, parameters, statistics = nnx.split(network, nnx.Param, ...)
    schedule = optax.cosine_onecycle_schedule(options.steps, options.peak)
    optimizer = optax.adamw(schedule, weight_decay=1e-2, mask=lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree))

    def loss(parameters: nnx.State, statistics: nnx.State, inputs: jax.Array, labels: jax.Array) -> Any:
        network = nnx.merge(structure, parameters, statistics, copy=True)
        logits = network(inputs)
        return optax.sigmoid_binary_cross_entropy(logits, labels).sum(-1).mean(), nnx.split(network, nnx.Param, ...)[2]

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(parameters: Any, statistics: Any, moments: Any, inputs: jax.Array, labels: jax.Array) -> Any:
        (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(parameters, statistics, inputs, labels)
        updates, moments = optimizer.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, updates), statistics, moments, value

    moments = optimizer.init(parameters)
    for step, (inputs, labels) in enumerate(batches(data, options.seed, options.batch, options.steps), 1):
        parameters, statistics, moments, value = update(parameters, statistics, moments, inputs, labels)
        if step % 100 == 0:
            print(f"step {step}: loss {value:.4f}", flush=True)
    return nnx.merge(structure, parameters, statistics)


def evaluate(network: nnx.Module, data: Data, seed: int, count: int) -> dict[str, float]:
    """Shares of labels and of whole inputs that are right, on fresh data."""
    network.eval()
    predict = nnx.jit(lambda network, inputs: network(inputs) > 0)
    size = min(count, 100)
    right = [np.asarray(predict(network, inputs)) == labels for inputs, labels in batches(data, seed, size, -(-count // size))]
    labels = np.concatenate(right)[:count]
    return dict(labels_right=float(labels.mean()), all_labels_right=float(labels.all(axis=1).mean()))


def run(name: str, script: str, network: nnx.Module, data: Data, classes: tuple[str, ...], what: str, options: argparse.Namespace) -> None:
    """Train, round the weights to 16 bits, measure them, and write NAME.safetensors and NAME.json."""
    options.out.mkdir(parents=True, exist_ok=True)
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), train(network, data, options))
    with whole_file(options.out / f"{name}.safetensors") as temporary:
        save_file(dict(zip(tensor_names(network), map(np.asarray, jax.tree.leaves(network)), strict=True)), temporary)
    measured = evaluate(
        jax.tree.map(lambda leaf: leaf.astype(jnp.float32), network), data, options.evaluation_seed, options.evaluation_count
    )
    record = dict(
        classes=list(classes),
        **measured,
        evaluation=f"{options.evaluation_count} fresh {what}, seed {options.evaluation_seed}",
        command=(
            f"python examples/along_time/{script} --steps {options.steps} --batch {options.batch} --peak {options.peak}"
            f" --seed {options.seed} --evaluation-seed {options.evaluation_seed}"
        ),
    )
    with whole_file(options.out / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(measured))
