"""Channel attribution: the sets found against the best sets, the cost of a step, and the channels that alike classes share. Writes
results/channels.md.

python benchmarks/channels.py                                             # five minutes on two cores
python benchmarks/channels.py --networks 20 --images 2 --rounds 1         # a quick look
"""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import machine
from extremal_jax.boundary.models import part
from extremal_jax.graph import canonical

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
import channel_networks as networks

images_of = runpy.run_path(str(ROOT / "examples" / "channels.py"))["images_of"]
COUNTS = (1, 3, 5)
CHANNELS = 10
LAYER, AREAS = "inception4d", (1, 5, 10, 25, 50, 100)
STEPS = 10  # of the tail alone, that are timed at once
ALIKE = (("dog", "wolf", "fox"), ("car", "bus", "truck"), ("apple", "tomato", "peach"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200, help="random ones, in which all sets are tried")
    parser.add_argument("--rounds", type=int, default=5, help="how often a step is timed")
    parser.add_argument("--images", type=int, default=8, help="of each class")
    parser.add_argument("--at", nargs="+", default=["blocks.1", "blocks.2", "blocks.3"], help="layers of the packaged classifier")
    parser.add_argument("--top", type=int, default=5, help="channels in which the overlap is counted")
    parser.add_argument("--seed", type=int, default=31, help="of everything")
    return parser.parse_args()


def exhaustive_table(options: argparse.Namespace) -> machine.Table:
    """Our sets against the best of all sets."""
    weights = networks.random_weights(options.seed, options.networks, CHANNELS)
    images = networks.random_images(options.seed + 1, options.networks, CHANNELS)

    @jax.jit
    @jax.vmap
    def solve(weights: tuple[jax.Array, ...], image: jax.Array) -> jax.Array:
        model = jax.tree_util.Partial(networks.network, weights)
        return ej.channel_perturbation(model, image, 0, COUNTS, at="x").binary_masks()

    best = networks.best_responses(weights, images, COUNTS)
    ours = networks.responses(weights, images, solve(weights, images))
    good = np.asarray(ours >= best - 0.01 * jnp.abs(best))
    shares = zip(COUNTS, good.mean(axis=0), strict=True)
    rows = [(f"{count} of {CHANNELS}", str(options.networks), f"{share:.1%}", "≥ 95%") for count, share in shares]
    return machine.Table(
        "Against all sets",
        ("channels", "networks", "at least 99 % of the best response", "aim"),
        [*rows, ("all", str(good.size), f"{good.mean():.1%}", "≥ 95%")],
        "Random networks of two hidden layers behind the layer, in which channels excite and inhibit one another; all sets are tried.",
    )


def step_table(options: argparse.Namespace) -> machine.Table:
    """A step of the ascent against the forward pass and the gradient of the tail alone."""
    model = ej.models.load("googlenet", weights=None)
    image = np.random.default_rng(options.seed).standard_normal((224, 224, 3), np.float32)
    parted = part(model, image[None], len(AREAS), LAYER)
    activation = jnp.repeat(parted.activation(image[None]), len(AREAS), axis=0)

    def loop(arrays: list[jax.Array], x: jax.Array) -> jax.Array:
        def turn(x: jax.Array, _: None) -> tuple[jax.Array, None]:  # each turn needs the one before
            return x + 1e-6 * jax.grad(lambda x: parted.tail(arrays, x)[:, 0].sum())(x), None

        return jax.lax.scan(turn, x, None, STEPS)[0]

    looped = jax.jit(canonical(loop))

    def tail() -> float:
        start = time.perf_counter()
        looped(parted.arrays, activation).block_until_ready()
        return (time.perf_counter() - start) / STEPS

    def step() -> float:
        stamps: list[tuple[int, float]] = []
        config = ej.ChannelConfig(num_steps=4 * STEPS, swap_rounds=0)
        watch = lambda now: stamps.append((now.step, time.perf_counter()))  # noqa: E731
        ej.channel_perturbation(model, image, 0, AREAS, at=LAYER, config=config, progress=watch)
        (first, start), (last, end) = stamps[0], stamps[-1]
        return (end - start) / (last - first)

    seconds = machine.alternate({"tail": tail, "step": step}, options.rounds)
    rows = [
        ("the tail alone, ms", machine.milliseconds(seconds["tail"]), ""),
        ("a step, ms", machine.milliseconds(seconds["step"]), ""),
        ("a step ÷ the tail", machine.ratio(seconds["tail"], seconds["step"]), "≤ 1.15"),
    ]
    note = f"GoogLeNet behind {LAYER}, {len(AREAS)} sets of one image; the tail alone is its forward pass and the gradient of its input."
    return machine.Table("A step", ("", "median (range)", "aim"), rows, note)


def overlap_tables(options: argparse.Namespace) -> list[machine.Table]:
    """Do classes that are easily confused share more of their top channels than others?"""
    model = ej.models.load("scenes")
    names = [name for group in ALIKE for name in group]
    images, targets = images_of(names, options.images, options.seed, model)
    group = {model.classes.index(name): index for index, members in enumerate(ALIKE) for name in members}
    rows, tables = [], []
    for at in options.at:
        found = ej.class_channels(model, images, targets, at=at, threshold=0.9)
        groups = np.array([group[index] for index in found.classes])
        first, second = np.triu_indices(len(groups), 1)
        alike = groups[first] == groups[second]
        shared = found.overlap(options.top)[first, second]
        counts = f"{np.median(found.counts[found.reached]):.0f} of {found.attributions.shape[1]}"
        rows.append((at, f"{found.reached.mean():.0%}", counts, f"{shared[alike].mean():.1%}", f"{shared[~alike].mean():.1%}"))
        tops = zip(found.classes, found.top(options.top), strict=True)
        channels = [(model.classes[int(index)], " ".join(map(str, top[top >= 0]))) for index, top in tops]
        tables.append(machine.Table(f"Their top channels at {at}", ("class", "channels, the highest first"), channels))
    note = (
        f"The packaged classifier, {options.images} scenes of one object for each class, seed {options.seed}: the share of their"
        f" {options.top} top channels that two classes have in common, in the mean over {alike.sum()} pairs that are alike"
        f" ({'; '.join('/'.join(members) for members in ALIKE)}) and {(~alike).sum()} others. Reached: the share of images that find a"
        f" set with 90 % of the response; a*: the median size of the smallest of them."
    )
    return [machine.Table("Classes that are alike", ("layer", "reached", "a*", "alike", "others"), rows, note), *tables]


def main() -> None:
    options = parse()
    machine.warn_if_busy()
    tables = [exhaustive_table(options), step_table(options), *overlap_tables(options)]
    machine.report("channels", "Channel attribution", tables)


if __name__ == "__main__":
    main()
