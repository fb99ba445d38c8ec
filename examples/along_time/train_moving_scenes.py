"""Train the packaged classifier of moving scenes: some minutes on two cores.

    python examples/along_time/train_moving_scenes.py                           # writes extremal_jax/models/pretrained/moving_scenes.*
    python examples/along_time/train_moving_scenes.py --steps 20 --out out   # a quick look

Every batch is generated afresh from the seed and its number.
"""

from __future__ import annotations

import numpy as np
from flax import nnx
from training import Batch, parse, run

from extremal_jax.data.along_time.moving_scenes import CLASSES, generate
from extremal_jax.models.networks.along_time.moving_scenes import MEAN, SHAPE, STD, MovingScenesNetwork


def data(seed: int, count: int, first: int) -> Batch:
    """Clips as the network takes them, and their labels."""
    moving = generate(seed, count, SHAPE[1], SHAPE[0], first=first)
    return (moving.clips.astype(np.float32) / 255 - MEAN) / STD, moving.labels


def main(arguments: list[str] | None = None) -> None:
    options = parse(__doc__, arguments, steps=1300, batch=24, peak=8e-3)
    network = MovingScenesNetwork(len(CLASSES), rngs=nnx.Rngs(options.seed))
    what = f"clips of 1 or 2 objects, {'x'.join(map(str, SHAPE))}"
    run("moving_scenes", "train_moving_scenes.py", network, data, CLASSES, what, options)


if __name__ == "__main__":
    main()
