"""Images, reference images and initial parameters: what is taken, and what is refused in which sentence."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.boundary.images import check_images
from small import IMAGES


class Tensor:
    """A tensor of another library: an array behind `detach`, `cpu` and `__array__`, in that order."""

    def __init__(self, values: Any, on_host: Any = False) -> None:
        self.values, self.on_host, self.shape, self.dtype = values, on_host, values.shape, f"library.{values.dtype}"

    def detach(self) -> Any:
        return self

    def cpu(self) -> Any:
        return Tensor(self.values, on_host=True)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        assert self.on_host
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize(
    "images",
    [
        jnp.asarray(IMAGES),
        Tensor(IMAGES),
        list(IMAGES),
        tuple(map(jnp.asarray, IMAGES)),
        list(map(Tensor, IMAGES)),
        np.ma.masked_array(IMAGES),
        np.ma.masked_array(IMAGES, np.zeros(IMAGES.shape, bool)),
    ],
    ids=["jax", "tensor", "list", "tuple", "list of tensors", "masked array", "masked array without missing values"],
)
def test_arrays_of_any_kind(images: Any) -> None:
    checked = check_images("images", images)
    assert isinstance(checked, np.ndarray | jax.Array)
    assert not isinstance(checked, np.ma.MaskedArray)
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, IMAGES)


def test_nested_lists_are_an_image() -> None:
    assert check_images("images", IMAGES[0].tolist()).shape == (20, 24, 3)


def test_a_run_takes_a_tensor() -> None:
    np.testing.assert_array_equal(small.explain(Tensor(IMAGES), Tensor(np.array(small.TARGETS))).masks, small.explain().masks)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.where(IMAGES > 2, np.nan, IMAGES), ValueError, "images must be finite, got NaN or infinity among the values"),
        (IMAGES[0, 0], ValueError, r"images must have the shape \(H, W, C\) or \(N, H, W, C\), got \(24, 3\)"),
        (IMAGES[None], ValueError, "images must have the shape"),
        (IMAGES[:0], ValueError, r"images must not be empty, got the shape \(0, 20, 24, 3\)"),
        (np.zeros((2, 0, 24, 3), np.float32), ValueError, "images must not be empty"),
        (IMAGES.astype(np.uint8), TypeError, "images must hold floats as the model expects them, got uint8; prepare them as the model was"),
        (IMAGES > 0, TypeError, "images must hold floats .* got bool"),
        (IMAGES.transpose(0, 3, 1, 2), ValueError, r"channels last, got the shape \(2, 3, 20, 24\); images.transpose\(0, 2, 3, 1\)"),
        (IMAGES[0].transpose(2, 0, 1), ValueError, r"channels last, got the shape \(3, 20, 24\); images.transpose\(1, 2, 0\)"),
        (IMAGES[..., :1].transpose(0, 3, 1, 2), ValueError, r"channels last, got the shape \(2, 1, 20, 24\)"),
        ([IMAGES[0], IMAGES[1, 1:]], ValueError, r"images must have one shape, got a sequence of \(19, 24, 3\), \(20, 24, 3\); resize"),
        ([Tensor(IMAGES[0]), Tensor(IMAGES[1, 1:])], ValueError, "images must have one shape, got a sequence of"),
        ([[[0.5], [0.5, 0.5]]], ValueError, "images must have one shape, got a ragged sequence"),
        ([IMAGES[0].tolist(), IMAGES[1, 1:].tolist()], ValueError, r"one shape, got a sequence of \(19, 24, 3\), \(20, 24, 3\); resize"),
        (np.ma.masked_greater(IMAGES, 2), TypeError, r"images must not be a masked array with missing values; fill them, as in"),
        (None, TypeError, "images must be an array of numbers, got None"),
        ("cat.png", TypeError, "images must be an array of numbers, got 'cat.png'"),
    ],
)  # fmt: skip
def test_bad_images(images: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        check_images("images", images)
    with pytest.raises(error, match=message):
        small.explain(images)


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 7, 24), (1, 5, 5, 3), (2, 3, 24, 4), (16, 16, 64)])
def test_axes_that_are_not_plainly_in_another_order(shape: Any) -> None:
    assert check_images("images", np.zeros(shape, np.float32)).shape == shape


def test_advice_for_integers_holds_for_normalised_models() -> None:
    with pytest.raises(TypeError) as raised:
        small.explain(IMAGES.astype(np.uint8))
    assert "/ 255" not in str(raised.value)
    assert "model.preprocess(image)" in str(raised.value)


def test_images_too_small_for_a_lattice() -> None:
    message = "images of 4x24 pixels are too small for a lattice of masks with pitch 4; give larger images, or a smaller pitch"
    with pytest.raises(ValueError, match=message):
        small.explain(IMAGES[:, :4])


@pytest.mark.parametrize("name", ["smoothing", "feather"])
def test_lengths_beyond_the_image(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at most 10 pixels, half of the shorter side, got 11$"):
        small.explain(config=dataclasses.replace(small.CONFIG, **cast(Any, {name: 11.0})))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (np.zeros((2, 2, 5, 5), np.float32), ValueError, r"initial_params must have the shape \(2, 2, 5, 6\), got \(2, 2, 5, 5\)"),
        (np.full((2, 2, 5, 6), 1.5, np.float32), ValueError, r"initial_params must be in \[0, 1\], got values from 1.5 to 1.5"),
        (np.full((2, 2, 5, 6), np.nan, np.float32), ValueError, "initial_params must be in"),
        (np.zeros((2, 2, 5, 6), int), TypeError, r"initial_params must be floats in \[0, 1\], got int64"),
    ],
)
def test_bad_parameters(params: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        small.explain(initial_params=params)


@pytest.mark.parametrize("call", [small.explain, small.smallest])
def test_bad_references(call: Any) -> None:
    needs = dataclasses.replace(small.CONFIG, perturbation="reference")
    with pytest.raises(ValueError, match="reference must be given if, and only if, the config's perturbation is 'reference'"):
        call(config=needs)
    with pytest.raises(ValueError, match="reference must be given if, and only if"):
        call(reference=IMAGES)
    with pytest.raises(ValueError, match=r"shape of the images or of one of them, \(2, 20, 24, 3\), got \(20, 23, 3\)"):
        call(config=needs, reference=IMAGES[0, :, :23])
    with pytest.raises(ValueError, match="reference must be finite"):
        call(config=needs, reference=IMAGES * np.nan)


def test_traced_images_are_checked_for_shape_and_dtype() -> None:
    with pytest.raises(TypeError, match="images must hold floats"):
        jax.eval_shape(lambda images: small.explain(images).masks, IMAGES.astype(np.int32))
    with pytest.raises(ValueError, match="images must have their channels last"):
        jax.eval_shape(lambda images: small.explain(images).masks, IMAGES.transpose(0, 3, 1, 2))


def test_images_of_two_ranges_are_not_one_batch() -> None:
    """Bytes among floats would become floats up to 255."""
    with pytest.raises(TypeError, match=r"images must all hold floats as the model expects them, got float32 and uint8; prepare each"):
        small.explain([IMAGES[0], IMAGES[1].astype(np.uint8)])


def test_a_grey_image_is_told_its_channel() -> None:
    with pytest.raises(ValueError, match=r"got \(20, 24\); other inputs .*, and a grey image a last axis of one channel, `image"):
        small.explain(IMAGES[0, ..., 0], 1)


def test_bytes_of_other_machines() -> None:
    np.testing.assert_array_equal(small.explain(IMAGES.astype(">f4")).rewards, small.explain(IMAGES).rewards)
