"""`from_torch`: the same scores and gradients as in PyTorch, the module left as it was, layers by their paths, and all calls on it."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax import attribution, graph

try:
    import torch
    import torchax  # noqa: F401
except Exception as error:  # torchax 0.0.13 beside torch 2.13 raises an AttributeError
    pytest.skip(f"needs torch 2.12 and torchax: {error}", allow_module_level=True)

from torch_networks import NETWORKS, randomized, to_torch

IMAGES, TARGETS = small.IMAGES, np.array(small.TARGETS)
NAMES = ("cat", "dog", "fox", "owl", "bee")
TOLERANCE = 1e-5  # of the largest: other orders of summation round differently
each_network = pytest.mark.parametrize("name", NETWORKS)

_cache: dict[Any, Any] = {}


def network(name: str, seed: int = 0) -> Any:
    return randomized(NETWORKS[name](), seed)


def model(name: str, seed: int = 0) -> ej.models.TorchModel:
    """Converted once for all tests."""
    if (name, seed) not in _cache:
        _cache[name, seed] = ej.models.from_torch(network(name, seed), IMAGES)
    return _cache[name, seed]


def close(actual: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def scores_and_gradient(function: Callable[..., Any], images: Any) -> tuple[Any, Any]:
    """Ours: the scores, and the gradient of those of the targets."""

    def of_targets(images: Any) -> tuple[Any, Any]:
        scores = function(images)
        return scores[np.arange(len(images)), TARGETS].sum(), scores

    (_, scores), gradient = jax.jit(jax.value_and_grad(of_targets, has_aux=True))(jnp.asarray(images))
    return scores, gradient


def same_as_pytorch(module: Any, images: Any = IMAGES) -> None:
    theirs = to_torch(images).requires_grad_(True)
    expected = module(theirs)
    expected[np.arange(len(images)), TARGETS].sum().backward()
    scores, gradient = scores_and_gradient(ej.models.from_torch(module, images[0]), images)
    close(scores, expected.detach())
    close(gradient, theirs.grad.permute(0, 2, 3, 1))


@each_network
def test_scores_and_gradients(name: str) -> None:
    same_as_pytorch(network(name))


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16"])
def test_networks_of_torchvision(name: str) -> None:
    """The vision transformer is a small one of the same code."""
    try:
        from torchvision import models
    except Exception as error:  # compiled for another PyTorch
        pytest.skip(f"needs torchvision: {error}")
    if name == "resnet18":
        module = models.resnet18(num_classes=5)
    else:
        module = models.VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    same_as_pytorch(randomized(module), small.images(height=32, width=32))


def test_dense_scores_come_channels_last() -> None:
    module = torch.nn.Conv2d(3, 5, 3, 2).eval()
    scores = ej.models.from_torch(module, IMAGES)(IMAGES)
    close(scores, module(to_torch(IMAGES)).detach().permute(0, 2, 3, 1))


def test_weights_in_half_precision() -> None:
    """The module computes in the type of its weights, and the scores have the type of the images."""
    converted = ej.models.from_torch(network("plain").bfloat16(), IMAGES)
    assert converted.arrays["features.0.weight"].dtype == jnp.bfloat16
    scores = jax.jit(converted)(IMAGES)
    assert scores.dtype == jnp.float32
    close(scores, model("plain")(IMAGES), 0.05)  # eight bits


def test_the_module_stays_as_it_was() -> None:
    module = network("residual")
    module.scale = torch.ones(3)
    hooked: list[str] = []
    module.fc.register_forward_hook(lambda *_: hooked.append("called"))
    before, attributes = copy.deepcopy(module.state_dict()), {path: dict(vars(part)) for path, part in module.named_modules()}
    identities = [id(tensor) for tensor in (*module.parameters(), *module.buffers())]
    hooks = {path: (len(part._forward_hooks), len(part._forward_pre_hooks)) for path, part in module.named_modules()}
    converted = ej.models.from_torch(module, IMAGES)
    jax.jit(converted)(IMAGES)
    assert identities == [id(tensor) for tensor in (*module.parameters(), *module.buffers())]
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert all(type(value) in (torch.nn.Parameter, torch.Tensor) for value in (*module.parameters(), *module.buffers()))
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert {path: dict(vars(part)) for path, part in module.named_modules()} == attributes
    assert hooks == {path: (len(part._forward_hooks), len(part._forward_pre_hooks)) for path, part in module.named_modules()}
    assert not module.training
    calls = len(hooked)
    module(to_torch(IMAGES))
    assert len(hooked) == calls + 1


def test_changes_of_the_module_do_not_reach_the_function() -> None:
    module = network("plain")
    converted = ej.models.from_torch(module, IMAGES)
    before = jax.jit(converted)(IMAGES)
    with torch.no_grad():
        module.classifier[0].weight.zero_()
    module.train()
    np.testing.assert_array_equal(jax.jit(converted)(IMAGES), before)


def test_parameters_and_buffers_are_leaves() -> None:
    module, converted = network("residual"), model("residual")
    assert {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree.leaves_with_path(converted)} == {
        f"arrays/{name}" for name in module.state_dict()
    }
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(converted.arrays[name], tensor)
    doubled = jax.tree.map(lambda x: 2 * x, converted)
    assert isinstance(doubled, ej.models.TorchModel)
    np.testing.assert_array_equal(doubled.arrays["fc.bias"], 2 * converted.arrays["fc.bias"])


class Tied(torch.nn.Module):
    """Two layers of one weight, a buffer that is not saved, and a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 5)
        self.second.weight = self.first.weight
        self.register_buffer("shift", torch.tensor([0.1, 0.2, 0.3]), persistent=False)
        self.scale = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, x: Any) -> Any:
        x = x.mean((2, 3)) * self.scale + self.shift + torch.ones(3)
        return self.head(self.second(torch.tanh(self.first(x))))


def test_tied_weights_and_other_tensors() -> None:
    module = Tied().eval()
    same_as_pytorch(module)
    assert {"scale", "shift", "first.weight"} <= set(ej.models.from_torch(module, IMAGES).arrays) - {"second.weight"}


def test_other_weights_compile_nothing(compilations: list[str]) -> None:
    """Those of another module of the same form, and those of the same function with other arrays."""
    first, other = small.explain(model=model("plain")), model("plain", 1)
    changed = dataclasses.replace(model("plain"), arrays=jax.tree.map(lambda x: x + 0.1, model("plain").arrays))
    jax.block_until_ready(changed)
    del compilations[:]
    second, third = small.explain(model=other), small.explain(model=changed)
    assert not compilations
    assert not np.array_equal(first.masks, second.masks)
    assert not np.array_equal(first.masks, third.masks)
    close(second.rewards, small.explain(model=lambda x: other(x)).rewards, 1e-3)  # of a run, through another program


class Scaled(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.head = factor, torch.nn.Linear(3, 5)

    def forward(self, x: Any) -> Any:
        return self.factor * self.head(x.mean((2, 3)))


def test_another_form_is_another_program() -> None:
    """An attribute that is no tensor counts, also where all shapes are the same."""
    torch.manual_seed(0)
    module = Scaled(2.0).eval()
    other = copy.deepcopy(module)
    other.factor = 3.0
    one, two, again = (ej.models.from_torch(m, IMAGES) for m in (module, other, copy.deepcopy(module)))
    assert one.program == again.program != two.program
    close(3 * np.asarray(jax.jit(one)(IMAGES)), 2 * np.asarray(jax.jit(two)(IMAGES)))
    gradients = [attribution.gradient(m, IMAGES, TARGETS) for m in (one, two)]
    close(3 * gradients[0], 2 * gradients[1])


@each_network
def test_layers_go_by_their_paths(name: str) -> None:
    """All submodules that are called are named, and their activations are those of PyTorch, channels last."""
    module, converted = network(name), model(name)
    seen: dict[str, list[Any]] = {}
    for path, part in module.named_modules():
        part.register_forward_hook(lambda _part, _inputs, output, path=path: seen.setdefault(path, []).append(first(output)))
    module(to_torch(IMAGES))
    del seen[""]
    named = [activation.name for activation in graph.activations(converted, IMAGES)]
    assert set(named) == set(seen)
    assert ej.models.name_submodules(converted) is converted
    once = tuple(name for name in dict.fromkeys(named) if named.count(name) == 1)
    assert converted.activations == once
    _, values = jax.jit(graph.capture(converted, once))(IMAGES)
    for path, value in values.items():
        [expected] = seen[path]
        close(value, expected.permute(0, 2, 3, 1) if expected.ndim == 4 else expected)


def first(output: Any) -> Any:
    """The first of several outputs, before an operation in place changes it."""
    return (output[0] if isinstance(output, tuple) else output).detach().clone()


class ChannelsLast(torch.nn.Module):
    """As in Swin and ConvNeXt: channels last inside, channels first at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix, self.head = torch.nn.LayerNorm(3), torch.nn.Linear(3, 8), torch.nn.Conv2d(8, 5, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.mix(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)).mean((2, 3))


def test_layers_that_are_channels_last() -> None:
    shapes = {a.name: a.shape[1:] for a in graph.activations(ej.models.from_torch(ChannelsLast().eval(), IMAGES), IMAGES)}
    assert shapes == {"norm": (20, 24, 3), "mix": (20, 24, 8), "head": (20, 24, 5)}


def test_calls_at_a_layer() -> None:
    """Masks, channels and maps at `features.2`; a map of a layer is PyTorch's gradient there."""
    converted, at = model("plain"), "features.2"
    assert small.explain(model=converted, at=at).masks.shape == (2, 2, 10, 12)
    assert small.channels(model=converted, at=at).masks.shape == (2, 2, 6)
    module = network("plain")
    activation = module.features[:3](to_torch(IMAGES)).detach().requires_grad_(True)
    scores = module.classifier(module.pool(module.features[3:](activation)).flatten(1))
    scores[np.arange(2), TARGETS].sum().backward()
    close(attribution.gradient(converted, IMAGES, TARGETS, at=at), activation.grad.abs().amax(1))


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "excitation_backprop"])
@pytest.mark.parametrize("name", ["plain", "residual"])
def test_methods(name: str, method: str) -> None:
    saliency = np.asarray(getattr(attribution, method)(model(name), IMAGES, TARGETS))
    assert saliency.shape == (2, 20, 24)
    assert np.isfinite(saliency).all()
    assert (np.ptp(saliency, axis=(1, 2)) > 0).all()


@each_network
def test_extremal_perturbation(name: str) -> None:
    result = small.explain(model=model(name))
    assert result.status.ok
    assert result.masks.shape == (2, 2, 20, 24)
    close(result.masks, small.explain(model=lambda images: model(name)(images)).masks, 1e-3)  # a trace, rather than a tree


def test_names_of_classes() -> None:
    module = network("plain")
    by_index = dict(enumerate(NAMES))
    forms: list[Any] = [NAMES, list(NAMES), by_index, dict(reversed(by_index.items()))]
    for classes in forms:
        assert ej.models.from_torch(module, IMAGES[0], classes=classes).classes == NAMES
    named = ej.models.from_torch(module, IMAGES, classes=NAMES)
    targets = [NAMES[target] for target in TARGETS]
    np.testing.assert_array_equal(attribution.gradient(named, IMAGES, targets), attribution.gradient(model("plain"), IMAGES, TARGETS))


def test_strict_switches_and_64_bits() -> None:
    """PyTorch's rules of promotion hold inside, whatever the switches of JAX are."""
    expected = jax.jit(model("transformer"))(IMAGES)
    with small.strict():
        close(jax.jit(ej.models.from_torch(network("transformer"), IMAGES))(IMAGES), expected)


def test_random_numbers_are_the_same_at_each_call() -> None:
    class Noisy(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3)) + torch.rand(3)

    converted = ej.models.from_torch(Noisy().eval(), IMAGES)
    np.testing.assert_array_equal(jax.jit(converted)(IMAGES), jax.jit(lambda x: converted(x))(IMAGES))


def test_the_example_of_the_documentation() -> None:
    text = (inspect.getdoc(ej.models.from_torch) or "").replace("  # doctest: +SKIP", "")
    names = {"from_torch": ej.models.from_torch, "jnp": jnp}
    examples = doctest.DocTestParser().get_doctest(text, names, "from_torch", None, 0)
    report: list[str] = []
    doctest.DocTestRunner().run(examples, out=report.append)
    assert not report, "".join(report)
