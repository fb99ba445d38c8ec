"""What can be chosen about an extremal perturbation, and the presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import optax

from extremal_jax.ground.checks import check_choice
from extremal_jax.ground.filters import PADDINGS
from extremal_jax.operators.games import GAMES
from extremal_jax.operators.perturbations import PERTURBATIONS
from extremal_jax.operators.rewards import RewardFunction
from extremal_jax.optimise.optimizers import adam, dampened_momentum, momentum
from extremal_jax.optimise.schedules import Doubling, Exponential, Geometric, Schedule, schedule_values
from extremal_jax.optimise.settings import (
    check_anneal,
    check_count,
    check_flag,
    check_optimizer,
    check_positive,
    check_reward,
    freeze_schedules,
    learning_rates,
    shrinkage,
)

_AREA_REGIONS = ("image", "canvas")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run; no arrays. Checked when it is built.

    Lengths are in pixels of the model's input, or of a layer's activation if that is masked. Those left at None follow its size: the
    smallest detail that a mask can have should be a share of the picture, not a number of pixels. `resolve` fills them in, and a result's
    `config` has them filled in.

    Attributes:
      game: "preserve" (the mask keeps the evidence), "delete" (it covers it) or "dual" (both at once).
      perturbation: "blur", "fade" (to zero, the mean colour of most classifiers' inputs) or "reference" (to an image given to
        `extremal_perturbation`). None: "blur" for images, and "fade" for the activations of a layer, whose evidence a blur leaves there.
      reward: what is to be excited: "logit", "log_probability", "contrastive" (the target minus the best of the others), "margin" (a pair
        of classes), "labels" (the mean of several), or a function of (outputs, targets) that gives one number per image.
      num_steps: optimisation steps, each one forward and backward pass of the model per mask. 50 steps of the default reach what TorchRay
        reaches in 800.
      step: pitch of the lattice of parameters, in pixels; None: a third of sigma.
      sigma: radius of the smoothing kernel, in pixels: the smallest detail of a mask. Smaller kernels excite more and explain less: at some
        size the masks become speckles. None: a sixteenth of the image's shorter side, or three steps where only the step is given.
      temperature: T of the smooth maximum: the lower, the closer to the maximum; 1/20 is the paper's.
      num_levels: levels of the blur pyramid, at least 2; between two levels, the blur is interpolated.
      max_blur: standard deviation of the strongest blur, in pixels; None: 20 for an image of 224, in proportion for others, as in the
        paper.
      padding: what the blur sees beyond the border: "edge" repeats the border's pixels; "zeros" darkens the border.
      area_over: what the area is a share of: the "image", or the "canvas", which includes the margin around it, so that less or more of the
        image may be kept than was asked.
      exact_area: whether the model is shown, and the result holds, masks whose area is exactly the one asked for: `ramp` is moved to where
        the mean is right. Otherwise the area loss alone draws the area there, and small areas are exceeded.
      anneal: with `exact_area`, the share of the run over which the area shown shrinks from 1, the whole image, to the one asked for.
        Starting small would show the model nothing to improve on.
      ramp: with `exact_area`, the width of the ramp, in units of mask value: the smaller, the closer to binary, and the less smooth.
      optimizer: any optax transformation of one mask's parameters; its updates, times the learning rate, are added to them.
      learning_rate: a schedule: a number, one per step, a function of the step (optax's schedules), or one of `schedules`. None: a cosine
        from 0.1 to 0 with the preset's optimizer, and 1 with another, whose own learning rate then stands.
      area_weight: λ, a schedule likewise: how much one unit of the area loss costs, in units of the reward. It grows, so that the evidence
        is found first and the mask made binary then. None: from 5 to 20 of the relative loss, or from 30 to 100 where the loss
        alone draws the area to the one asked for, and from 300 to 1000 of the other; 0 for activations of a layer, if their masks have
        exact areas: there it only distracts.
      relative_area_loss: whether the area loss counts as a share of the area, R_a / a, so that one weight suits small areas and large ones:
        a small mask has little of it to lose, and stays grey where a large one is already binary. Otherwise it is R_a, as in the paper.
      jitter: whether the images shown are mirrored left to right, all together, at every other step on average (drawn from the key):
        evidence that survives it belongs to the object more than to the pixels. Activations of a layer are not mirrored: they are not what
        the layer would make of a mirrored image.
      parity: do as TorchRay does where order decides: ties between mask values are broken by position, jitter mirrors on even steps, and
        the result holds the masks of the last forward pass, before the last update. For comparisons.

    Example:
      >>> config = Config(game="delete", num_steps=100)
      >>> config.resolve((224, 320)).sigma
      14.0
      >>> Config(sigma=-1)
      Traceback (most recent call last):
      ValueError: sigma must be a positive number of pixels or None, got -1
    """

    game: str = "preserve"
    perturbation: str | None = None
    reward: str | RewardFunction = "logit"
    num_steps: int = 50
    step: int | None = None
    sigma: float | None = None
    temperature: float = 1 / 20
    num_levels: int = 8
    max_blur: float | None = None
    padding: str = "edge"
    area_over: str = "image"
    exact_area: bool = True
    anneal: float = 0.5
    ramp: float = 0.15
    optimizer: optax.GradientTransformation = adam
    learning_rate: Schedule | None = None
    area_weight: Schedule | None = None
    relative_area_loss: bool = True
    jitter: bool = True
    parity: bool = False
    SCHEDULES: ClassVar[tuple[str, ...]] = ("learning_rate", "area_weight")

    @classmethod
    def torchray(cls, **changes: Any) -> Config:
        """TorchRay 1.0, number for number: stochastic gradient descent with momentum and dampening 0.9, 800 steps, λ = 300 · 1.0035^t, the
        kernel's 7 and 21 pixels whatever the image, the area taken over the canvas, zero padding. `changes` are settings to differ in."""
        settings: dict[str, Any] = dict(
            num_steps=800,
            step=7,
            sigma=21.0,
            max_blur=20.0,
            padding="zeros",
            area_over="canvas",
            exact_area=False,
            optimizer=dampened_momentum,
            learning_rate=0.01,
            area_weight=Exponential(300, 1.0035),
            relative_area_loss=False,
            parity=True,
        )
        return cls(**{**settings, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """As the paper describes it, for images of 224 pixels: the area of the image itself, momentum 0.9 without dampening, 800 steps, λ =
        300, doubled after one and two thirds of them. `changes` are settings to differ in."""
        settings: dict[str, Any] = dict(
            num_steps=800,
            step=7,
            sigma=21.0,
            max_blur=20.0,
            exact_area=False,
            optimizer=momentum,
            learning_rate=0.01,
            area_weight=Doubling(300, 3),
            relative_area_loss=False,
            jitter=False,
        )
        return cls(**{**settings, **changes})

    def __post_init__(self) -> None:
        check_choice("game", self.game, GAMES)
        if self.perturbation is not None:
            check_choice("perturbation", self.perturbation, PERTURBATIONS)
        check_choice("padding", self.padding, PADDINGS)
        check_choice("area_over", self.area_over, _AREA_REGIONS)
        check_reward(self.reward)
        check_count("num_steps", self.num_steps, 1)
        check_count("num_levels", self.num_levels, 2)
        for name in ("exact_area", "relative_area_loss", "parity"):
            check_flag(name, getattr(self, name))
        if self.step is not None:
            check_count("step", self.step, 1)
        for name, unit in {"sigma": " of pixels or None", "max_blur": " of pixels or None", "temperature": "", "ramp": ""}.items():
            if not unit or getattr(self, name) is not None:
                check_positive(name, getattr(self, name), unit)
        if self.step and self.sigma and self.sigma < self.step:
            raise ValueError(f"sigma must be at least the step of {self.step} pixels, or masks have gaps, got {self.sigma}")
        check_anneal(self.anneal)
        check_optimizer(self.optimizer)
        freeze_schedules(self)
        self.schedules()

    def schedules(self) -> dict[str, np.ndarray]:
        """(num_steps,) each: learning rate, area weight, and how far the area shown has shrunk, from 0 (the image) to 1 (as asked for)."""
        return dict(
            learning_rate=learning_rates(self.learning_rate, self.optimizer, self.num_steps, 0.1),
            area_weight=schedule_values("area_weight", self._area_weight(), self.num_steps),
            shrinkage=shrinkage(self.anneal, self.num_steps),
        )

    def resolve(self, shape: tuple[int, int], *, inner: bool = False) -> Config:
        """The same settings with everything given that follows what is masked.

        Args:
          shape: (height, width) of the images, or of the activation.
          inner: whether it is the activation of an inner layer.
        """
        side = min(shape)
        sigma = self.sigma or (3.0 * self.step if self.step else max(1.0, side / 16))
        return dataclasses.replace(
            self,
            sigma=float(sigma),
            step=self.step or max(1, round(sigma / 3)),
            max_blur=self.max_blur or 20 * side / 224,
            area_weight=self._area_weight(inner),
            perturbation=self.perturbation or ("fade" if inner else "blur"),
            jitter=self.jitter and not inner,
        )

    def _area_weight(self, inner: bool = False) -> Schedule:
        """λ, where none is given as well."""
        if self.area_weight is not None:
            return self.area_weight
        if inner and self.exact_area:
            return 0.0
        if not self.relative_area_loss:
            return Geometric(300, 1000)
        return Geometric(5, 20) if self.exact_area else Geometric(30, 100)
