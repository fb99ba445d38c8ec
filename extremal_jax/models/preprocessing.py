"""From an image to a network's input, and back."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num
from PIL import Image

from extremal_jax.data.images import MAX_PIXELS, to_rgb
from extremal_jax.ground.checks import as_array, check_choice, is_number, is_positive

_LONGEST = 16  # times the shorter side, of which a square input uses the middle
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """Scale the shorter side, crop the centre, normalise.

    Attributes:
      size: (height, width) after the crop, in pixels; without a crop, the smallest size that an image is scaled to.
      mean: the mean of each channel, for values in [0, 1].
      std: the standard deviation of each channel, likewise.
      crop: the share of the scaled image's shorter side that the crop keeps; None: keep the whole image.
      interpolation: "bilinear" or "bicubic".
      antialias: widen the filter when an image shrinks, so that nothing aliases; False needs bilinear interpolation.

    Raises:
      ValueError: if a length of `size` is no positive whole number, `mean` and `std` differ in length or are no numbers, `std` is
        not positive, `crop` is not above 0 and at most 1, or the interpolation is unknown.

    Example:
      >>> prepare = Preprocessing((2, 2), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
      >>> prepare(np.full((4, 8, 3), 255, np.uint8))[0, 0].tolist()
      [2.0, 2.0, 2.0]
      >>> prepare.picture(prepare(np.full((4, 8, 3), 51, np.uint8)))[0, 0].tolist()
      [51, 51, 51]
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float | None = 1.0
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        _check_size(self.size, ("height", "width"))
        _check_channels(self.mean, self.std)
        if self.crop is not None and not (is_number(self.crop) and 0 < self.crop <= 1):
            raise ValueError(
                f"crop must be a share of the scaled image, above 0 and at most 1, got {self.crop!r}; None keeps the whole image"
            )
        check_choice("interpolation", self.interpolation, _FILTERS if self.antialias else ["bilinear"])

    def __call__(self, image: Image.Image | np.ndarray | Any) -> Float[np.ndarray, "H W C"]:
        """(H, W, C) float32 from a Pillow image, which is turned upright, or an array (H, W, 3), (H, W, 1) or (H, W) of any library,
        of uint8 or of floats in [0, 1]."""
        opened = _pillow(image)
        scaled = self._scale(opened if self.crop is None else _middle(opened, self.size))
        height, width = scaled.shape[:2] if self.crop is None else self.size
        top, left = round((scaled.shape[0] - height) / 2), round((scaled.shape[1] - width) / 2)
        pixels = scaled[top : top + height, left : left + width].astype(np.float32) / 255
        return (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)

    def _scale(self, image: Image.Image) -> Num[np.ndarray, "H W 3"]:
        """The scaled image, with values from 0 to 255."""
        width, height = self._scaled_size(image.width, image.height)
        if width * height > MAX_PIXELS:
            raise ValueError(f"image of {image.height}x{image.width} pixels would be scaled to {height}x{width}; crop it first")
        if self.antialias:
            return np.asarray(image.resize((width, height), _FILTERS[self.interpolation]))
        factors = (height / image.height, width / image.width, 1)
        return _bilinear(np.asarray(image, np.float32), factors)

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the smallest scaled image that holds the uncropped input; its longer side is rounded down."""
        least_height, least_width = (math.floor(n / (self.crop or 1) + 1e-6) for n in self.size)  # 224 / (224 / 232) must be 232
        if width * least_height >= height * least_width:
            return width * least_height // height, least_height
        return least_width, height * least_width // width

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the network's input that is made of an image (H, W).

        Example:
          >>> Preprocessing((2, 2), mean=(0.5,) * 3, std=(0.25,) * 3, crop=None).input_size((4, 10))
          (2, 5)
        """
        return self.size if self.crop is not None else self._scaled_size(size[1], size[0])[::-1]

    def place(self, maps: Float[Any, "*N h w"], size: tuple[int, int]) -> Float[np.ndarray, "*N H W"]:
        """Maps of the network's input, laid on the image that the input was made of.

        Args:
          maps: of any size; they show the whole input.
          size: (H, W) of the image, upright.

        Returns:
          (..., H, W) float32: the maps, resized by bilinear interpolation to where the crop lies. Outside the crop, zero
          or the least value of a map, whichever is smaller.

        Example:
          >>> prepare = Preprocessing((2, 2), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
          >>> prepare.place(np.ones((2, 2)), (2, 4)).tolist()
          [[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]]
        """
        maps = np.asarray(maps, np.float32)
        placed = np.empty((*maps.shape[:-2], *size), np.float32)
        placed[...] = np.minimum(0, maps.min(axis=(-2, -1), keepdims=True))
        rows, columns = self._kept(size)
        placed[..., rows, columns] = _zoomed(maps, (rows.stop - rows.start, columns.stop - columns.start))
        return placed

    def cut(self, maps: Float[Any, "*N H W"]) -> Float[np.ndarray, "*N h w"]:
        """Maps of an image, as maps of the input that is made of it: the inverse of `place`.

        Example:
          >>> prepare = Preprocessing((2, 2), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
          >>> prepare.cut(np.array([[0.0, 1.0, 2.0, 3.0]] * 2)).tolist()
          [[1.0, 2.0], [1.0, 2.0]]
        """
        maps = np.asarray(maps, np.float32)
        height, width = maps.shape[-2:]
        rows, columns = self._kept((height, width))
        return _zoomed(maps[..., rows, columns], self.input_size((height, width)))

    def _kept(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of an image (H, W) that the crop keeps."""
        height, width = size
        scaled_width, scaled_height = self._scaled_size(width, height)
        inner_height, inner_width = (scaled_height, scaled_width) if self.crop is None else self.size
        top, left = round((scaled_height - inner_height) / 2), round((scaled_width - inner_width) / 2)
        sides = (top, inner_height, height, scaled_height), (left, inner_width, width, scaled_width)
        starts = [round(first * full / scaled) for first, _, full, scaled in sides]
        ends = [round((first + length) * full / scaled) for first, length, full, scaled in sides]
        rows, columns = (slice(start, max(end, start + 1)) for start, end in zip(starts, ends, strict=True))
        return rows, columns

    def picture(self, prepared: Float[Any, "*N H W C"]) -> np.ndarray:
        """The image of a network's input, (..., H, W, 3) uint8: the inverse of the normalisation."""
        pixels = np.asarray(prepared, np.float32) * np.asarray(self.std, np.float32) + np.asarray(self.mean, np.float32)
        return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


@dataclass(frozen=True)
class ClipPreprocessing:
    """Scale and crop the frames of a clip as `Preprocessing` does with images, and normalise them.

    Attributes:
      size: (time, height, width) of the clips that the network was trained on. Clips keep their length.
      mean: the mean of each channel, for values in [0, 1].
      std: the standard deviation of each channel, likewise.

    Raises:
      ValueError: as `Preprocessing` raises it.

    Example:
      >>> prepare = ClipPreprocessing((8, 2, 2), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
      >>> clip = prepare(np.full((5, 4, 8, 3), 255, np.uint8))
      >>> clip.shape, clip[0, 0, 0].tolist(), prepare.picture(clip).max().item()
      ((5, 2, 2, 3), [2.0, 2.0, 2.0], 255)
    """

    size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_size(self.size, ("time", "height", "width"))
        _check_channels(self.mean, self.std)

    @property
    def of_frames(self) -> Preprocessing:
        """The preparation of each frame."""
        return Preprocessing(self.size[1:], self.mean, self.std)

    def __call__(self, clip: np.ndarray | Any) -> Float[np.ndarray, "T H W C"]:
        """(T, H, W, C) float32 from an array (T, H, W, 3), (T, H, W, 1) or (T, H, W) of any library, of uint8 or of floats in
        [0, 1].

        Raises:
          TypeError, ValueError: if it is something else.
        """
        frames = np.asarray(as_array("clip", clip))
        if frames.ndim == 4 and frames.shape[-1] == 1:
            frames = frames[..., 0]
        if frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[-1] != 3):
            hint = "; move the channels last" if frames.ndim == 4 and 3 in frames.shape[:2] else ""
            raise ValueError(f"clip must be an array (T, H, W, 3), (T, H, W, 1) or (T, H, W), got the shape {frames.shape}{hint}")
        pixels, prepare = _bytes("clip", frames), self.of_frames
        return np.stack([prepare(frame) for frame in pixels])

    def picture(self, prepared: Float[Any, "*N T H W C"]) -> np.ndarray:
        """The clip of a network's input, (..., T, H, W, 3) uint8: the inverse of the normalisation."""
        return self.of_frames.picture(prepared)


@dataclass(frozen=True)
class SeriesPreprocessing:
    """Check a series. Its values stay as they are.

    Attributes:
      size: (time, feature) of the series that the network was trained on. Series keep their length and their features.

    Example:
      >>> prepare = SeriesPreprocessing((100, 6))
      >>> prepare([[1, 2], [3, 4], [5, 6]]).dtype
      dtype('float32')
    """

    size: tuple[int, int]

    def __call__(self, values: np.ndarray | Any) -> Float[np.ndarray, "T F"]:
        """(T, F) float32 from an array (T, F) of finite numbers, of any library.

        Raises:
          TypeError, ValueError: if it is something else.
        """
        numbers = np.asarray(as_array("series", values))
        if numbers.ndim != 2 or numbers.size == 0:
            raise ValueError(f"series must be an array (time, feature), got the shape {numbers.shape}")
        if numbers.dtype.kind not in "biuf" and not jnp.issubdtype(numbers.dtype, jnp.floating):  # ml_dtypes are not NumPy's own
            raise TypeError(f"series must hold real numbers, got {numbers.dtype}")
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32)
        if missing := int(np.count_nonzero(~np.isfinite(numbers))):
            raise ValueError(
                f"series must be finite, got NaN or infinity at {missing} of {numbers.size} places; fill in missing values first"
            )
        return numbers

    def picture(self, prepared: Float[Any, "*N T F"]) -> np.ndarray:
        """The series of a network's input: itself."""
        return np.asarray(prepared, np.float32)


def _check_size(size: Any, axes: tuple[str, ...]) -> None:
    given = size if isinstance(size, tuple | list) and len(size) == len(axes) else [None]
    if not all(isinstance(length, numbers.Integral) and not isinstance(length, bool) and int(length) > 0 for length in given):
        raise ValueError(f"size must be ({', '.join(axes)}), positive whole numbers, got {size!r}")


def _check_channels(mean: Any, std: Any) -> None:
    if not len(mean) == len(std) > 0 or not all(is_number(value) and math.isfinite(value) for value in (*mean, *std)):
        raise ValueError(f"mean and std must have one number for each channel, got {mean!r} and {std!r}")
    if not all(map(is_positive, std)):
        raise ValueError(f"std must be positive, got {std!r}; use 1 for channels that are not scaled")


def _zoomed(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (..., h, w), resized by bilinear interpolation."""
    factors = (*(1,) * (maps.ndim - 2), size[0] / maps.shape[-2], size[1] / maps.shape[-1])
    return _bilinear(maps, factors)


def _bilinear(array: np.ndarray, factors: tuple[float, ...]) -> np.ndarray:
    """Resize each axis by its factor, by bilinear interpolation without antialiasing."""
    from scipy.ndimage import zoom

    return zoom(array, factors, order=1, mode="nearest", grid_mode=True)


def described(config: Mapping[str, Any], other: Preprocessing) -> Preprocessing:
    """The preprocessing in the config.json of one of timm's repositories; missing or invalid fields come from `other`.

    Older files have the fields at the top, without "pretrained_cfg".

    Raises:
      ValueError: if it asks for another crop than the centre, or for another filter than `Preprocessing` has.

    Example:
      >>> config = {"pretrained_cfg": {"input_size": [3, 288, 288], "crop_pct": 0.95, "mean": "unknown"}}
      >>> described(config, Preprocessing((224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, crop=0.875))
      Preprocessing(size=(288, 288), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop=0.95, interpolation='bilinear', antialias=True)
    """
    found = config.get("pretrained_cfg") or config
    if not isinstance(found, dict) or (found is config and not {"input_size", "mean"} & {*config}):
        return other
    for field, known in (("crop_mode", ["center"]), ("interpolation", [*_FILTERS])):
        if found.get(field) not in (None, *known):
            raise ValueError(
                f"the {field} in config.json must be {' or '.join(map(repr, known))}, got {found[field]!r}; download the weights, give the"
                " file, and set `preprocessing`"
            )
    values: list[Any] = [found.get(key) for key in ("input_size", "mean", "std", "crop_pct", "interpolation")]
    size, mean, std, crop, interpolation = values
    return dataclasses.replace(
        other,
        size=tuple(size[1:]) if _numbers(size) and all(isinstance(n, int) and n > 0 for n in size) else other.size,
        mean=tuple(mean) if _numbers(mean) else other.mean,
        std=tuple(std) if _numbers(std) and min(std) > 0 else other.std,
        crop=crop if _numbers([crop] * 3) and 0 < crop <= 1 else other.crop,
        interpolation=interpolation or other.interpolation,
    )


def _numbers(values: Any) -> bool:
    """Whether these are three finite numbers."""
    return isinstance(values, list) and len(values) == 3 and all(type(n) in (int, float) and math.isfinite(n) for n in values)


def _middle(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a long strip, which holds the crop; scaling the whole strip would take the memory of its length."""
    longest = _LONGEST * max(size) // min(size) * min(image.size)
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _pillow(image: Image.Image | np.ndarray | Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return to_rgb(image)
    pixels = np.asarray(as_array("image", image))
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] != 3):
        hint = "; move the channels last" if pixels.ndim == 3 and pixels.shape[0] in (1, 3) else ""
        raise ValueError(f"image must be a Pillow image or an array (H, W, 3), (H, W, 1) or (H, W), got the shape {pixels.shape}{hint}")
    return Image.fromarray(_bytes("image", pixels)).convert("RGB")


def _bytes(name: str, pixels: np.ndarray) -> np.ndarray:
    """Pixels in 8 bits, from uint8 or floats in [0, 1]."""
    if pixels.size == 0:
        raise ValueError(f"{name} must not be empty, got the shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise TypeError(f"{name} must hold uint8, or floats in [0, 1], got {pixels.dtype}")
    pixels = pixels.astype(np.promote_types(pixels.dtype, np.float32), copy=False)  # ml_dtypes are not NumPy's own
    if not (np.isfinite(pixels).all() and np.min(pixels) >= 0 and np.max(pixels) <= 1):
        raise ValueError(f"{name} must hold floats in [0, 1], or uint8, got values from {np.min(pixels):g} to {np.max(pixels):g}")
    return np.rint(pixels * 255).astype(np.uint8)
