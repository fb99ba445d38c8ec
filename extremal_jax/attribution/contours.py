"""Extremal contours: the star-shaped region, of few parameters, that keeps the target best and whose deletion harms it most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Maps, Model, Resize, Smooth, prepare
from extremal_jax.attribution.evaluations import GRADIENT_CHUNK, SCORES, blend, chunk_length, responses, sum_in_chunks
from extremal_jax.attribution.method import Method, images_only
from extremal_jax.boundary.areas import check_areas
from extremal_jax.boundary.baselines import substitute
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.checks import check_choice, check_count, check_not_negative, check_positive
from extremal_jax.optimise.optimizers import adam
from extremal_jax.optimise.schedules import Cosine

_LEAST = 1e-3  # of a distance from the centre, in pixels, where the angle is undefined


class Weights(NamedTuple):
    """The numbers of a run, all of shape ().

    Attributes:
      area: of the squared relative error of the area.
      roughness: of the squared slope of the contour.
      softness: τ, as a share of the shorter side.
      learning_rate: of the first step.
    """

    area: Float[Array, ""]
    roughness: Float[Array, ""]
    softness: Float[Array, ""]
    learning_rate: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
    """The static settings of a run, as in `extremal_contours`.

    Attributes:
      length: the number of images that the model gets at a time.
    """

    harmonics: int
    num_steps: int
    starts: int
    score: str
    length: int


class Contour(NamedTuple):
    """Star-shaped regions, each of a centre and a radius in every direction.

        r(θ) = radius · exp(Σ_k a_k cos kθ + b_k sin kθ)

    Attributes:
      centre: (K, 2), down and across, as a share of the image's shorter side.
      size: (K,), the logarithm of the radius, as a share of the shorter side.
      cosines: (K, harmonics), a.
      sines: (K, harmonics), b.
    """

    centre: Float[Array, "K 2"]
    size: Float[Array, " K"]
    cosines: Float[Array, "K harmonics"]
    sines: Float[Array, "K harmonics"]


@images_only
def extremal_contours(
    model: Model,
    images: Any,
    targets: Any,
    *,
    areas: Any = (0.05, 0.1, 0.2),
    harmonics: int = 6,
    num_steps: int = 50,
    starts: int = 5,
    learning_rate: float = 0.03,
    area_weight: float = 1.0,
    roughness_weight: float = 0.01,
    softness: float = 0.02,
    baseline: Any = "blur",
    score: str = "softmax",
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*N h w"]:
    """The mean over areas of a star-shaped mask that keeps the target best and whose deletion harms it most.

        max  p(Φ(x, m)) − p(Φ(x, 1 − m)) − λ (mean(m) / a − 1)² − μ Σ_k k² (a_k² + b_k²)
        m(u) = σ((r(θ_u) − d_u) / τ),   r(θ) = r₀ exp(Σ_k a_k cos kθ + b_k sin kθ)

    d and θ are the distance and direction of a pixel u from the centre of the region, and Φ(x, m) = m x + (1 − m) x̃. The
    centre, r₀ and the Fourier coefficients are found by Adam, from the best of the circles of the area whose centres lie
    on a grid. So each mask is one piece without holes, of a dozen parameters.

    Args:
      model, images, targets, resize, smooth: as in `gradient`, except that scores at several positions are averaged.
      areas: a, shares of the image; a mask for each.
      harmonics: the number of a_k, and of b_k.
      num_steps: of Adam, for each area.
      starts: the number of circles along each side of the image, of which the best goes on.
      learning_rate: of the first step; it falls to zero along half a cosine. Lengths are shares of the shorter side.
      area_weight: λ.
      roughness_weight: μ.
      softness: τ, as a share of the image's shorter side.
      baseline: x̃, as in `integrated_gradients`.
      score: the function p of the model's scores, as in `rise`.
      chunk_size: the most images that the model gets at a time, to bound memory; None for 16.

    Returns:
      (N, H, W) in [0, 1], or (H, W) for a single image; zero where no gradient reaches the image.

    Raises, Warns: as `gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of one corner
      ...     return x[:, :8, :8].mean((1, 2, 3))[:, None]
      >>> options = dict(areas=[0.2], num_steps=5, starts=3, harmonics=2, baseline=0.0, score="logit")
      >>> map = extremal_contours(model, jnp.ones((16, 16, 3)), 0, **options)
      >>> bool(map[:8, :8].mean() > 0.5), bool(map[8:, 8:].mean() < 0.1)
      (True, True)

    Source: Karimzadeh, Alonso, Zdyb, Kirkegaard and Ibragimov, "Extremal Contours: Gradient-driven contours for compact
      visual attribution", NLDL 2026.

    Differences from the paper: the region, star-shaped by a truncated Fourier series, and the aim to keep and to delete
      are the paper's. The exponential, which keeps the radius positive, the penalties, the starts and all defaults are
      ours; several contours in one mask are left out.
    """
    check_choice("score", score, SCORES)
    for name, count, least in (("harmonics", harmonics, 0), ("num_steps", num_steps, 1), ("starts", starts, 1)):
        check_count(name, count, least)
    check_positive("softness", softness, ", a share of the image's shorter side")
    for name, value in (("learning_rate", learning_rate), ("area_weight", area_weight), ("roughness_weight", roughness_weight)):
        check_not_negative(name, value)
    areas = check_areas(areas, None)
    weights = Weights(*(jnp.float32(value) for value in (area_weight, roughness_weight, softness, learning_rate)))
    length = chunk_length("areas", 2 * len(areas), chunk_size, GRADIENT_CHUNK)
    task = prepare("extremal_contours", model, images, targets, resize, smooth, length)
    settings = Settings(harmonics, num_steps, starts, score, length)
    return task.differentiate(_ascend, substitute("baseline", baseline, task.images, task.layout), areas, weights, settings=settings)


def _ascend(
    model: Model,
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    baselines: Float[Array, "N H W C"],
    areas: Float[Array, " K"],
    weights: Weights,
    *,
    settings: Settings,
) -> Maps:
    """The maps of all images, one after the other."""
    size = images.shape[1], images.shape[2]
    rates = weights.learning_rate * jnp.asarray(Cosine(1.0).values(settings.num_steps), jnp.float32)

    def ascend(triple: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        objective = _Objective(model, *triple, areas, weights, settings)

        def step(carry: tuple[Contour, Any], rate: Array) -> tuple[tuple[Contour, Any], Array]:
            contours, moments = carry
            sent = objective.gradient(contours)
            descent = jax.tree.map(jnp.subtract, jax.grad(objective.penalty)(contours), sent)
            updates, moments = adam.update(descent, moments)
            contours = jax.tree.map(lambda part, update: part + rate * update, contours, updates)
            inside = jnp.clip(contours.centre, 0, jnp.asarray(size, jnp.float32)[None] / min(size))
            return (contours._replace(centre=inside), moments), jnp.abs(sent.centre)

        circles, _, _ = varying_alike(_circles(areas, size, settings), triple[0], areas)
        first = objective.best(circles)
        (last, _), sent = lax.scan(step, (first, adam.init(first)), rates)
        masks = draw(last, size, weights.softness)
        return jnp.where((sent != 0).any(), masks.mean(axis=0), 0), sent.sum(axis=0)

    return Maps(*lax.map(ascend, (images, targets, baselines)))


@dataclass(frozen=True)
class _Objective:
    """The objective of one image, (H, W, C), and its target, as a function of a contour for each area."""

    model: Model
    image: Array
    target: Array
    baseline: Array
    areas: Array
    weights: Weights
    settings: Settings

    def gradient(self, contours: Contour) -> Contour:
        """The gradient of the rewards."""

        def chunk(elements: Array, counts: Array) -> Contour:
            return jax.grad(lambda contours: jnp.where(counts, self._rewards(contours, elements), 0).sum())(contours)

        return sum_in_chunks(chunk, 2 * len(self.areas), self.settings.length, self.image)

    def best(self, starts: Contour) -> Contour:
        """The best of the starts of each area, which follow one another: (K G, ...) -> (K, ...)."""
        count = len(starts.size)

        def chunk(elements: Array, counts: Array) -> Array:
            return jnp.zeros(count, jnp.float32).at[elements // 2].add(jnp.where(counts, self._rewards(starts, elements), 0))

        rewards = sum_in_chunks(chunk, 2 * count, self.settings.length, self.image)
        found = rewards.reshape(len(self.areas), -1).argmax(axis=1)
        found = found + jnp.arange(len(self.areas), dtype=found.dtype) * (count // len(self.areas))
        return jax.tree.map(lambda part: part[found], starts)

    def penalty(self, contours: Contour) -> Float[Array, ""]:
        """What the contours cost, whatever the model."""
        shares = draw(contours, (self.image.shape[0], self.image.shape[1]), self.weights.softness).mean(axis=(1, 2))
        slopes = jnp.square(jnp.arange(1, self.settings.harmonics + 1, dtype=jnp.float32))[None]
        rough = (slopes * (contours.cosines**2 + contours.sines**2)).sum()
        return self.weights.area * jnp.square(shares / self.areas - 1).sum() + self.weights.roughness * rough

    def _rewards(self, contours: Contour, elements: Int[Array, " m"]) -> Float[Array, " m"]:
        """The rewards of contours number e // 2: of the inside kept where e is even, and deleted where it is odd."""
        chosen = jax.tree.map(lambda part: part[elements // 2], contours)
        masks = draw(chosen, (self.image.shape[0], self.image.shape[1]), self.weights.softness)[..., None]
        deletes = elements % 2 == 1
        masks = jnp.where(deletes[:, None, None, None], 1 - masks, masks)
        perturbed = blend(masks, self.image, self.baseline).astype(self.image.dtype)
        scores = responses(self.model, self.settings.score, perturbed, self.target)
        return jnp.where(deletes, -scores, scores)


def _circles(areas: Float[Array, " K"], size: tuple[int, int], settings: Settings) -> Contour:
    """Circles of all areas, (K starts², ...), whose centres lie on a grid."""
    places = (np.arange(settings.starts) + 0.5) / settings.starts
    grid = np.stack(np.meshgrid(*places[None] * np.array(size)[:, None] / min(size), indexing="ij"), axis=-1).reshape(-1, 2)
    centre = jnp.asarray(np.tile(grid, (len(areas), 1)), jnp.float32)
    radius = jnp.log(areas * (size[0] * size[1] / min(size) ** 2 / np.pi)) / 2
    zeros = jnp.zeros((len(centre), settings.harmonics), jnp.float32)
    return Contour(centre, jnp.repeat(radius, len(grid)), zeros, zeros)


def draw(contours: Contour, size: tuple[int, int], softness: float | Float[Array, ""]) -> Float[Array, "K H W"]:
    """Draw soft masks, one inside the contours and zero outside.

    Args:
      contours: K regions.
      size: (H, W).
      softness: the width of the edge, as a share of the shorter side.

    Returns:
      (K, H, W) in [0, 1].

    Example:
      >>> circle = Contour(jnp.full((1, 2), 0.5), jnp.log(jnp.array([0.25])), jnp.zeros((1, 0)), jnp.zeros((1, 0)))
      >>> f"{draw(circle, (64, 64), 0.01).mean():.2f}", f"{np.pi * 0.25**2:.2f}"
      ('0.20', '0.20')
    """
    side = min(size)
    down, across = (jnp.asarray((np.arange(n) + 0.5) / side, jnp.float32) for n in size)
    y = down[None, :, None] - contours.centre[:, 0, None, None]
    x = across[None, None, :] - contours.centre[:, 1, None, None]
    distance = jnp.sqrt(y**2 + x**2 + (_LEAST / side) ** 2)
    cosine, sine = x / distance, y / distance
    series, c, s = jnp.zeros_like(distance), cosine, sine
    for k in range(contours.cosines.shape[-1]):  # cos kθ and sin kθ from the ones before
        series = series + contours.cosines[:, k, None, None] * c + contours.sines[:, k, None, None] * s
        c, s = c * cosine - s * sine, s * cosine + c * sine
    radius = jnp.exp(contours.size[:, None, None] + series)
    return jax.nn.sigmoid((radius - distance) / softness)


METHODS = (
    Method("extremal_contours", "star-shaped masks of given areas that keep the target and whose deletion harms it", extremal_contours),
)
