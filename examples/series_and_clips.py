"""Explain a series with a planted event and a clip with a moving disc, and draw both.

    python examples/series_and_clips.py --out out

Both models are a few lines of JAX, so that the truth is known: the first sees a rise of one feature, the second a red
disc, and the masks must find when and where.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array

import extremal_jax as ej


def rising(series: Array) -> Array:
    """(B, time, feature) -> (B, 1): the largest rise of the third feature over ten steps."""
    return (series[:, 10:, 2] - series[:, :-10, 2]).max(axis=1, keepdims=True)


def reddest(clips: Array) -> Array:
    """(B, time, height, width, channel) -> (B, 1): how much of the clip is red."""
    red = jnp.maximum(clips[..., 0] - jnp.maximum(clips[..., 1], clips[..., 2]) - 0.3, 0)
    return red.sum(axis=(1, 2, 3))[:, None]


def series_with_an_event(rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(0, 0.3, (120, 4)).cumsum(axis=0) * 0.2
    values[60:, 2] += 3 / (1 + np.exp(-(np.arange(60) - 5) / 1.5))
    return values.astype(np.float32)


def clip_of_a_disc(rng: np.random.Generator) -> np.ndarray:
    """A red disc that crosses the second half of a grey, noisy clip."""
    clip = rng.normal(0.5, 0.05, (16, 48, 64, 3))
    rows, columns = np.mgrid[:48, :64]
    for frame in range(6, 14):
        clip[frame, (rows - 24) ** 2 + (columns - 8 - 5 * (frame - 6)) ** 2 < 36] = 0.9, 0.15, 0.1
    return clip.clip(0, 1).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the pictures")
    parser.add_argument("--steps", type=int, default=50, help="of each run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    series = series_with_an_event(rng)
    config = ej.Config(perturbation="past_mean", num_steps=options.steps)
    result = ej.extremal_perturbation(rising, series, 0, areas=[0.03, 0.1], axes="series", config=config)
    print(f"series: {result.status.message}, rewards {result.rewards.round(2)}, of the whole series {result.image_rewards:.2f}")
    ej.plots.series(series, result, ["a rise of feature 2"]).savefig(options.out / "series.png")

    clip = clip_of_a_disc(rng)
    config = ej.Config(num_steps=options.steps)
    result = ej.extremal_perturbation(reddest, clip, 0, areas=[0.01, 0.03], axes="video", config=config)
    print(f"clip: {result.status.message}, rewards {result.rewards.round(2)}, of the whole clip {result.image_rewards:.2f}")
    ej.plots.slices(clip, result, ["a red disc"]).savefig(options.out / "clip.png")


if __name__ == "__main__":
    main()
