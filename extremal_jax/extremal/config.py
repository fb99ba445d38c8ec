"""The settings of extremal perturbations, and the presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from extremal_jax.extremal.mask_settings import MaskSettings
from extremal_jax.ground.checks import check_choice, check_count, check_flag, check_not_negative, check_positive, check_share, find
from extremal_jax.ground.filters import PADDINGS
from extremal_jax.ground.renamed import renamed
from extremal_jax.operators.area import REGIONS, TIES, AreaRule
from extremal_jax.operators.axes import (
    FLIPPED,
    IMAGE,
    SHIFTED,
    Axes,
    Axis,
    Length,
    Pitch,
    check_axes,
    check_gaps,
    each,
    masked,
    names,
    over_all,
    places,
)
from extremal_jax.operators.penalties import Core, Penalty, Variation
from extremal_jax.operators.perturbations import PERTURBATIONS, Perturbation
from extremal_jax.optimise import presets
from extremal_jax.optimise.schedules import Geometric, Schedule

FLIPS = ("random", "alternate")
_PARITY = "parity is now four settings, which Config.torchray() sets: ties, flips, final_update and final_evaluation"


@renamed(step="pitch", parity=_PARITY)
@dataclass(frozen=True, kw_only=True, repr=False)
class Config(MaskSettings):
    """The settings of `extremal_perturbation`; no arrays. Checked when it is built.

    Lengths are in pixels of the model's input, or of a layer's activation if that is masked. Lengths that are None
    follow its size, since the smallest detail of a mask should be a share of the picture, not a number of pixels.
    `resolve` fills them in, and a result's `config` has them filled in.

    Attributes:
      axes: the axes of the input, if it is something else than images: a name, such as "video" or "series", or a
        tuple of `Axis` records. Lengths can then be given for each axis that masks have, as a tuple.
      num_steps: optimisation steps, each one forward and backward pass of the model per mask. 50 steps of the default
        reach the rewards that TorchRay reaches in 800.
      optimizer: any optax transformation of one mask's parameters; its updates, times the learning rate, are added to
        them.
      learning_rate: a schedule: a number, one per step, a function of the step (optax's schedules), or one of
        `schedules`. None: half a cosine from 0.1 to 0 with the default optimizer, and 1 with another optimizer, which
        has its own learning rate.
      game: "preserve" (the mask keeps the evidence), "delete" (it covers it), "dual" (both at once), or a `Game`.
      reward: the scalar to maximise: "logit", "log_probability", "contrastive" (the target minus the best of the
        others), "margin" (a pair of classes), "labels" (the mean of several), "binary" (a single score with the
        target's sign), a `Reward`, or a function of (outputs, targets) that gives one number per image.
      exact_area: whether the model is shown, and the result holds, masks of exactly the area asked for: `ramp` is moved
        to where the mean is right. Otherwise the area loss alone draws masks there, and they exceed small areas.
      anneal: with `exact_area`, the share of the run over which the area shown shrinks from 1, the whole image, to the
        area asked for. A small area from the start would leave the model nothing to improve on.
      ramp: with `exact_area`, the width of the ramp in units of mask value, a schedule. The smaller it is, the closer
        masks are to binary, and the less smooth.
      smoothing: with `exact_area`, standard deviation, in pixels, of a Gaussian that smooths masks before the ramp. It
        joins what lies close, so that masks have fewer pieces, and drops details that hold at one place only. None: a
        12th of the image's shorter side; 0 for activations of a layer, and without exact areas.
      feather: with `exact_area`, standard deviation, in pixels, of a Gaussian that softens the ramp's edges, since a
        sharp edge is evidence to a network by itself. None: a 45th of the image's shorter side; 0 as for `smoothing`.
      area_weight: λ, a schedule: the cost of one unit of the area loss, in units of the reward. It grows, so that the
        run finds the evidence first and makes the mask binary afterwards. None: from 1 to 10 with the relative loss,
        from 30 to 100 where that loss alone draws masks to their areas, and from 300 to 1000 with the absolute loss; 0
        for activations of a layer with exact areas.
      perturbation: "blur", "fade", "reference" (an image given to `extremal_perturbation`), or a record of your own.
        None: "blur" for images and "fade" for the activations of a layer, in which a blur would leave the evidence.
      pitch: distance between the lattice points of the parameters, in pixels; None: a third of sigma.
      sigma: radius of the smoothing kernel, in pixels: the smallest detail of a mask. Smaller kernels excite more and
        explain less: at some size, masks become speckles. In a tuple, 0 along an axis gives each place there a parameter
        of its own. None: 3/32 of the image's shorter side, 21 of 224 as in
        TorchRay, or a sixteenth of an activation's, or three pitches where only the pitch is given.
      temperature: T of the smooth maximum: the lower, the closer to the maximum; the paper has 1/20.
      num_levels: levels of the blur pyramid, at least 2; between two levels, the blur is interpolated. With 2, a mask
        value mixes the image with its strongest blur; with more, it is the strength of the blur, as in the paper.
      max_blur: standard deviation of the strongest blur, in pixels; None: 20 for an image of 224 pixels, in proportion
        for others.
      padding: what the blur sees beyond the border: "edge" repeats the border's pixels, "zeros" darkens the border.
      area_over: the region that the area is a share of: the "image", or the "canvas" with the margin around it, so that
        the mask may keep less or more of the image than asked.
      relative_area_loss: whether the area loss counts as a share of the area, R_a / a, so that one weight suits small
        and large areas. The paper and TorchRay have R_a, under which small masks stay grey where large ones are already
        binary.
      ties: where ties between mask values go in the area loss: "share" or "position", as for `select_top`.
      jitter: whether the images shown are flipped left to right at some of the steps, all together: evidence that
        survives a flip belongs to the object more than to the pixels. Activations of a layer are not flipped, since the
        layer would not make them of a flipped image.
      shift: the most pixels by which the images shown are shifted at each step, all together, periodic at the border:
        what excites the target at one alignment only is not evidence. The key draws the shifts. None: with jitter, a
        37th of the shortest side of a mask, of a clip also its frames; otherwise, and for activations of a layer, 0.
      min_strength: the weakest perturbation shown, as a share of the full one. At each step a mask m is shown as 1 − s (1
        − m), and the key draws s from here to 1, one for all masks: what excites the target under one strength of the
        blur only is not evidence. 1: always the full perturbation; also for activations of a layer.
      noise: standard deviation of the Gaussian noise that is added to the images shown, in units of the model's input,
        where most preparations give values of about one. The key draws it anew at each step, the same for all masks.
        Evidence that a little noise destroys is texture that a network sees and a person does not. 0: none; also for
        activations of a layer.
      start: the value at which all parameters start, in [0, 1]: 1 shows the whole image.
      penalties: what masks are charged beside the area loss, records such as `perturbation.Variation(weight=0.1)`, the
        total variation along time, before the ramp of exact areas.
      candidates: the starts that are tried for each mask. Whenever half of the steps left have passed, the better half
        goes on, until one is left. Four candidates cost as much as 2.75 runs.
      spread: how far below one the parameters of another candidate than the first start at most; the key draws where.
      exchange: whether each area takes over the best of the masks of all areas of its image, drawn to its own area and
        judged by their binary form: half way, or whenever candidates are selected, and at the end. Each time costs K
        forward passes per mask and candidate. Larger areas then seldom have lower rewards than smaller ones, and the
        mask of an area depends on which other areas are asked for. Without effect where areas are not exact, and for
        activations of a layer.
      flips: at which steps jitter flips: "random" draws them from the key; "alternate" takes the even ones.
      final_update: whether the masks of the result include the last update. TorchRay returns those of the last forward
        pass.
      final_evaluation: whether the rewards of the result are evaluated anew, on unflipped images. TorchRay reports the
        last step's; then areas exchange no masks after it.

    Example:
      >>> config = Config(game="delete", num_steps=100)
      >>> config.resolve((224, 320)).sigma
      21.0
      >>> Config(sigma=-1)
      Traceback (most recent call last):
      ValueError: sigma must be a positive number of pixels or None, got -1
    """

    axes: Axes | str | None = None
    num_steps: int = 50
    perturbation: str | Perturbation | None = None
    pitch: Pitch | None = None
    sigma: Length | None = None
    temperature: float = 1 / 20
    smoothing: Length | None = None
    feather: Length | None = None
    num_levels: int = 2
    max_blur: Length | None = None
    padding: str = "edge"
    area_over: str = "image"
    relative_area_loss: bool = True
    ties: str = "share"
    jitter: bool = True
    flips: str = "random"
    shift: int | None = None
    min_strength: float = 1.0
    noise: float = 0.0
    start: float = 1.0
    penalties: tuple[Penalty, ...] = ()
    candidates: int = 1
    spread: float = 0.6
    exchange: bool = True
    final_update: bool = True
    final_evaluation: bool = True
    RECORDS: ClassVar[tuple[Any, ...]] = (Axis, Variation, Core)

    @classmethod
    def thorough(cls, **changes: Any) -> Config:
        """Better masks for more time: four candidates for each mask, 64 steps, 176 passes of the model per mask.
        `changes` override settings."""
        return cls(**presets.THOROUGH | changes)

    @classmethod
    def torchray(cls, **changes: Any) -> Config:
        """TorchRay 1.0, number for number: stochastic gradient descent with momentum and dampening 0.9, 800 steps, λ =
        300 · 1.0035^t, a pitch of 7 and a kernel of 21 pixels whatever the image, the area taken over the canvas, zero
        padding. `changes` override settings."""
        return cls(**presets.TORCHRAY | changes)

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The paper's description, for images of 224 pixels: the area of the image itself, momentum 0.9 without
        dampening, 800 steps, λ = 300, doubled after one and two thirds of them. `changes` override settings."""
        return cls(**presets.PAPER | changes)

    @classmethod
    def dynamask(cls, **changes: Any) -> Config:
        """Dynamic masks of series (Dynamask): a parameter for each time and feature, which starts at ½, gradient descent
        with momentum 0.9 and a learning rate of 0.1, 1,000 steps, λ from 0.1, a hundredfold at the end, Gaussian blur in
        time of up to two steps. `changes` override settings.

        The score of the model is minus the error, as `closeness` makes it. For several areas, the published code takes
        the mean of their losses, so that its rate of 1 for 50 areas is `learning_rate=0.02` here. It chooses the mask of
        the highest reward, or the smallest area whose reward suffices. `penalties=(Variation(λ_c),)` smooths in time.

        Differences from the published code: the blur is interpolated between 21 widths and repeats the ends of the
        series.

        Source: Crabbé and van der Schaar, "Explaining Time Series Predictions with Dynamic Masks", ICML 2021.
        """
        return cls(**presets.dynamask(**{name: changes[name] for name in ("num_steps",) if name in changes}) | changes)

    @classmethod
    def step_perturbation(cls, **changes: Any) -> Config:
        """Spatio-temporal extremal perturbations of clips (STEP), for frames of 112 pixels: a lattice of pitch 7 and a
        kernel of 11 pixels in each frame, frames apart, 2,000 steps, momentum and dampening 0.9 with a learning rate of
        0.05, λ = 300 · 1.0008668^t, the logarithm of the probability as reward, blurs of up to 20 pixels within frames,
        and the core loss from step 101 on. `changes` override settings.

        Source: Li, Wang, Li, Huang and Sato, "Towards Visually Explaining Video Understanding Networks with
        Perturbation", WACV 2021; numbers from the authors' code.
        """
        return cls(**presets.STEP_PERTURBATION | changes)

    @classmethod
    def points(cls, **changes: Any) -> Config:
        """For series in which single values may matter: a parameter for each time and feature, which fade to zero, and
        the dual game, in which what the mask leaves out must not suffice. `changes` override settings."""
        return cls(**presets.POINTS | changes)

    def __post_init__(self) -> None:
        if self.perturbation is not None:
            find("perturbation", self.perturbation, PERTURBATIONS, Perturbation)  # type: ignore[type-abstract]
        for name, options in dict(padding=PADDINGS, area_over=REGIONS, ties=TIES, flips=FLIPS).items():
            check_choice(name, getattr(self, name), options)
        check_count("num_levels", self.num_levels, 2)
        for name in ("relative_area_loss", "jitter", "exchange", "final_update", "final_evaluation"):
            check_flag(name, getattr(self, name))
        self._check_lengths()
        if self.shift is not None:
            check_count("shift", self.shift, 0)
        check_share("min_strength", self.min_strength, "the full perturbation")
        check_not_negative("noise", self.noise, " in units of the model's input")
        check_count("candidates", self.candidates, 1)
        check_share("spread", self.spread, "the full mask")
        check_share("start", self.start, "the full mask")
        check_positive("temperature", self.temperature)
        self._check_penalties()
        super().__post_init__()
        if 2 ** (self.candidates - 1).bit_length() > self.num_steps:
            raise ValueError(
                f"candidates must leave a step for each halving, and {self.candidates} are too many for num_steps={self.num_steps}"
            )

    def _check_penalties(self) -> None:
        if isinstance(self.penalties, Penalty):
            raise TypeError(f"penalties must be a sequence of records, such as (Variation(weight=0.1),), got {self.penalties!r} alone")
        object.__setattr__(self, "penalties", tuple(self.penalties))
        for penalty in self.penalties:
            if not isinstance(penalty, Penalty):
                raise TypeError(f"penalties must be records such as Variation(weight=0.1), got {penalty!r}")
            penalty.check(masked(self.input_axes))

    def schedules(self) -> dict[str, np.ndarray]:
        """(num_steps,) each, besides those of `MaskSettings`, where there are penalties: their weights, (num_steps, P)."""
        steps = np.arange(self.num_steps)[:, None]
        weights = [(steps >= penalty.start * self.num_steps) * penalty.weight for penalty in self.penalties]
        charged = {"penalties": np.concatenate(weights, axis=1).astype(np.float32)} if weights else {}
        return super().schedules() | charged

    @property
    def mask_penalties(self) -> tuple[Penalty, ...]:
        return self.penalties

    def _check_lengths(self) -> None:
        """Check what is given in pixels: numbers, or tuples of one for each axis that masks have."""
        if self.axes is not None:
            object.__setattr__(self, "axes", check_axes(self.axes))
        along = masked(self.input_axes)
        checks: dict[str, Any] = dict(pitch=_check_pitch, sigma=check_positive, max_blur=check_positive)
        for name, check in (checks | dict(smoothing=check_not_negative, feather=check_not_negative)).items():
            given = getattr(self, name)
            if isinstance(given, tuple | list):
                if self.axes is None or len(given) != len(along):
                    wanted = f"one for each of {', '.join(names(along))}" if self.axes else "a tuple if the settings have `axes`"
                    raise ValueError(f"{name} must be a number, or {wanted}, got {given}")
                object.__setattr__(self, name, tuple(given))
                for axis, value in zip(along, given, strict=True):
                    may_be_zero = name in ("sigma", "max_blur") or (name != "pitch" and not axis.smooth)
                    (check_not_negative if may_be_zero else check)(f"{name} along {axis.name}", value, " of pixels")
            elif given is not None:
                check(name, given, " of pixels or None")
        if self.pitch is not None and self.sigma is not None:
            check_gaps(self.pitch, self.sigma, along)

    @property
    def input_axes(self) -> Axes:
        """The axes of the input: those of images, unless `axes` says otherwise."""
        return IMAGE if self.axes is None else check_axes(self.axes)

    def resolve(self, shape: tuple[int, ...], *, inner: bool = False) -> Config:
        """The same settings with everything filled in that follows from the images.

        Args:
          shape: (height, width) of the images, or of the activation; with `axes`, of the axes that masks have.
          inner: whether the activation of an inner layer is masked.
        """
        axes, soft, moves = self.input_axes, self.exact_area and not inner, self.jitter and not inner

        def along(given: Length | None, share: Callable[[int], float]) -> Any:
            """A length along each axis, or one number for images."""
            lengths = each(axes, shape, given, share)
            return lengths[0] if self.axes is None else lengths

        pitch = None if self.pitch is None else each(axes, shape, self.pitch, float)
        kernel = tuple(3 * step * axis.smooth for step, axis in zip(pitch, masked(axes), strict=True)) if pitch else None
        detail = 1 / 16 if inner else 3 / 32
        sigmas = each(axes, shape, kernel if self.sigma is None else self.sigma, lambda side: max(1.0, side * detail))
        steps = tuple(max(1, round(step)) for step in pitch or [sigma / 3 for sigma in sigmas])
        shifted = 0 if inner or not places(axes, *SHIFTED) else round(min(shape) / 37) * moves if self.shift is None else self.shift
        return dataclasses.replace(
            self,
            sigma=along(sigmas, float),
            pitch=steps[0] if self.axes is None else steps,
            max_blur=along(self.max_blur, lambda side: 20 * side / 224),
            area_weight=self.default_area_weight(inner),
            perturbation=self.perturbation or ("fade" if inner else "blur"),
            smoothing=along(self.smoothing, lambda side: side / 12 * soft),
            feather=along(self.feather, lambda side: side / 45 * soft),
            jitter=moves and bool(places(axes, FLIPPED)),
            min_strength=1.0 if inner else self.min_strength,
            noise=0.0 if inner else self.noise,
            exchange=self.exchange and soft,
            shift=shifted,
        )

    def default_area_weight(self, inner: bool = False) -> Schedule:
        if self.area_weight is not None:
            return self.area_weight
        if inner and self.exact_area:
            return 0.0
        if not self.relative_area_loss:
            return Geometric(300, 1000)
        return Geometric(1, 10) if self.exact_area else Geometric(30, 100)

    @property
    def area_rule(self) -> AreaRule:
        assert self.smoothing is not None, "the settings are resolved"
        assert self.feather is not None, "the settings are resolved"
        return AreaRule(self.exact_area, self.area_over, self.ties, self.relative_area_loss, self.smoothing, self.feather)

    def perturbation_record(self) -> Perturbation:
        """The perturbation of resolved settings; the fields that it shares with them are filled from them."""
        assert self.perturbation is not None, "the settings are resolved"
        record: Any = find("perturbation", self.perturbation, PERTURBATIONS, Perturbation)  # type: ignore[type-abstract]
        if not isinstance(self.perturbation, str):
            return record
        shared = {field.name for field in dataclasses.fields(record)} & {field.name for field in dataclasses.fields(self)}
        values = {name: getattr(self, name) for name in shared}
        if "max_blur" in values:
            values["max_blur"] = over_all(self.input_axes, values["max_blur"])
        return dataclasses.replace(record, **values)

    @classmethod
    def upgraded(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if "step" in fields:
            fields["pitch"] = fields.pop("step")
        if fields.pop("parity", False):
            fields |= presets.TORCHRAY_DETAILS
        return dict(smoothing=0.0, feather=0.0, shift=0, exchange=False) | fields


def _check_pitch(name: str, value: object, unit: str) -> None:
    check_count(name, value, 1)
