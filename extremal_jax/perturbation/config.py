"""What can be chosen about an extremal perturbation, and the presets."""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
import optax
from jax import Array

from extremal_jax.errors import check_choice
from extremal_jax.filters import PADDINGS
from extremal_jax.perturbation import schedules
from extremal_jax.perturbation.games import GAMES
from extremal_jax.perturbation.optimizers import PRESETS, adam, dampened_momentum, forgotten, momentum, optimizer_name
from extremal_jax.perturbation.pyramid import PERTURBATIONS
from extremal_jax.perturbation.rewards import REWARDS, RewardFunction
from extremal_jax.perturbation.schedules import Cosine, Doubling, Exponential, Geometric, Schedule, schedule_values

_AREA_REGIONS = ("image", "canvas")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run; no arrays. Checked when it is built.

    Lengths are in pixels of the model's input. Those left at None follow the image: the smallest detail that a mask can have should be a
    share of the picture, not a number of pixels. `resolve` fills them in, and a result's `config` has them filled in.

    Attributes:
      game: "preserve" (the mask keeps the evidence), "delete" (it covers it) or "dual" (both at once).
      perturbation: "blur", "fade" (to zero, the mean colour of most classifiers' inputs) or "reference" (to an image given to
        `extremal_perturbation`).
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
        is found first and the mask made binary then.
      jitter: whether the images shown are mirrored left to right, all together, at every other step on average (drawn from the key):
        evidence that survives it belongs to the object more than to the pixels.
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
    perturbation: str = "blur"
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
    ramp: float = 0.5
    optimizer: optax.GradientTransformation = adam
    learning_rate: Schedule | None = None
    area_weight: Schedule = Geometric(300, 1000)
    jitter: bool = True
    parity: bool = False

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
            jitter=False,
        )
        return cls(**{**settings, **changes})

    def __post_init__(self) -> None:
        check_choice("game", self.game, GAMES)
        check_choice("perturbation", self.perturbation, PERTURBATIONS)
        check_choice("padding", self.padding, PADDINGS)
        check_choice("area_over", self.area_over, _AREA_REGIONS)
        if not callable(self.reward):
            check_choice("reward", self.reward, REWARDS)
        _check_count("num_steps", self.num_steps, 1)
        _check_count("num_levels", self.num_levels, 2)
        if self.step is not None:
            _check_count("step", self.step, 1)
        for name, unit in {"sigma": " of pixels or None", "max_blur": " of pixels or None", "temperature": "", "ramp": ""}.items():
            value = getattr(self, name)
            if value is None and unit:
                continue
            if not _is_number(value) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number{unit}, got {value!r}")
        if self.step and self.sigma and self.sigma < self.step:
            raise ValueError(f"sigma must be at least the step of {self.step} pixels, or masks have gaps, got {self.sigma}")
        if not _is_number(self.anneal) or not 0 <= self.anneal <= 1:
            raise ValueError(f"anneal must be a share of the steps, from 0 to 1, got {self.anneal!r}")
        if not isinstance(self.optimizer, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
            raise TypeError(f"optimizer must be an optax transformation such as optax.adam(0.05), got {self.optimizer!r}")
        for name in ("learning_rate", "area_weight"):
            schedule = getattr(self, name)
            if isinstance(schedule, Array | np.ndarray | list):  # as something hashable
                values = np.asarray(schedule, np.float64).tolist()
                object.__setattr__(self, name, tuple(values) if isinstance(values, list) else values)
        self.schedules()

    def schedules(self) -> dict[str, np.ndarray]:
        """(num_steps,) each: learning rate, area weight, and how far the area shown has shrunk, from 0 (the image) to 1 (as asked for)."""
        rate = self.learning_rate
        if rate is None:
            rate = Cosine(0.1) if self.optimizer is adam else 1.0
        steps = np.arange(1, self.num_steps + 1, dtype=np.float32)
        return dict(
            learning_rate=schedule_values("learning_rate", rate, self.num_steps),
            area_weight=schedule_values("area_weight", self.area_weight, self.num_steps),
            shrinkage=np.minimum(1, steps / max(self.anneal * self.num_steps, 1)),
        )

    def resolve(self, shape: tuple[int, int]) -> Config:
        """The same settings with every length given, for images of `shape`: (height, width)."""
        side = min(shape)
        sigma = self.sigma or (3.0 * self.step if self.step else max(1.0, side / 16))
        step = self.step or max(1, round(sigma / 3))
        return dataclasses.replace(self, sigma=float(sigma), step=step, max_blur=self.max_blur or 20 * side / 224)


def config_to_json(config: Config) -> str:
    """A config as JSON. Functions cannot be written: a schedule is written as its values, an optimizer and a reward as their names.

    Example:
      >>> config_from_json(config_to_json(Config.torchray(game="dual"))) == Config.torchray(game="dual")
      True
    """
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields["optimizer"] = optimizer_name(config.optimizer)
    if callable(config.reward):
        fields["reward"] = {"function": getattr(config.reward, "__name__", repr(config.reward))}
    for name in ("learning_rate", "area_weight"):
        schedule = fields[name]
        if type(schedule) in _SCHEDULES.values():
            fields[name] = {type(schedule).__name__: dataclasses.asdict(schedule)}
        elif schedule is not None and not _is_number(schedule):
            fields[name] = schedule_values(name, schedule, config.num_steps).tolist()
    return json.dumps(fields)


def config_from_json(text: str) -> Config:
    """The config that `config_to_json` wrote. Where it holds the name of a function alone, using that function is an error that says so."""
    fields = json.loads(text)
    fields["optimizer"] = PRESETS.get(fields["optimizer"]) or forgotten(fields["optimizer"])
    if isinstance(fields["reward"], dict):
        fields["reward"] = _forgotten_reward(fields["reward"]["function"])
    for name in ("learning_rate", "area_weight"):
        if isinstance(fields[name], dict):
            [(kind, values)] = fields[name].items()
            fields[name] = _SCHEDULES[kind](**values)
    return Config(**fields)


_SCHEDULES = {kind.__name__: kind for kind in (schedules.Cosine, schedules.Geometric, schedules.Exponential, schedules.Doubling)}


def _forgotten_reward(name: str) -> RewardFunction:
    def reward(outputs: Any, targets: Any) -> Any:
        raise ValueError(f"the reward of the saved run ({name}) is not in its file; set `reward` again, with dataclasses.replace")

    reward.__name__ = name
    return reward


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
