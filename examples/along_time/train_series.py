"""Train the packaged classifier of series: about a minute on two cores.

    python examples/along_time/train_series.py                           # writes extremal_jax/models/pretrained/series.*
    python examples/along_time/train_series.py --steps 20 --out out   # a quick look

Every batch is generated afresh from the seed and its number.
"""

from __future__ import annotations

from flax import nnx
from training import Batch, parse, run

from extremal_jax.data.along_time.series import CLASSES, generate
from extremal_jax.models.networks.along_time.series import SHAPE, SeriesNetwork


def data(seed: int, count: int, first: int) -> Batch:
    """Series and their labels."""
    planted = generate(seed, count, *SHAPE, first=first)
    return planted.values, planted.labels


def main(arguments: list[str] | None = None) -> None:
    options = parse(__doc__, arguments, steps=2500, batch=64, peak=1e-2)
    network = SeriesNetwork(len(CLASSES), rngs=nnx.Rngs(options.seed))
    what = f"series of 1 or 2 events, {'x'.join(map(str, SHAPE))}"
    run("series", "train_series.py", network, data, CLASSES, what, options)


if __name__ == "__main__":
    main()
