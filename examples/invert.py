"""Feature inversion of scenes of two objects: from all channels of a layer, from those that favour one object, and
from the others.

python examples/invert.py --out out
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    parser.add_argument("--scenes", type=int, default=3, help="number of scenes")
    parser.add_argument("--steps", type=int, default=150, help="optimisation steps")
    parser.add_argument("--seed", type=int, default=5, help="seed of the scenes and of the run")
    parser.add_argument("--at", default="blocks.2", help="the layer")
    options = parser.parse_args()

    model = ej.models.load("scenes")
    scenes = ej.data.scenes.generate(options.seed, options.scenes, objects=2, first=1)
    images = jnp.asarray(np.stack([model.preprocess(scene) for scene in scenes.images]))
    target, neighbour = np.array([np.flatnonzero(labels) for labels in scenes.labels]).T

    # The model in two parts, up to the layer and from there on.
    parts = ej.graph.split(model, options.at, images)
    activation = parts.before(images)

    def difference(activation: jax.Array) -> jax.Array:
        scores = parts.after(activation)
        rows = jnp.arange(len(images))
        return (scores[rows, target] - scores[rows, neighbour]).sum()

    # The first-order contribution of each channel to the difference of the two scores. An eighth is kept.
    gains = (jax.grad(difference)(activation) * activation).sum(axis=(1, 2))
    kept = gains >= jnp.sort(gains, axis=1)[:, -gains.shape[1] // 8, None]

    result = ej.invert_features(
        model,
        jnp.concatenate([activation] * 3),
        jnp.concatenate([jnp.ones_like(kept), kept, ~kept]).astype(jnp.float32),
        at=options.at,
        config=ej.InversionConfig(num_steps=options.steps, prior=ej.NaturalImages(total_variation=1.0)),
        key=jax.random.key(options.seed),
        progress=True,
    )
    print(result.status)
    everything, shown, dropped = np.split(np.asarray(result.images), 3)
    for t, n, scores in zip(target, neighbour, model((shown - 0.5) / 0.25), strict=True):
        print(f"the kept channels show {model.classes[t]} ({scores[t]:.1f}), not {model.classes[n]} ({scores[n]:.1f})")

    options.out.mkdir(parents=True, exist_ok=True)
    columns = {"all channels": everything, "kept channels": shown, "dropped channels": dropped}
    path = options.out / "inversion.png"
    ej.plots.inversion(model.preprocessing.picture(images), columns).savefig(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
