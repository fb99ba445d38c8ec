"""Inputs of other axes than images whose salient entries are known exactly, with models that look for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

import extremal_jax as ej

SIDE, SALIENT = 50, 5  # times and features of the rare tests, and how many of either are salient
VOLUME, BALL = (20, 24, 24), 3  # sides, and the radius of a ball
SPECTROGRAM, TONE = (64, 32), (20, 2)  # times and frequencies, of a spectrogram and of a tone


class Known(NamedTuple):
    """Inputs and their salient entries.

    Attributes:
      axes: what the inputs are, as `extremal_jax.extremal_perturbation` takes it.
      values: (N, ...).
      regions: (N, ...) of the shape of maps, True where an entry is salient.
      model: from inputs to scores (B, classes).
      targets: (N,), class indices.
    """

    axes: str
    values: np.ndarray
    regions: np.ndarray
    model: Callable[[Any], Any]
    targets: np.ndarray

    @property
    def area(self) -> float:
        """The mean share of an input that is salient."""
        return float(self.regions.mean())


def rare(seed: int, count: int, kind: str) -> Known:
    """Series of an autoregressive process, and regressors that sum, at each time, the squares of the salient entries: five features over
    the middle half of the times (`kind` is "features"), or five times of the middle half of the features ("times"). The scores (B, N) are
    minus the mean squared error of each series' own regressor from its outputs for the series itself.

    Source: Crabbé and van der Schaar, "Explaining Time Series Predictions with Dynamic Masks", ICML 2021, section 4.1.
    """
    rng = np.random.default_rng(seed)
    values = lfilter([2.0], [2.0, 0.5, 0.2, 0.1], rng.standard_normal((count, SIDE, SIDE)), axis=1).astype(np.float32)
    regions = np.zeros(values.shape, bool)
    middle = slice(SIDE // 4, 3 * SIDE // 4)
    for region in regions:
        if kind == "features":
            region[middle, rng.permutation(SIDE)[:SALIENT]] = True
        else:
            first = rng.integers(SIDE - SALIENT)
            region[first : first + SALIENT, middle] = True
    wanted = (values**2 * regions).sum(axis=2)

    def model(x: Any) -> Any:
        return -((jnp.einsum("btf,ntf->bnt", x**2, regions.astype(np.float32)) - wanted) ** 2).mean(axis=2)

    return Known("series", values, regions, model, np.arange(count))


def events(seed: int, count: int) -> Known:
    """Series of two planted events of different classes, for the packaged classifier; one of them is the target."""
    series = ej.data.series.generate(seed, count, events=2)
    return packaged("series", "series", series, series.values)


def moving_scenes(seed: int, count: int) -> Known:
    """Clips of two moving objects of different classes, for the packaged classifier; one of them is the target."""
    clips = ej.data.moving_scenes.generate(seed, count, objects=2)
    return packaged("video", "moving_scenes", clips, clips.clips)


def packaged(axes: str, name: str, generated: Any, inputs: np.ndarray) -> Known:
    """Generated inputs for a packaged classifier; of each, the first of its classes is the target."""
    model, targets = ej.models.load(name), generated.labels.argmax(axis=1)
    values = np.stack([model.preprocess(one) for one in inputs])
    return Known(axes, values, generated.masks[np.arange(len(inputs)), targets], model, targets)


def volumes(seed: int, count: int) -> Known:
    """Smooth noise of a deviation of a third, with a bright and a dark ball, and a model that scores either by a matched filter; the bright
    one is the target. The games preserve and dual hardly differ, since the score of a place does not depend on the others."""
    rng = np.random.default_rng(seed)
    values = np.stack([2.0 * gaussian_filter(rng.standard_normal(VOLUME), 1) for _ in range(count)])
    regions = np.zeros(values.shape, bool)
    offsets = np.indices((2 * BALL + 1,) * 3) - BALL
    ball = (offsets**2).sum(axis=0) <= BALL**2
    for volume, region in zip(values, regions, strict=True):
        halves = rng.permutation([(BALL, VOLUME[2] // 2 - BALL - 1), (VOLUME[2] // 2 + BALL, VOLUME[2] - BALL - 1)])
        for sign, (least, most) in zip((1, -1), halves, strict=True):
            centre = *(int(rng.integers(BALL, side - BALL)) for side in VOLUME[:2]), int(rng.integers(least, most + 1))
            place = tuple(slice(c - BALL, c + BALL + 1) for c in centre)
            volume[place][ball] += 1.5 * sign
            if sign == 1:
                region[place] = ball
    return Known("volume", values[..., None].astype(np.float32), regions, matched(contrast(ball)), np.zeros(count, int))


def tones(seed: int, count: int) -> Known:
    """Spectrograms of noise with a tone in the lower and one in the upper half of the frequencies, and a model that scores either by a
    matched filter; the lower one is the target."""
    rng = np.random.default_rng(seed)
    values = np.abs(rng.normal(0, 0.4, (count, *SPECTROGRAM)))
    regions = np.zeros(values.shape, bool)
    half = SPECTROGRAM[1] // 2
    for spectrogram, region in zip(values, regions, strict=True):
        for low in (0, half):
            place = tuple(
                slice(start, start + length)
                for start, length in zip(
                    (int(rng.integers(SPECTROGRAM[0] - TONE[0])), low + int(rng.integers(2, half - TONE[1] - 2))), TONE, strict=True
                )
            )
            spectrogram[place] += 1.5
            region[place] |= low == 0
    # Half a tone long, so that every part of a tone counts.
    found = matched(contrast(np.ones((TONE[0] // 2, TONE[1]), bool)), bands=half)
    return Known("spectrogram", values[..., None].astype(np.float32), regions, found, np.zeros(count, int))


def contrast(shape: np.ndarray) -> np.ndarray:
    """A filter that takes the mean over a shape less the mean over what surrounds it, two entries wide."""
    inside = np.pad(shape, 2)
    return np.asarray(inside / inside.sum() - ~inside / (~inside).sum(), np.float32)


def matched(kernel: np.ndarray, bands: int | None = None) -> Callable[[Any], Any]:
    """How much the answers of a filter exceed 0.5, summed: of both signs (B, 2), or below and above a place along the last axis."""

    def model(x: Any) -> Any:
        answers = jax.vmap(lambda one: jax.scipy.signal.fftconvolve(one, jnp.asarray(kernel), mode="same"))(x[..., 0])
        kinds = (answers, -answers) if bands is None else (answers[..., :bands], answers[..., bands:])
        return jnp.stack([jax.nn.relu(kind - 0.5).reshape(len(x), -1).sum(axis=1) for kind in kinds], axis=1)

    return model
