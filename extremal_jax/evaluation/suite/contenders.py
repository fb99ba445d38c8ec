"""The methods that a benchmark compares: those of the registry, with their own settings or TorchRay's, presets of extremal
perturbation, and the centre."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from extremal_jax.attribution import METHODS
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.suite import torchray
from extremal_jax.evaluation.suite.pairs import maps_of_pairs
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation
from extremal_jax.extremal.result import EXPONENT, NEAR
from extremal_jax.graph import Activation, activations
from extremal_jax.ground.checks import nearest
from extremal_jax.ground.pytrees import AnyArray

PRESETS: dict[str, Callable[[], Config]] = {"thorough": Config.thorough, "torchray": Config.torchray, "paper": Config.paper}
_TORCHRAY = "torchray"
PUBLISHED = (_TORCHRAY, "paper")  # whose maps are the smoothed mean of the masks, as in TorchRay's pointing game
_EXTREMAL = "extremal_perturbation"
_EVIDENCE = f"evidence by the power mean of {EXPONENT}, pointing where it is highest within {NEAR} of the saliency's peak"
Areas = tuple[float, ...]
Layers = Sequence[Activation] | None


class Explanation(NamedTuple):
    """A method's explanation of a batch of images.

    Attributes:
      maps: (N, H, W), of the images' size; for extremal perturbation `ExtremalResult.evidence`, or with the published
        settings the smoothed mean of the masks.
      order: (N, H, W), by which pixels are shown or removed, the most important highest: the maps themselves; for
        extremal perturbation the ranking of its nested masks.
      masks: (N, K, H, W), a mask for each area; None: the highest places of `order` serve for every area.
      pointing: (N, H, W), highest where the method points; None: the maps themselves. For extremal perturbation with its
        own settings, `ExtremalResult.point`.
    """

    maps: Float[AnyArray, "N H W"]
    order: Float[AnyArray, "N H W"]
    masks: Float[AnyArray, "N K H W"] | None = None
    pointing: Float[AnyArray, "N H W"] | None = None


@dataclass(frozen=True)
class Contender:
    """A method with its settings.

    Attributes:
      name: its name in the table.
      settings: its settings, as a text that is the same in every process. Rows of other settings are refused.
      explain: explains a batch; called with the model, images (N, H, W, C), targets (N,), the areas of masks, a random
        key and layers, `graph.Activation`s in the order of computation. In tests of sanity the model has other
        parameters.
      needs: the names of the layers that the method needs, such as `at`; without any it gets no layers, ().
      all_classes: whether it explains an image that comes with several classes once, so that its time is that of the
        images.

    Raises:
      TypeError, ValueError: for a name or settings that are not text, or a function that cannot be called.

    Example:
      >>> import extremal_jax as ej
      >>> def brightness(model, images, targets, areas, key, layers=None):
      ...     return Explanation(images.mean(axis=-1), images.mean(axis=-1))
      >>> mine, scenes = Contender("brightness", "mean", brightness), ej.data.SceneDataset(2, objects=1)
      >>> report = ej.evaluation.benchmark(["energy"], scenes, {"scenes": ej.models.load("scenes")}, [mine, "center"])
      >>> [row["method"] for row in report.rows()]
      ['brightness', 'center']
    """

    name: str
    settings: str
    explain: Callable[..., Explanation]
    needs: frozenset[str] = frozenset()
    all_classes: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"the name of a Contender must be a text, got {self.name!r}")
        if not isinstance(self.settings, str):
            raise TypeError(f"the settings of the Contender {self.name!r} must be a text, got {self.settings!r}")
        if not callable(self.explain):
            raise TypeError(
                f"explain of the Contender {self.name!r} must be a function (model, images, targets, areas, key, layers) ->"
                f" Explanation, got {self.explain!r}"
            )
        object.__setattr__(self, "needs", frozenset(self.needs))


def check_explanation(name: str, explanation: Any, shape: tuple[int, ...], areas: int) -> None:
    """Raise an error unless an explanation of images (N, H, W) has their shape, and a mask for each area if it has masks."""
    if not isinstance(explanation, Explanation):
        raise TypeError(f"{name} must return an Explanation, such as Explanation(maps, maps), got {type(explanation).__name__}")
    for field, found in explanation._asdict().items():
        expected = (shape[0], areas, *shape[1:]) if field == "masks" else shape
        if not (found is None and field in ("masks", "pointing")) and np.shape(found) != expected:
            raise ValueError(f"{name} must return {field} of the shape {expected}, got {np.shape(found)}")


def contenders_of(methods: Sequence[str | Contender]) -> list[Contender]:
    """The contenders of a benchmark: by name, or the caller's own.

    Raises:
      ValueError: for an unknown name, or a contender of the caller's whose name is that of another method.
    """
    for one in methods:
        if isinstance(one, Contender) and _is_known(one.name):
            raise ValueError(f"a Contender is called {one.name!r}, as a method of the library is; give it another name")
    return [one if isinstance(one, Contender) else contender(one) for one in methods]


def _is_known(name: str) -> bool:
    try:
        contender(name)
    except ValueError:
        return False
    return True


def contender(name: str) -> Contender:
    """A contender by its name: one of `METHODS`, "extremal_perturbation:PRESET", "METHOD:torchray", or "center".

    Raises:
      ValueError: for an unknown name.

    Example:
      >>> contender("grad_cam").name, contender("extremal_perturbation:thorough").name
      ('grad_cam', 'extremal_perturbation:thorough')
    """
    method, _, preset = name.partition(":")
    if name == "center":
        return Contender(name, "", _center)
    if method == _EXTREMAL:
        if preset and preset not in PRESETS:
            raise ValueError(f"unknown preset {preset!r}; {nearest(preset, PRESETS)}")
        config = PRESETS[preset]() if preset else Config()
        published = preset in PUBLISHED
        return Contender(name, _settings(config) + ("" if published else f" {_EVIDENCE}"), _extremal(config, published))
    if _in_table(name):
        settings = torchray.SETTINGS[method]
        return Contender(name, str(settings), _of_torchray(method), frozenset(settings.layers), METHODS[method].all_classes)
    if name not in METHODS:
        others = *(f"{_EXTREMAL}:{one}" for one in PRESETS), *(f"{one}:{_TORCHRAY}" for one in torchray.SETTINGS)
        raise ValueError(f"unknown method {name!r}; {nearest(name, [*METHODS, 'center', *others])}")
    return Contender(name, "", _of_registry(name), METHODS[name].needs, METHODS[name].all_classes)


def _in_table(name: str) -> bool:
    """Whether a name is that of a method with the settings of TorchRay's table."""
    method, _, preset = name.partition(":")
    return preset == _TORCHRAY and method in torchray.SETTINGS


def _settings(config: Config) -> str:
    """All settings as text, also those of their defaults, which may change."""
    fields = (f"{field.name}={getattr(config, field.name)!r}" for field in dataclasses.fields(config))
    return re.sub(r" at 0x[0-9a-f]+", "", f"Config({', '.join(fields)})")


def check_layers(one: Contender, layers: Sequence[Activation]) -> None:
    """Raise a ValueError if a contender needs a layer and none of these is suitable."""
    if _in_table(one.name):
        torchray.layers(one.name.partition(":")[0], [layer.name for layer in layers])
    elif one.name in METHODS:
        METHODS[one.name].complete({}, layers)
    elif one.needs and not layers:
        raise ValueError(f"{one.name} needs {', '.join(sorted(one.needs))}, a layer of the model, and it has none")


def _of_registry(name: str) -> Any:
    method = METHODS[name]

    def explain(model: Model, images: AnyArray, targets: AnyArray, areas: Areas, key: Array, layers: Layers = None) -> Explanation:
        if layers is None:
            layers = activations(model, images) if method.needs else ()
        maps = maps_of_pairs(method, model, images, targets, **method.complete(dict(key=key, resize=True), layers))
        return Explanation(maps, maps)

    return explain


def _of_torchray(method: str) -> Any:
    def explain(model: Model, images: AnyArray, targets: AnyArray, areas: Areas, key: Array, layers: Layers = None) -> Explanation:
        if layers is None:
            layers = activations(model, images) if torchray.SETTINGS[method].layers else ()
        maps = torchray.maps(method, model, images, targets, key, [layer.name for layer in layers])
        return Explanation(maps, maps)

    return explain


def _extremal(config: Config, published: bool) -> Any:
    def explain(model: Model, images: AnyArray, targets: AnyArray, areas: Areas, key: Array, layers: Layers = None) -> Explanation:
        result = extremal_perturbation(model, images, targets, areas, config=config, key=key)
        maps = result.saliency() if published else result.evidence(images)
        pointing = None
        if not published:
            peaked = _peaked(result.point(images), *images.shape[1:3])
            pointing = jnp.where(jnp.isnan(maps).any(axis=(1, 2), keepdims=True), jnp.nan, peaked)  # NaN is a miss
        return Explanation(maps, -result.ranking().astype(jnp.float32), result.masks, pointing)

    return explain


def _center(model: Model, images: AnyArray, targets: AnyArray, areas: Areas, key: Array, layers: Layers = None) -> Explanation:
    """Maps that are highest in the centre of the image, whatever it shows."""
    count, height, width = images.shape[:3]
    maps = _peaked(np.tile([(height - 1) / 2, (width - 1) / 2], (count, 1)), height, width)
    return Explanation(maps, maps)


def _peaked(points: AnyArray, height: int, width: int) -> Float[Array, "N H W"]:
    """Maps that are highest at points (N, 2), and fall with the distance, so that the peak stays where it is at any size."""
    rows, columns = ((np.arange(side) - np.asarray(points)[:, axis, None]) / side for axis, side in enumerate((height, width)))
    return jnp.asarray(1 - np.hypot(rows[:, :, None], columns[:, None]), jnp.float32)
