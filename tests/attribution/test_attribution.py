"""The methods by their definitions, in slow float64 loops; their arguments; what they refuse."""

from __future__ import annotations

import inspect

import flax.linen as linen
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import small
from extremal_jax import Config, attribution
from extremal_jax.attribution import CONTRAST, DECONVNET, EXCITATION, GUIDED
from extremal_jax.graph import capture, intervene, with_backward_rules
from extremal_jax.models import name_submodules
from extremal_jax.models.networks.vit import ViT

KEY = jax.random.key(0, impl="unsafe_rbg")  # which compiles sooner than the usual kind
RNG = np.random.default_rng(0)
IMAGES, TARGETS = small.images(), np.array([1, 3])


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def sent(function, table, x, g):
    """What a table's rules send back through a function."""

    @jax.jit
    def back(x, g):
        return jax.vjp(with_backward_rules(function, table), x)[1](g)[0]

    return back(x, g)


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# Rules, one unit at a time: units hand down to the units that they see, each by its share of what excites it.


def handed_down(x, sees, g):
    """x: values by index; sees: for each unit above, {index below: weight}; g: of each unit above."""
    shares = np.zeros(x.shape)
    for unit, weights in sees.items():
        total = sum(max(w, 0.0) * float(x[j]) for j, w in weights.items())
        for j, w in weights.items():
            shares[j] += max(w, 0.0) * float(x[j]) / total * float(g[unit]) if total else 0
    return shares


def test_dense():
    x, w, g = abs(draw(2, 4)), draw(4, 3), draw(2, 3)
    sees = {(n, i): {(n, j): float(w[j, i]) for j in range(4)} for n in range(2) for i in range(3)}
    for function in (lambda x: x @ w, lambda x: (w.T @ x.T).T, lambda x: x @ w + 1):  # on either side; with a bias
        close(sent(function, EXCITATION, x, g), handed_down(x, sees, g))


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution(stride):
    x, w = abs(draw(1, 5, 6, 2)), draw(3, 3, 2, 3)

    def function(x):
        return lax.conv_general_dilated(x, w, (stride, stride), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC"))

    g = draw(*jax.eval_shape(function, x).shape)
    sees = {}
    for _, row, column, i in np.ndindex(*g.shape):
        places = [(a, b, stride * row + a - 1, stride * column + b - 1) for a in range(3) for b in range(3)]
        inside = [(a, b, y, z) for a, b, y, z in places if 0 <= y < 5 and 0 <= z < 6]
        sees[0, row, column, i] = {(0, y, z, c): float(w[a, b, c, i]) for a, b, y, z in inside for c in range(2)}
    close(sent(function, EXCITATION, x, g), handed_down(x, sees, g))


def test_pools_and_means():
    x = abs(draw(1, 4, 4, 2))
    g = draw(1, 2, 2, 2)
    windows = {(0, i, j, c): {(0, 2 * i + a, 2 * j + b, c): 0.25 for a in range(2) for b in range(2)} for i, j, c in np.ndindex(2, 2, 2)}
    close(sent(lambda x: linen.avg_pool(x, (2, 2), (2, 2)), EXCITATION, x, g), handed_down(x, windows, g))
    whole = {(0, c): {(0, i, j, c): 1 / 16 for i, j in np.ndindex(4, 4)} for c in range(2)}
    close(sent(lambda x: x.mean(axis=(1, 2)), EXCITATION, x, g[:, 0, 0]), handed_down(x, whole, g[:, 0, 0]))
    highest = {  # all that the window's maximum gets
        unit: {max(below, key=lambda index: x[index]): 1.0} for unit, below in windows.items()
    }
    pooled = lambda x: linen.max_pool(jax.nn.relu(x), (2, 2), (2, 2))  # noqa: E731
    close(sent(pooled, EXCITATION, x, g), handed_down(x, highest, g))


def test_sums_of_two():
    x, g = abs(draw(6)), draw(6)
    first, second = 2.0, 0.5

    def function(x):
        return x * first + x * second  # two branches of one value

    close(sent(function, EXCITATION, x, g), g)
    close(sent(lambda x: jnp.concatenate([x, x * 2]), EXCITATION, x, np.tile(g, 2)), 2 * g)
    a, b = abs(draw(3)), abs(draw(3))
    shares = sent(lambda x: x[:3] + x[3:], EXCITATION, np.concatenate([a, b]), g[:3])
    close(shares, np.concatenate([a / (a + b) * g[:3], b / (a + b) * g[:3]]))


def test_normalisations_hand_down_the_whole():
    x, g, scale = draw(4), draw(4), draw(4)
    close(sent(lambda x: (x - 0.3) * scale / 2.0 + 1.0, EXCITATION, x, g), g)
    close(sent(lambda x: scale * x, EXCITATION, x, g), g)


def test_rectifiers():
    x, g = np.array([-1.0, 0.0, 2.0, 3.0], np.float32), np.array([1.0, 2.0, -3.0, 4.0], np.float32)
    assert sent(jax.nn.relu, GUIDED, x, g).tolist() == [0, 2, 0, 4]  # zero counts as active
    assert sent(jax.nn.relu, DECONVNET, x, g).tolist() == [1, 2, 0, 4]
    assert sent(jax.nn.relu, EXCITATION, x, g).tolist() == [0, 0, -3, 4]
    assert sent(lambda x: jnp.maximum(0, x), GUIDED, x, g).tolist() == [0, 2, 0, 4]


def test_contrast_negates_the_last_linear_layer_alone():
    x, w, head, g = abs(draw(1, 4)), draw(4, 3), draw(3, 2), np.array([[1.0, 0.0]], np.float32)
    hidden = np.maximum(x @ w, 0)
    above = handed_down(hidden, {(0, k): {(0, i): -float(head[i, k]) for i in range(3)} for k in range(1)}, g)
    below = handed_down(x, {(0, i): {(0, j): float(w[j, i]) for j in range(4)} for i in range(3) if hidden[0, i] > 0}, above)
    close(sent(lambda x: jax.nn.relu(x @ w) @ head, CONTRAST, x, g), below)


def test_nothing_is_handed_to_nothing():
    assert sent(lambda x: x @ jnp.ones((3, 1)), EXCITATION, np.zeros((1, 3), np.float32), np.ones((1, 1), np.float32)).tolist() == [
        [0, 0, 0]
    ]
    assert sent(lambda x: x + x, EXCITATION, np.zeros(1, np.float32), np.ones(1, np.float32)).tolist() == [0]


# Networks.


def positive(x):
    """Every kind of operation that has a rule; all weights positive, so that nothing is lost."""
    weights = iter(np.abs(np.random.default_rng(1).standard_normal((4, 3, 3, 4, 4))).astype(np.float32))

    def conv(x, size):
        kernel = next(weights)[:size, :size, : x.shape[-1]]
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    x = checkpoint_name(jax.nn.relu(conv(x, 3) * 0.3 + 0.1), "conv")
    x = checkpoint_name(linen.max_pool(x, (2, 2), (2, 2)), "max_pool")
    x = checkpoint_name(jax.nn.relu(x + conv(x, 1)), "residual")
    x = checkpoint_name(jnp.concatenate([x, conv(x, 3)], axis=-1), "concatenated")
    x = checkpoint_name(linen.avg_pool(x, (2, 2), (2, 2)), "avg_pool")
    return x.mean(axis=(1, 2)) @ jnp.ones((8, 3))


def test_excitation_is_conserved():
    layers = (None, "conv", "max_pool", "residual", "concatenated", "avg_pool")
    totals = jax.jit(lambda image: [attribution.excitation_backprop(positive, image, 1, at=at).sum() for at in layers])
    np.testing.assert_allclose(totals(abs(draw(8, 12, 3))), np.ones(len(layers)), rtol=1e-5)


def test_folded_batch_norms_change_nothing():
    """Where their scales are positive."""
    kernel, scale, mean = draw(3, 4), np.array([0.5, 1, 2, 3], np.float32), draw(4)
    norm = lambda x: jax.nn.relu(scale * ((x @ kernel) - mean)).mean(axis=(1, 2))  # noqa: E731
    folded = lambda x: jax.nn.relu(x @ (kernel * scale) - scale * mean).mean(axis=(1, 2))  # noqa: E731
    image = abs(draw(6, 6, 3))
    close(attribution.excitation_backprop(folded, image, 2), attribution.excitation_backprop(norm, image, 2), 1e-4)


def layer_and_gradient(at="second", target=1):
    """A layer of the small classifier, and the gradient there, in float64 from float32."""
    model = small.model()
    layer = capture(model, at)(IMAGES[:1])[1][at]
    gradient = jax.grad(lambda value: intervene(model, {at: lambda _: value})(IMAGES[:1])[0, target])(layer)
    return np.asarray(layer[0], np.float64), np.asarray(gradient[0], np.float64)


def test_maps_of_gradients():
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


def quadratic(images):
    """Scores in closed form: the sum of squares of each channel."""
    return (images**2).sum(axis=(1, 2))


def halves(images):
    """The brightness of the left half and of the right."""
    middle = images.shape[2] // 2
    return jnp.stack([images[:, :, :middle].mean((1, 2, 3)), images[:, :, middle:].mean((1, 2, 3))], axis=-1)


def test_dense_outputs_start_everywhere():
    image = draw(4, 5, 3)
    close(attribution.gradient(lambda x: x**2, image, 2), 2 * np.abs(image[..., 2]))


def test_resize_and_smooth():
    image = draw(4, 6, 3)
    maps = attribution.gradient(quadratic, image, 0)
    assert attribution.gradient(quadratic, image, 0, resize=(8, 9)).shape == (8, 9)
    np.testing.assert_array_equal(attribution.gradient(quadratic, image, 0, resize=True), maps)
    smoothed = attribution.gradient(quadratic, image, 0, smooth=0.5)
    assert np.ptp(smoothed) < np.ptp(maps) / 2
    constant = attribution.gradient(quadratic, np.ones_like(image), 0, smooth=0.5)  # the border is repeated
    close(constant, np.full((4, 6), 2.0))
    assert attribution.gradient(small.model(), IMAGES[0], 0, at="first", resize=True).shape == IMAGES[0].shape[:2]


def test_integrated_gradients_add_up():
    """To the score less that of the baseline: exactly for a quadratic, whose gradient is linear."""
    images, baseline = draw(2, 4, 5, 3), draw(4, 5, 3)
    maps = attribution.integrated_gradients(quadratic, images, TARGETS % 3, baseline=baseline, steps=2)
    scores = quadratic(images) - quadratic(baseline[None])
    close(maps.sum(axis=(1, 2)), scores[np.arange(2), TARGETS % 3])
    close(attribution.integrated_gradients(quadratic, images[0], 2, steps=1), images[0, ..., 2] ** 2)


def test_steps_of_integrated_gradients():
    cubic = lambda x: (x**3).sum(axis=(1, 2))  # noqa: E731
    one, many = (attribution.integrated_gradients(cubic, np.ones((1, 1, 1), np.float32), 0, steps=steps) for steps in (1, 100))
    assert float(one[0, 0]) == pytest.approx(0.75)  # 3 (1/2)²
    assert float(many[0, 0]) == pytest.approx(1, abs=1e-4)


BASELINES = {"number": 0.5, "channels": draw(3), "image": draw(8, 8, 3), "images": draw(2, 8, 8, 3)}


@pytest.mark.parametrize("baseline", BASELINES.values(), ids=BASELINES)
def test_baselines(baseline):
    images = draw(2, 8, 8, 3)
    expected = images**2 - np.broadcast_to(baseline, images.shape) ** 2
    close(attribution.integrated_gradients(quadratic, images, 1, baseline=baseline, steps=1), expected[..., 1])


def test_blurred_baseline():
    """A constant image is its own blur."""
    maps = attribution.integrated_gradients(quadratic, np.ones((8, 8, 3), np.float32), 1, baseline="blur", steps=1)
    np.testing.assert_allclose(maps, np.zeros((8, 8)), atol=1e-6)


def test_smooth_grad_is_a_mean_under_noise():
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3)

    def spread(**options):
        maps = attribution.smooth_grad(quadratic, image, 0, key=KEY, **options)
        return float(np.abs(maps - 2 * image[..., 0]).mean())

    assert spread(noise=0.0, samples=3) == pytest.approx(0, abs=1e-6)
    assert spread(noise=0.01, samples=3) < spread(noise=0.1, samples=3) / 5
    assert spread(noise=0.01, samples=300) < spread(noise=0.01, samples=3) / 2


def test_smooth_grad_of_any_method():
    image = draw(4, 4, 3)
    expected = attribution.linear_approx(quadratic, image, 0)
    close(attribution.smooth_grad(quadratic, image, 0, method=attribution.linear_approx, noise=0.0, samples=2), expected)
    assert attribution.smooth_grad(small.model(), IMAGES, TARGETS, method=attribution.grad_cam, samples=1, at="first").shape == (2, 10, 12)


@pytest.mark.parametrize("baseline", [[0.1, -0.2, 0.3], jnp.float32(0.5), draw(4, 5, 3), draw(2, 4, 5, 3)])
def test_arrays_among_the_options_of_smooth_grad(baseline):
    """Without noise, the maps are those of the method; each image has its own baseline."""
    images, options = draw(2, 4, 5, 3), dict(method=attribution.integrated_gradients, steps=1)
    maps = attribution.smooth_grad(quadratic, images, 0, noise=0.0, samples=2, baseline=baseline, **options)
    close(maps, attribution.integrated_gradients(quadratic, images, 0, baseline=baseline, steps=1), 1e-4)


def test_arrays_among_options_are_arguments(compilations):
    image, baselines = draw(4, 4, 3), draw(2, 4, 4, 3)
    options = dict(method=attribution.integrated_gradients, samples=2, key=KEY)
    first = attribution.smooth_grad(quadratic, image, 0, baseline=baselines[0], **options)
    del compilations[:]
    second = attribution.smooth_grad(quadratic, image, 0, baseline=baselines[1], **options)
    assert not compilations
    assert not np.array_equal(first, second)


def test_extremal_perturbation_of_a_layer():
    quick = dict(at="first", areas=(0.3,), config=Config(num_steps=2, step=2, sigma=2.0, perturbation="fade"))
    assert attribution.extremal_saliency(MODEL, IMAGE, 0, **quick).shape == (10, 12)
    assert attribution.extremal_saliency(MODEL, IMAGE, 0, **quick, resize=True).shape == (20, 24)


def test_rise_by_its_definition():
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


def test_random_masks():
    """With a score of one, the map is the mean of the masks; with few masks, it shows their cells."""

    def mean(**options):
        ones = lambda x: 1 + 0 * x.sum((1, 2))  # noqa: E731
        return attribution.rise(ones, np.ones((24, 24, 1), np.float32), 0, score="logit", **{"key": KEY, **options})

    many = mean(num_masks=1000)
    assert float(many.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(mean(num_masks=1000, probability=0.2).mean()) == pytest.approx(0.2, abs=0.01)
    one = mean(num_masks=1, key=None)
    assert np.ptp(many) < 0.2 < 0.9 < np.ptp(one)
    np.testing.assert_array_equal(mean(num_masks=1, key=jax.random.key(0)), one)

    def steepness(mask):
        return [float(np.abs(np.diff(mask, axis=axis)).max()) for axis in (0, 1)]

    np.testing.assert_allclose(steepness(one), 7 / 24, rtol=1e-5)  # a cell is 24 / grid pixels wide, and here somewhere whole
    np.testing.assert_allclose(steepness(mean(num_masks=1, grid=(12, 2))), (12 / 24, 2 / 24), rtol=1e-5)


def test_occlusion_by_its_definition():
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


def test_scores_of_occlusion():
    image = np.ones((4, 4, 1), np.float32)
    logit, softmax = (attribution.occlusion(halves, image, 0, window=4, score=score) for score in ("logit", "softmax"))
    np.testing.assert_allclose(logit, np.ones((4, 4)))
    np.testing.assert_allclose(softmax, np.zeros((4, 4)), atol=1e-6)  # both halves are hidden


def test_class_names():
    class Named(nnx.Module):
        @property
        def classes(self):
            return "red", "green", "blue"

        def __call__(self, images):
            return quadratic(images)

    image = draw(4, 4, 3)
    for method in (attribution.gradient, attribution.integrated_gradients):
        np.testing.assert_array_equal(method(Named(), image, "blue"), method(Named(), image, 2))


def test_tokens_are_maps():
    """Two class tokens, then the patches, row by row."""
    image, weights = draw(8, 12, 3), np.arange(1.0, 9.0, dtype=np.float32)

    def model(images):
        patches = images.reshape(len(images), 2, 4, 3, 4, 3).mean(axis=(2, 4)).reshape(len(images), 6, 3)
        tokens = checkpoint_name(jnp.concatenate([jnp.ones((len(images), 2, 3)), patches], axis=1), "tokens")
        return jnp.einsum("ntc,t->nc", tokens, weights)

    assert attribution.gradient(model, image, 0, at="tokens").tolist() == [[3, 4, 5], [6, 7, 8]]


def test_vision_transformers():
    shapes = nnx.eval_shape(lambda: ViT(64, depth=1, classes=4, positions=1 + 4, rngs=nnx.Rngs(0)))
    network = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    images = draw(1, 32, 48, 3)
    maps = jax.eval_shape(lambda images: attribution.grad_cam(network, images, 1, at="blocks.0"), images)
    assert maps.shape == (1, 2, 3)
    with pytest.raises(ValueError, match="excitation backprop has no rule for square"):  # the variance of the layer norm
        attribution.excitation_backprop(network, images, 1)


def test_submodules_may_be_named():
    class Network(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(3, 4, (3, 3), kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return nnx.relu(self.conv(x)).mean(axis=(1, 2))

    network = name_submodules(Network())
    maps = jax.eval_shape(lambda image: attribution.grad_cam(network, image, 1, at="conv"), draw(6, 8, 3))
    assert maps.shape == (6, 8)


# Refusals.

IMAGE = IMAGES[0]
MODEL = small.model()


def attention(x):
    tokens = x.reshape(len(x), -1, 3)
    return (tokens @ jnp.swapaxes(tokens, 1, 2) @ tokens).mean(axis=1)


def gated(x):
    return (x * jax.nn.sigmoid(x)).sum((1, 2))


def flat(x):
    return checkpoint_name(x.sum((1, 2)), "pool") @ jnp.ones((3, 2))


def named_scores(x):
    return checkpoint_name(checkpoint_name(MODEL(x), "logits") * 2, "doubled")


def looped(x):
    return lax.fori_loop(0, 2, lambda _, x: checkpoint_name(x * 2, "inner"), x).sum((1, 2))


REFUSALS = {
    "unknown activation": (lambda: attribution.grad_cam(MODEL, IMAGE, 0, at="secnd"), "unknown activation 'secnd'; did you mean 'second'"),
    "no activations": (lambda: attribution.grad_cam(quadratic, IMAGE, 0, at="x"), "unknown activation 'x'; the function names no values"),
    "in a loop": (lambda: attribution.gradient(looped, IMAGE, 0, at="inner"), "'inner' is computed within a scan"),
    "not spatial": (lambda: attribution.grad_cam(flat, IMAGE, 0, at="pool"), r"at must name a map.*'pool' is \(1, 3\)"),
    "not spatial, others are": (
        lambda: attribution.grad_cam(lambda x: flat(checkpoint_name(x, "map")), IMAGE, 0, at="pool"),
        "these are: 'map'",
    ),
    "channel axis": (lambda: attribution.gradient(MODEL, IMAGE, 0, at="first", channel_axis=4), "channel_axis=4; 'first' is"),
    "channel axis of the batch": (lambda: attribution.gradient(MODEL, IMAGE, 0, at="first", channel_axis=0), "channel_axis=0; 'first' is"),
    "channel axis of images": (lambda: attribution.gradient(MODEL, IMAGE, 0, channel_axis=1), "got 1 without `at`"),
    "no relu, guided": (
        lambda: attribution.guided_backprop(quadratic, IMAGE, 0),
        r"no rule of guided backprop applies.*has no ReLU, max\(x",
    ),
    "no relu but another": (
        lambda: attribution.guided_backprop(lambda x: jnp.where(x > 0, x, 0).sum((1, 2)), IMAGE, 0),
        "the model has no ReLU, .* as jax.nn.relu and jnp.maximum write it",
    ),
    "no relu, deconvnet": (lambda: attribution.deconvnet(quadratic, IMAGE, 0), r"no rule of deconvnet applies.*max"),
    "attention": (lambda: attribution.excitation_backprop(attention, IMAGE, 0), "no rule for dot_general of values that all depend"),
    "gate": (lambda: attribution.excitation_backprop(gated, IMAGE, 0), "no rule for logistic"),
    "softmax": (lambda: attribution.excitation_backprop(lambda x: jax.nn.softmax(MODEL(x)), IMAGE, 0), "excitation backprop has no rule"),
    "loop": (lambda: attribution.excitation_backprop(looped, IMAGE, 0), "within a scan|no rule for scan"),
    "no linear head": (
        lambda: attribution.contrastive_excitation_backprop(
            lambda x: checkpoint_name(jax.nn.relu(x), "a").sum((1, 2)), IMAGE, 0, contrast_at="a"
        ),
        "needs a linear last layer",
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
    "layers of integrated gradients": (
        lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, at="first"),
        "integrated_gradients makes maps of the image alone: at must be None, got 'first'; gradient and grad_cam make maps of layers",
    ),
    "layers of rise": (lambda: attribution.rise(MODEL, IMAGE, 0, at="first"), "rise makes maps of the image alone"),
    "layers of occlusion": (lambda: attribution.occlusion(MODEL, IMAGE, 0, at="first"), "occlusion makes maps of the image alone"),
    "no layer": (lambda: attribution.grad_cam(MODEL, IMAGE, 0, at=None), "grad_cam makes the map of a layer: at must .*, got None"),
    "no layer, plus plus": (
        lambda: attribution.grad_cam_plus_plus(MODEL, IMAGE, 0, at=None),
        "grad_cam_plus_plus makes the map of a layer",
    ),
    "no masks": (lambda: attribution.rise(MODEL, IMAGE, 0, num_masks=0), "num_masks must be a whole number of at least 1, got 0"),
    "grid": (lambda: attribution.rise(MODEL, IMAGE, 0, grid=21), r"grid must be .* from 1 to the image's \(20, 24\), got 21"),
    "masks of another shape": (
        lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.ones((4, 24, 20))),
        r"masks must .*\(4, 24, 20\)",
    ),
    "one mask": (lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.ones((20, 24))), r"masks must have the shape .*\(20, 24\)"),
    "infinite masks": (lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.full((1, 20, 24), np.inf)), "masks must be finite"),
    "masks and a key": (lambda: attribution.rise(MODEL, IMAGE, 0, masks=np.ones((4, 20, 24)), num_masks=4), "masks are given"),
    "score": (lambda: attribution.rise(MODEL, IMAGE, 0, score="sigmoi"), "score must be one of .*did you mean 'sigmoid'"),
    "chunk_size": (lambda: attribution.rise(MODEL, IMAGE, 0, chunk_size=0), "chunk_size must be a whole number of at least 1, got 0"),
    "window": (lambda: attribution.occlusion(MODEL, IMAGE, 0, window=(8, 25)), "window must fit into the image of 20x24 pixels, got 8x25"),
    "window of nothing": (lambda: attribution.occlusion(MODEL, IMAGE, 0, window=0), "window must be a number of pixels"),
    "window of a truth": (lambda: attribution.occlusion(MODEL, IMAGE, 0, window=True), "window must be a number of pixels, .*, got True"),
    "stride": (lambda: attribution.occlusion(MODEL, IMAGE, 0, window=4, stride=5), "stride must be at most the window, 4x4"),
    "fill": (lambda: attribution.occlusion(MODEL, IMAGE, 0, fill=np.ones(4)), r"fill must be a number, an array of the shape \(3,\)"),
    "fill complex": (lambda: attribution.occlusion(MODEL, IMAGE, 0, fill=1j), r"fill must be a number, .*, got complex128\[\]"),
    "baseline complex": (
        lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, baseline=np.full(3, 1j)),
        r"baseline must be a number, .*, got complex128\[3\]",
    ),
    "fill infinite": (lambda: attribution.occlusion(MODEL, IMAGE, 0, fill=np.inf), "fill must be finite"),
    "baseline": (
        lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, baseline="black"),
        "must be one of 'blur', got 'black'",
    ),
    "steps": (lambda: attribution.integrated_gradients(MODEL, IMAGE, 0, steps=2.5), "steps must be a whole number of at least 1, got 2.5"),
    "noise": (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, noise=-1.0), "noise must be a share of the image's range"),
    "noise of no number": (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, noise="a"), "noise must be a share .*, got 'a'"),
    "resize to parts": (
        lambda: attribution.gradient(MODEL, IMAGE, 0, resize=(2.7, 3.2)),
        r"resize must be True, False or \(height, width\), in whole pixels, got \(2.7, 3.2\)",
    ),
    "resize": (lambda: attribution.gradient(MODEL, IMAGE, 0, resize=(8,)), r"resize must be True, False or \(height, width\)"),
    "resize to nothing": (lambda: attribution.gradient(MODEL, IMAGE, 0, resize=(0, 8)), "resize must be a height and a width"),
    "smooth": (lambda: attribution.gradient(MODEL, IMAGE, 0, smooth=-0.1), "smooth must be a share"),
    "smooth of no number": (lambda: attribution.gradient(MODEL, IMAGE, 0, smooth="a"), "smooth must be a share .*, got 'a'"),
    "smooth of nothing": (lambda: attribution.extremal_saliency(MODEL, IMAGE, 0, smooth=None), "smooth must be a share .*, got None"),
    "target": (lambda: attribution.gradient(MODEL, IMAGE, 5), "targets must be class indices from 0 to 4, got 5"),
    "targets": (lambda: attribution.rise(MODEL, IMAGES, [0, 1, 2]), "targets must be one class index for each of the 2 images"),
    "images": (lambda: attribution.occlusion(MODEL, IMAGE[0], 0), r"images must have the shape \(H, W, C\)"),
    "model": (lambda: attribution.gradient(lambda x: x @ jnp.ones((4, 2)), IMAGE, 0), "model failed when called with images"),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(monkeypatch, call, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for callers, whose types nobody checks
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attribution.gradient(3, IMAGE, 0), "model must be a function of images"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, method="gradient"), "method must be a function such as `gradient`"),
        (lambda: attribution.rise(MODEL, np.zeros((8, 8, 3), np.uint8), 0), "images must hold floats"),
        (
            lambda: attribution.gradient(MODEL, IMAGE, None),
            "targets must be a class for each image, or one for all, got None; .* only rise",
        ),
        (lambda: attribution.occlusion(MODEL, IMAGE, None), "targets must be a class for each image"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, None), "targets must be a class for each image"),
        (lambda: attribution.gradient(MODEL, IMAGE, 0, at=["first"]), r"at must be the name of one activation, .*, got \['first'\]"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, at=["first"]), "at must be the name of one activation"),
        (lambda: attribution.extremal_saliency(MODEL, IMAGE, 0, at=3), "at must be the name of one activation, .*, got 3"),
        (lambda: attribution.contrastive_excitation_backprop(MODEL, IMAGE, 0, contrast_at=None), "contrast_at must be the name of one"),
        (lambda: attribution.gradient(MODEL, IMAGE, 0, at="first", channel_axis="x"), "channel_axis must be a whole number, .*, got 'x'"),
        (lambda: attribution.rise(MODEL, IMAGE, 0, key=0), r"key must be one of JAX's keys, such as jax.random.key\(0\), got 0"),
        (lambda: attribution.smooth_grad(MODEL, IMAGE, 0, key=jax.random.split(KEY)), "key must be one of JAX's keys"),
        (lambda: attribution.extremal_saliency(MODEL, IMAGE, 0, key=np.zeros(2)), "key must be one of JAX's keys"),
    ],
)
def test_refusals_of_types(monkeypatch, call, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=message):
        call()


def test_keys_of_either_kind():
    raw = jax.random.PRNGKey(3)
    options = dict(num_masks=2, grid=3)
    same = attribution.rise(halves, IMAGE, 0, key=raw, **options), attribution.rise(halves, IMAGE, 0, key=jax.random.key(3), **options)
    np.testing.assert_array_equal(*same)


def test_the_registry_knows_what_is_needed():
    methods = attribution.METHODS
    assert methods["grad_cam"].needs == {"at"}
    assert methods["contrastive_excitation_backprop"].needs == {"contrast_at"}
    assert methods["gradient"].needs == set()
    assert {"key", "chunk_size"} <= methods["rise"].options
    assert {name for name, method in methods.items() if "at" not in method.options} == {"integrated_gradients", "rise", "occlusion"}
    for method in methods.values():
        assert list(inspect.signature(method.function).parameters)[:3] == ["model", "images", "targets"]
        assert {"at", "resize", "smooth"} <= inspect.signature(method.function).parameters.keys()
    assert all(getattr(attribution, method.function.__name__) is method.function for method in methods.values())
