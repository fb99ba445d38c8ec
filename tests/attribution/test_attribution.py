"""The methods by their definitions, in slow float64 loops, and their arguments."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import small
from attribution_cases import KEY, RNG, TARGETS, draw
from extremal_jax import Config, attribution, extremal_perturbation
from extremal_jax.graph import capture, intervene
from extremal_jax.ground.filters import gaussian_blur, resize
from extremal_jax.models import name_submodules
from extremal_jax.models.networks.vit import ViT

IMAGES, MODEL = small.images(), small.model()
IMAGE = IMAGES[0]


def close(actual: Any, expected: Any, tolerance: Any = 1e-5) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def layer_and_gradient(at: Any = "second", target: Any = 1) -> Any:
    """A layer of the small classifier, and the gradient there, in float64 from float32."""
    model = small.model()
    layer = capture(model, at)(IMAGES[:1])[1][at]
    gradient = jax.grad(lambda value: intervene(model, {at: lambda _: value})(IMAGES[:1])[0, target])(layer)
    return np.asarray(layer[0], np.float64), np.asarray(gradient[0], np.float64)


def test_maps_of_gradients() -> None:
    a, g = layer_and_gradient("first")
    explained = {
        method: getattr(attribution, method)(small.model(), IMAGES[0], 1, at="first")
        for method in ("gradient", "linear_approx", "grad_cam", "grad_cam_plus_plus")
    }
    h, w, channels = a.shape
    cam, cam_plus_plus = np.zeros((h, w)), np.zeros((h, w))
    for c in range(channels):
        cam += g[..., c].mean() * a[..., c]
        alpha = np.zeros((h, w))
        for u in np.ndindex(h, w):
            square = g[u][c] ** 2
            alpha[u] = square / (2 * square + a[..., c].sum() * g[u][c] ** 3) if square else 0
        cam_plus_plus += (alpha * np.maximum(g[..., c], 0)).sum() * a[..., c]
    close(explained["gradient"], np.abs(g).max(axis=-1))
    close(explained["linear_approx"], (a * g).sum(axis=-1))
    close(explained["grad_cam"], np.maximum(cam, 0), 1e-4)
    close(explained["grad_cam_plus_plus"], np.maximum(cam_plus_plus, 0), 1e-4)


def quadratic(images: Any) -> Any:
    """Scores in closed form: the sum of squares of each channel."""
    return (images**2).sum(axis=(1, 2))


def halves(images: Any) -> Any:
    """The brightness of the left half and of the right."""
    middle = images.shape[2] // 2
    return jnp.stack([images[:, :, :middle].mean((1, 2, 3)), images[:, :, middle:].mean((1, 2, 3))], axis=-1)


def test_dense_outputs_start_everywhere() -> None:
    image = draw(4, 5, 3)
    close(attribution.gradient(lambda x: x**2, image, 2), 2 * np.abs(image[..., 2]))


def test_resize_and_smooth() -> None:
    image = draw(4, 6, 3)
    maps = attribution.gradient(quadratic, image, 0)
    assert attribution.gradient(quadratic, image, 0, resize=(8, 9)).shape == (8, 9)
    np.testing.assert_array_equal(attribution.gradient(quadratic, image, 0, resize=True), maps)
    smoothed = attribution.gradient(quadratic, image, 0, smooth=0.5)
    close(smoothed, gaussian_blur(maps[..., None], 0.5 * 4)[..., 0])  # a share of the shorter side
    assert attribution.gradient(small.model(), IMAGES[0], 0, at="first", resize=True).shape == IMAGES[0].shape[:2]


def test_old_names() -> None:
    integrated_gradients: Any = attribution.integrated_gradients
    with pytest.warns(DeprecationWarning, match="integrated_gradients: `steps` is now called `num_steps`"):
        old = integrated_gradients(quadratic, IMAGE, 0, steps=2)
    np.testing.assert_array_equal(old, integrated_gradients(quadratic, IMAGE, 0, num_steps=2))
    with pytest.warns(DeprecationWarning, match="smooth_grad: `samples` is now called `num_samples`"):
        attribution.smooth_grad(quadratic, IMAGE, 0, samples=1)


def test_integrated_gradients_add_up() -> None:
    """To the score less that of the baseline: exactly for a quadratic, whose gradient is linear."""
    images, baseline = draw(2, 4, 5, 3), draw(4, 5, 3)
    maps = attribution.integrated_gradients(quadratic, images, TARGETS % 3, baseline=baseline, num_steps=2)
    scores = quadratic(images) - quadratic(baseline[None])
    close(maps.sum(axis=(1, 2)), scores[np.arange(2), TARGETS % 3])
    close(attribution.integrated_gradients(quadratic, images[0], 2, num_steps=1), images[0, ..., 2] ** 2)


def test_steps_of_integrated_gradients() -> None:
    cubic = lambda x: (x**3).sum(axis=(1, 2))  # noqa: E731
    one, many = (attribution.integrated_gradients(cubic, np.ones((1, 1, 1), np.float32), 0, num_steps=steps) for steps in (1, 100))
    assert float(one[0, 0]) == pytest.approx(0.75)  # 3 (1/2)²
    assert float(many[0, 0]) == pytest.approx(1, abs=1e-4)


BASELINES = {"number": 0.5, "channels": draw(3), "image": draw(8, 8, 3), "images": draw(2, 8, 8, 3)}


@pytest.mark.parametrize("baseline", BASELINES.values(), ids=BASELINES)
def test_baselines(baseline: Any) -> None:
    images = draw(2, 8, 8, 3)
    expected = images**2 - np.broadcast_to(baseline, images.shape) ** 2
    close(attribution.integrated_gradients(quadratic, images, 1, baseline=baseline, num_steps=1), expected[..., 1])


def test_blurred_baseline() -> None:
    """A constant image is its own blur."""
    maps = attribution.integrated_gradients(quadratic, np.ones((8, 8, 3), np.float32), 1, baseline="blur", num_steps=1)
    np.testing.assert_allclose(maps, np.zeros((8, 8)), atol=1e-6)


def test_smooth_grad_is_a_mean_under_noise() -> None:
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3)

    def spread(**options: Any) -> Any:
        maps = attribution.smooth_grad(quadratic, image, 0, key=KEY, **options)
        return float(np.abs(maps - 2 * image[..., 0]).mean())

    assert spread(noise=0.0, num_samples=3) == pytest.approx(0, abs=1e-6)
    assert spread(noise=0.01, num_samples=3) < spread(noise=0.1, num_samples=3) / 5
    assert spread(noise=0.01, num_samples=300) < spread(noise=0.01, num_samples=3) / 2


def test_smooth_grad_of_any_method() -> None:
    image = draw(4, 4, 3)
    expected = attribution.linear_approx(quadratic, image, 0)
    close(attribution.smooth_grad(quadratic, image, 0, method=attribution.linear_approx, noise=0.0, num_samples=2), expected)
    assert attribution.smooth_grad(small.model(), IMAGES, TARGETS, method=attribution.grad_cam, num_samples=1, at="first").shape == (
        2,
        10,
        12,
    )


@pytest.mark.parametrize("baseline", [[0.1, -0.2, 0.3], jnp.float32(0.5), draw(4, 5, 3), draw(2, 4, 5, 3)])
def test_arrays_among_the_options_of_smooth_grad(baseline: Any) -> None:
    """Without noise, the maps are those of the method; each image has its own baseline."""
    images, options = draw(2, 4, 5, 3), dict[str, Any](method=attribution.integrated_gradients, num_steps=1)
    maps = attribution.smooth_grad(quadratic, images, 0, noise=0.0, num_samples=2, baseline=baseline, **options)
    close(maps, attribution.integrated_gradients(quadratic, images, 0, baseline=baseline, num_steps=1), 1e-4)


def test_arrays_among_options_are_arguments(compilations: list[str]) -> None:
    image, baselines = draw(4, 4, 3), draw(2, 4, 4, 3)
    options = dict[str, Any](method=attribution.integrated_gradients, num_samples=2, key=KEY)
    first = attribution.smooth_grad(quadratic, image, 0, baseline=baselines[0], **options)
    del compilations[:]
    second = attribution.smooth_grad(quadratic, image, 0, baseline=baselines[1], **options)
    assert not compilations
    assert not np.array_equal(first, second)


def test_extremal_perturbation_of_a_layer() -> None:
    """By default smoothed like the saliency of the result; every option reaches the run."""
    config = Config(num_steps=2, pitch=2, sigma=2.0, perturbation="fade")
    quick = dict[str, Any](at="first", config=config, key=KEY)
    seen: list[Any] = []
    maps = attribution.extremal_saliency(MODEL, IMAGE, 0, areas=(0.3,), progress=seen.append, **quick)
    result = extremal_perturbation(MODEL, IMAGE, 0, (0.3,), **quick)
    np.testing.assert_array_equal(maps, result.saliency())
    assert seen[-1].num_steps == 2
    sharp = attribution.extremal_saliency(MODEL, IMAGE, 0, areas=(0.3,), resize=True, smooth=0.0, **quick)
    to_black: Any = dict(areas=(0.3,), config=Config(num_steps=2, pitch=4, sigma=4.0, perturbation="reference"), reference=0 * IMAGE)
    assert np.abs(attribution.extremal_saliency(MODEL, IMAGE, 0, **to_black)).max() > 0  # the reference reaches the run
    np.testing.assert_allclose(sharp, resize(jnp.asarray(result.masks)[0, ..., None], (20, 24))[..., 0], atol=1e-6)


def test_extremal_perturbation_that_goes_wrong_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    status = SimpleNamespace(ok=False, message="image 0, area 0: no gradient")
    result = SimpleNamespace(masks=IMAGE, status=status, saliency=lambda: jnp.ones((20, 24)))
    module = sys.modules["extremal_jax.attribution.extremal_saliency"]
    monkeypatch.setattr(module, "extremal_perturbation", lambda *arguments, **options: result)
    with pytest.warns(UserWarning, match="extremal_perturbation: image 0, area 0: no gradient"):
        attribution.extremal_saliency(MODEL, IMAGE, 0)


@pytest.mark.parametrize(("platform", "most"), [("cpu", 16), ("gpu", 128)])
@pytest.mark.parametrize(
    "call", [lambda model: attribution.rise(model, IMAGE, 0, num_masks=256), lambda model: attribution.occlusion(model, IMAGE, 0)]
)
def test_a_device_other_than_a_cpu_gets_more_altered_images_at_a_time(call: Any, platform: str, most: int, monkeypatch: Any) -> None:
    seen = []

    def model(images: Any) -> Any:
        seen.append(len(images))
        return MODEL(images)

    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    call(model)
    assert most / 2 < max(seen) <= most


def test_rise_by_its_definition() -> None:
    masks = RNG.uniform(size=(7, 20, 24)).astype(np.float32)
    model = jax.jit(small.model())
    scores = np.stack([np.asarray(model(IMAGES * mask[..., None]), np.float64) for mask in masks])  # (7, 2, classes)
    answers = {
        "logit": scores,
        "sigmoid": 1 / (1 + np.exp(-scores)),
        "softmax": np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True),
    }
    for score, values in answers.items():
        expected = np.einsum("mnk,mhw->nkhw", values, masks) / 7
        close(attribution.rise(small.model(), IMAGES, masks=masks, score=score, chunk_size=3), expected, 1e-4)
    picked = attribution.rise(small.model(), IMAGES, TARGETS, masks=masks)
    close(picked, expected[np.arange(2), TARGETS], 1e-4)


def test_random_masks() -> None:
    """With a score of one, the map is the mean of the masks; with few masks, it shows their cells."""

    def mean(**options: Any) -> Any:
        ones = lambda x: 1 + 0 * x.sum((1, 2))  # noqa: E731
        return attribution.rise(ones, np.ones((24, 24, 1), np.float32), 0, score="logit", **{"key": KEY, **options})

    many = mean(num_masks=1000)
    assert float(many.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(mean(num_masks=1000, probability=0.2).mean()) == pytest.approx(0.2, abs=0.01)
    one = mean(num_masks=1, key=None)
    assert np.ptp(many) < 0.2 < 0.9 < np.ptp(one)
    np.testing.assert_array_equal(mean(num_masks=1, key=jax.random.key(0)), one)

    def steepness(mask: Any) -> Any:
        return [float(np.abs(np.diff(mask, axis=axis)).max()) for axis in (0, 1)]

    np.testing.assert_allclose(steepness(one), 7 / 24, rtol=1e-5)  # a cell is 24 / grid pixels wide, and here somewhere whole
    np.testing.assert_allclose(steepness(mean(num_masks=1, grid=(12, 2))), (12 / 24, 2 / 24), rtol=1e-5)


def test_occlusion_by_its_definition() -> None:
    model, image = jax.jit(small.model()), IMAGES[0]
    height, width, window, stride = 20, 24, (8, 7), (5, 6)
    for fill in (0.0, draw(3)):
        drops, cover = np.zeros((height, width)), np.zeros((height, width))
        whole = float(model(image[None])[0, 2])
        for row in [0, 5, 10, 12]:
            for column in [0, 6, 12, 17]:
                hidden = image.copy()
                place = slice(row, row + window[0]), slice(column, column + window[1])
                hidden[place] = fill
                drops[place] += whole - float(model(hidden[None])[0, 2])
                cover[place] += 1
        maps = attribution.occlusion(small.model(), image, 2, window=window, stride=stride, fill=fill)
        close(maps, drops / cover, 1e-4)


def test_scores_of_occlusion() -> None:
    image = np.ones((4, 4, 1), np.float32)
    logit, softmax = (attribution.occlusion(halves, image, 0, window=4, score=score) for score in ("logit", "softmax"))
    np.testing.assert_allclose(logit, np.ones((4, 4)))
    np.testing.assert_allclose(softmax, np.zeros((4, 4)), atol=1e-6)  # both halves are hidden


def test_class_names() -> None:
    class Named(nnx.Module):
        @property
        def classes(self) -> Any:
            return "red", "green", "blue"

        def __call__(self, images: Any) -> Any:
            return quadratic(images)

    image = draw(4, 4, 3)
    for method in (attribution.gradient, attribution.integrated_gradients):
        np.testing.assert_array_equal(method(Named(), image, "blue"), method(Named(), image, 2))


def test_tokens_are_maps() -> None:
    """Two class tokens, then the patches, row by row."""
    image, weights = draw(8, 12, 3), np.arange(1.0, 9.0, dtype=np.float32)

    def model(images: Any) -> Any:
        patches = images.reshape(len(images), 2, 4, 3, 4, 3).mean(axis=(2, 4)).reshape(len(images), 6, 3)
        tokens = checkpoint_name(jnp.concatenate([jnp.ones((len(images), 2, 3)), patches], axis=1), "tokens")
        return jnp.einsum("ntc,t->nc", tokens, weights)

    assert attribution.gradient(model, image, 0, at="tokens").tolist() == [[3, 4, 5], [6, 7, 8]]


def test_vision_transformers() -> None:
    shapes = nnx.eval_shape(lambda: ViT(64, depth=1, classes=4, positions=1 + 4, rngs=nnx.Rngs(0)))
    network = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    images = draw(1, 32, 48, 3)
    maps = jax.eval_shape(lambda images: attribution.grad_cam(network, images, 1, at="blocks.0"), images)
    assert maps.shape == (1, 2, 3)
    with pytest.raises(ValueError, match="excitation backprop has no rule for square"):  # the variance of the layer norm
        attribution.excitation_backprop(network, images, 1)


def test_submodules_may_be_named() -> None:
    class Network(nnx.Module):
        def __init__(self) -> None:
            self.conv = nnx.Conv(3, 4, (3, 3), kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))

        def __call__(self, x: Any) -> Any:
            return nnx.relu(self.conv(x)).mean(axis=(1, 2))

    network = name_submodules(Network())
    maps = jax.eval_shape(lambda image: attribution.grad_cam(network, image, 1, at="conv"), draw(6, 8, 3))
    assert maps.shape == (6, 8)


def test_keys_of_either_kind() -> None:
    raw = jax.random.PRNGKey(3)
    options = dict[str, Any](num_masks=2, grid=3)
    same = attribution.rise(halves, IMAGE, 0, key=raw, **options), attribution.rise(halves, IMAGE, 0, key=jax.random.key(3), **options)
    np.testing.assert_array_equal(*same)


@pytest.mark.parametrize("method", [attribution.gradient, attribution.rise, attribution.occlusion])
def test_images_of_numpys_float64(method: Any) -> None:
    """Without a warning of JAX, which has no float64 unless it is told to."""
    np.testing.assert_allclose(method(MODEL, np.asarray(IMAGE, np.float64), 0), method(MODEL, IMAGE, 0), rtol=1e-5)
