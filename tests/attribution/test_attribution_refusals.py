"""Refusals: what was expected, what came and what to try, before any work."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import extremal_jax
import small
from attribution_cases import KEY

attribution: Any = extremal_jax.attribution  # called wrongly below, as type checkers would say

IMAGES, MODEL = small.images(), small.model()
IMAGE = IMAGES[0]


def quadratic(images: Any) -> Any:
    return (images**2).sum(axis=(1, 2))


def attention(x: Any) -> Any:
    tokens = x.reshape(len(x), -1, 3)
    return (tokens @ jnp.swapaxes(tokens, 1, 2) @ tokens).mean(axis=1)


def gated(x: Any) -> Any:
    return (x * jax.nn.sigmoid(x)).sum((1, 2))


def flat(x: Any) -> Any:
    return checkpoint_name(x.sum((1, 2)), "pool") @ jnp.ones((3, 2))


def named_scores(x: Any) -> Any:
    return checkpoint_name(checkpoint_name(MODEL(x), "logits") * 2, "doubled")


def looped(x: Any) -> Any:
    return lax.fori_loop(0, 2, lambda _, x: checkpoint_name(x * 2, "inner"), x).sum((1, 2))


REFUSALS = {
    "unknown activation": (lambda: attribution.grad_cam(MODEL, IMAGE, 0, at="secnd"), "unknown activation 'secnd'; did you mean 'second'"),
    "no activations": (
        lambda: attribution.grad_cam(quadratic, IMAGE, 0, at="x"),
        "unknown activation 'x'; the function names no values: .*checkpoint_name.*ej.models.name_submodules",
    ),
    "in a loop": (lambda: attribution.gradient(looped, IMAGE, 0, at="inner"), "'inner' is computed within a scan"),
    "not spatial": (lambda: attribution.grad_cam(flat, IMAGE, 0, at="pool"), r"at must name a map.*'pool' is \(1, 3\)"),
    "not spatial, others are": (
        lambda: attribution.grad_cam(lambda x: flat(checkpoint_name(x, "map")), IMAGE, 0, at="pool"),
        "these are spatial: 'map'",
    ),
    "activation of integers": (
        lambda: attribution.gradient(lambda x: checkpoint_name((4 * x).astype(jnp.int32), "q").mean((1, 2)), IMAGE, 0, at="q"),
        "at must name an activation of real floats, and 'q' is of int32",
    ),
    "activation of complex numbers": (
        lambda: attribution.linear_approx(
            lambda x: jnp.abs(checkpoint_name(jnp.fft.fft2(x, axes=(1, 2)), "f")).mean((1, 2)), IMAGE, 0, at="f"
        ),
        "at must name an activation of real floats, and 'f' is of complex64",
    ),
    "no relu but a maximum of integers": (
        lambda: attribution.guided_backprop(
            lambda x: jnp.tanh(x).mean((1, 2)) * jnp.maximum(jnp.floor(8 * x.mean()).astype(jnp.int32), 0), IMAGE, 0
        ),
        r"no rule of guided backprop applies.*has no ReLU",
    ),
    "channel axis": (lambda: attribution.gradient(MODEL, IMAGE, 0, at="first", channel_axis=4), "channel_axis=4; 'first' is"),
    "channel axis of the batch": (lambda: attribution.gradient(MODEL, IMAGE, 0, at="first", channel_axis=0), "channel_axis=0; 'first' is"),
    "channel axis of images": (lambda: attribution.gradient(MODEL, IMAGE, 0, channel_axis=1), "got 1 without `at`"),
    "positions": (lambda: attribution.gradient(MODEL, IMAGE, 0, positions="mean"), "positions must be one of 'sum', 'softmax', got 'mean'"),
    "positions, contrastive": (
        lambda: attribution.contrastive_excitation_backprop(MODEL, IMAGE, 0, contrast_at="second", positions="max"),
        "positions must be one of 'sum', 'softmax', got 'max'",
    ),
    "no relu, guided": (
        lambda: attribution.guided_backprop(quadratic, IMAGE, 0),
        r"no rule of guided backprop applies.*has no ReLU, max\(x",
    ),
    "no relu but another": (
        lambda: attribution.guided_backprop(lambda x: jnp.where(x > 0, x, 0).sum((1, 2)), IMAGE, 0),
        "the model has no ReLU, .* as in jax.nn.relu and jnp.maximum",
    ),
    "no relu, deconvnet": (lambda: attribution.deconvnet(quadratic, IMAGE, 0), r"no rule of deconvnet applies.*max"),
    "attention": (lambda: attribution.excitation_backprop(attention, IMAGE, 0), "no rule for dot_general of several values that depend"),
    "gate": (lambda: attribution.excitation_backprop(gated, IMAGE, 0), "no rule for logistic"),
    "softmax": (lambda: attribution.excitation_backprop(lambda x: jax.nn.softmax(MODEL(x)), IMAGE, 0), "excitation backprop has no rule"),
    "loop": (lambda: attribution.excitation_backprop(looped, IMAGE, 0), "within a scan|no rule for scan"),
    "no linear head": (
        lambda: attribution.contrastive_excitation_backprop(
            lambda x: checkpoint_name(jax.nn.relu(x), "a").sum((1, 2)), IMAGE, 0, contrast_at="a"
        ),
        "negates the weights of the last linear layer; the model has none",
    ),
    "contrast before at": (
        lambda: attribution.contrastive_excitation_backprop(MODEL, IMAGE, 0, at="second", contrast_at="first"),
        "contrast_at must lie between at and the scores, but 'first' comes before 'second'",
    ),
    "contrast after the head": (
        lambda: attribution.contrastive_excitation_backprop(named_scores, IMAGE, 0, contrast_at="logits"),
        "contrast_at must lie between at and the last linear layer, but 'logits' comes after it",
    ),
    "contrast at the scores": (
        lambda: attribution.contrastive_excitation_backprop(named_scores, IMAGE, 0, contrast_at="doubled"),
        "the last linear layer, but 'doubled' comes after it",
    ),
    "contrast unknown": (
        lambda: attribution.contrastive_excitation_backprop(MODEL, IMAGE, 0, contrast_at="third"),
        "unknown activation 'third'",
    ),
    "probability 0": (lambda: attribution.rise(MODEL, IMAGE, 0, probability=0.0), r"probability must be in \(0, 1\), got 0.0"),
    "probability 1": (lambda: attribution.rise(MODEL, IMAGE, 0, probability=1.0), r"probability must be in \(0, 1\), got 1.0"),
    "probability nan": (lambda: attribution.rise(MODEL, IMAGE, 0, probability=float("nan")), "probability must be in"),
    "probability of no number": (lambda: attribution.rise(MODEL, IMAGE, 0, probability="a"), r"probability must be in \(0, 1\), got 'a'"),
    "an empty list of masks": (lambda: attribution.rise(MODEL, IMAGE, 0, masks=[]), r"masks must have the shape .*, got \(0,\)"),
    "no masks": (lambda: attribution.rise(MODEL, IMAGE, 0, num_masks=0), "num_masks must be a whole number, at least 1, got 0"),
    "grid": (lambda: attribution.rise(MODEL, IMAGE, 0, grid=21), r"grid must be .* from 1 to the image's \(20, 24\), got 21"),
    "masks of another shape": (
        lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.ones((4, 24, 20))),
        r"masks must .*\(4, 24, 20\)",
    ),
    "one mask": (lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.ones((20, 24))), r"masks must have the shape .*\(20, 24\)"),
    "infinite masks": (lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.full((1, 20, 24), np.inf)), "masks must be finite"),
    "masks and a key": (
        lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.ones((4, 20, 24)), num_masks=4),
        "pass either masks or num_masks, .*, got both",
    ),
    "score": (lambda: attribution.rise(MODEL, IMAGE, 0, score="sigmoi"), "score must be one of .*did you mean 'sigmoid'"),
    "chunk_size": (lambda: attribution.rise(MODEL, IMAGE, 0, chunk_size=0), "chunk_size must be a whole number, at least 1, got 0"),
    "window": (
        lambda: attribution.occlusion(MODEL, IMAGE, 0, window=(8, 25)),
        r"window must .* from 1 to the image's \(20, 24\), got \(8, 25\)",
    ),
    "window of nothing": (lambda: attribution.occlusion(MODEL, IMAGE, 0, window=0), "window must be a number of pixels"),
    "window of a truth": (lambda: attribution.occlusion(MODEL, IMAGE, 0, window=True), "window must be a number of pixels, .*, got True"),
    "stride": (
        lambda: attribution.occlusion(MODEL, IMAGE, 0, window=4, stride=5),
        r"stride must be .* from 1 to the window's \(4, 4\), got 5",
    ),
    "fill": (lambda: attribution.occlusion(MODEL, IMAGE, 0, fill=np.ones(4)), r"fill must be a number, an array of the shape \(3,\)"),
    "fill complex": (lambda: attribution.occlusion(MODEL, IMAGE, 0, fill=1j), r"fill must be a number, .*, got complex128\[\]"),
    "baseline complex": (
        lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, baseline=np.full(3, 1j)),
        r"baseline must be a number, .*, got complex128\[3\]",
    ),
    "fill infinite": (lambda: attribution.occlusion(MODEL, IMAGE, 0, fill=np.inf), "fill must be finite"),
    "baseline": (
        lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, baseline="black"),
        "must be one of 'blur', 'mean', 'past_mean', 'rise_blur', got 'black'",
    ),
    "steps": (
        lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, num_steps=2.5),
        "num_steps must be a whole number, at least 1, got 2.5",
    ),
    "noise": (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, noise=-1.0), "noise must be a share of the image's range"),
    "noise of no number": (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, noise="a"), "noise must be a share .*, got 'a'"),
    "resize to parts": (
        lambda: attribution.gradient(MODEL, IMAGE, 0, resize=(2.7, 3.2)),
        r"resize must be True, False or \(height, width\) in whole pixels of at least 1, got \(2.7, 3.2\)",
    ),
    "resize": (lambda: attribution.gradient(MODEL, IMAGE, 0, resize=(8,)), r"resize must be True, False or \(height, width\)"),
    "resize to nothing": (lambda: attribution.gradient(MODEL, IMAGE, 0, resize=(0, 8)), r"in whole pixels of at least 1, got \(0, 8\)"),
    "smooth": (lambda: attribution.gradient(MODEL, IMAGE, 0, smooth=-0.1), "smooth must be a share"),
    "smooth of no number": (lambda: attribution.gradient(MODEL, IMAGE, 0, smooth="a"), "smooth must be a share .*, got 'a'"),
    "target": (lambda: attribution.gradient(MODEL, IMAGE, 5), "targets must be class indices from 0 to 4, got 5"),
    "targets": (lambda: attribution.rise(MODEL, IMAGES, [0, 1, 2]), "targets must be one class index for each of the 2 images"),
    "images": (lambda: attribution.occlusion(MODEL, IMAGE[0], 0), r"images must have the shape \(H, W, C\)"),
    "model": (lambda: attribution.gradient(lambda x: x @ jnp.ones((4, 2)), IMAGE, 0), "model failed when called with images"),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.usefixtures("unchecked")
def test_refusals(call: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attribution.gradient(3, IMAGE, 0), "model must be a function of images"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, method="gradient"), "method must be a function such as `gradient`"),
        (lambda: attribution.rise(MODEL, np.zeros((8, 8, 3), np.uint8), 0), "images must hold floats"),
        (lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, at="first"), "unexpected keyword argument 'at'"),
        (lambda: attribution.rise(MODEL, IMAGE, 0, at="first"), "unexpected keyword argument 'at'"),
        (lambda: attribution.occlusion(MODEL, IMAGE, 0, at="first"), "unexpected keyword argument 'at'"),
        (
            lambda: attribution.gradient(MODEL, IMAGE, None),
            "targets must be a class for each image, or one for all, got None; only rise explains all classes",
        ),
        (lambda: attribution.occlusion(MODEL, IMAGE, None), "targets must be a class for each image"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, None), "targets must be a class for each image"),
        (lambda: attribution.gradient(MODEL, IMAGE, 0, at=["first"]), r"at must be the name of one activation, .*, got \['first'\]"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, at=["first"]), "at must be the name of one activation"),
        (lambda: attribution.grad_cam(MODEL, IMAGE, 0, at=None), "at must be the name of one activation, .*, got None"),
        (lambda: attribution.grad_cam_plus_plus(MODEL, IMAGE, 0, at=None), "at must be the name of one activation, .*, got None"),
        (lambda: attribution.extremal_saliency(MODEL, IMAGE, 0, at=3), "at must be the name of one activation, .*, got 3"),
        (lambda: attribution.contrastive_excitation_backprop(MODEL, IMAGE, 0, contrast_at=None), "contrast_at must be the name of one"),
        (lambda: attribution.gradient(MODEL, IMAGE, 0, at="first", channel_axis="x"), "channel_axis must be a whole number, .*, got 'x'"),
        (lambda: attribution.rise(MODEL, IMAGE, 0, key=0), r"key must be one of JAX's keys, such as jax.random.key\(0\), got 0"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, key=jax.random.split(KEY)), "key must be one of JAX's keys"),
        (lambda: attribution.extremal_saliency(MODEL, IMAGE, 0, key=np.zeros(2)), "key must be one of JAX's keys"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refusals_of_types(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
