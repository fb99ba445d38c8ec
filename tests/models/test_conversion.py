"""Networks are filled from files: each tensor is used once, and every difference is listed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings, strategies as st

import zoo_weights
from extremal_jax.models.conversion import (
    BGR_KERNEL,
    CHANNELS_OF_MAPS,
    FLAT_KERNEL,
    KERNEL,
    POINTWISE_KERNEL,
    SAME,
    Architecture,
    Layout,
    fill,
    match,
)
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.formats.safetensors import tensor_names


class Small(nnx.Module):
    def __init__(self, classes: int = 5, *, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 4, (2, 2), rngs=rngs)
        self.head = nnx.Linear(4, classes, rngs=rngs)


SMALL = Architecture(
    Small,
    (
        Layout("one", ((r"\.kernel", ".weight"),), ((r"kernel", KERNEL),), (r"^training\.",)),
        Layout("other", ((r"^conv", "stem"), (r"\.kernel", ".w")), ((r"conv\.kernel", BGR_KERNEL), (r"kernel", KERNEL))),
    ),
    {"classes": ("head.bias", 0)},
)
FITTING = {"conv.weight": (4, 3, 2, 2), "conv.bias": (4,), "head.weight": (5, 4), "head.bias": (5,)}


def tensors(shapes: Any, dtype: Any = np.float32) -> Any:
    return {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape).astype(dtype) for name, shape in shapes.items()}


@given(
    dropped=st.sets(st.sampled_from(sorted(FITTING))),
    extra=st.sets(st.sampled_from(["x", "conv.weight2", "training.step", "other_head.bias"])),
    wrong=st.sets(st.sampled_from(sorted(FITTING.keys() - {"head.bias"}))),  # the head's bias gives the number of classes
)
@settings(max_examples=40, deadline=None)
def test_every_difference_is_a_problem(dropped: Any, extra: Any, wrong: Any) -> None:
    """Each missing tensor, each unexpected tensor and each wrong shape has its own line, and there are no other lines."""
    file = {name: (*shape, 9) if name in wrong else shape for name, shape in FITTING.items() if name not in dropped}
    file |= dict.fromkeys(extra, (17,))
    expected = {f"missing: {name} {FITTING[name]}" for name in dropped}
    expected |= {f"unexpected: {name} (17,)" for name in extra - {"training.step"}}
    expected |= {f"{name}: expected the shape {FITTING[name]}, the file has {file[name]}" for name in wrong - dropped}
    assert set(match(tensors(file), SMALL).problems) == expected


def test_a_missing_tensor_suggests_the_nearest_that_would_fit() -> None:
    file = {"conv.weights": (4, 3, 2, 2), "conf.bias": (4,), "head_bias": (9,), **{k: FITTING[k] for k in ("head.weight", "head.bias")}}
    problems = match(tensors(file), SMALL).problems
    assert "missing: conv.weight (4, 3, 2, 2); conv.weights would fit" in problems
    assert "missing: conv.bias (4,); conf.bias would fit" in problems


def test_integers_do_not_fit() -> None:
    file = tensors(FITTING) | {"conv.bias": np.zeros(4, np.int8)}
    assert match(file, SMALL).problems == ("conv.bias: expected floats, the file has int8",)


@pytest.mark.parametrize("classes", [5, 7])
def test_sizes_are_read_from_the_file(classes: int) -> None:
    found: Any = match(tensors(FITTING | {"head.weight": (classes, 4), "head.bias": (classes,)}), SMALL)
    assert not found.problems
    assert found.network.head.bias.shape == (classes,)


def test_given_sizes_must_match_the_file() -> None:
    problems = match(tensors(FITTING), SMALL, {"classes": 6}).problems
    assert set(problems) == {
        f"head.{n}: expected the shape {e}, the file has {f}" for n, e, f in [("weight", (6, 4), (5, 4)), ("bias", (6,), (5,))]
    }


def test_each_array_is_filled_from_its_tensor() -> None:
    file = tensors(FITTING)
    network: Any = fill(match(file, SMALL), dict(file))
    np.testing.assert_array_equal(network.head.kernel, file["head.weight"].T)
    np.testing.assert_array_equal(network.conv.kernel, np.einsum("oihw->hwio", file["conv.weight"]))
    np.testing.assert_array_equal(network.conv.bias, file["conv.bias"])
    consumed = dict(file)
    fill(match(file, SMALL), consumed)
    assert not consumed


def test_the_layout_that_fits_best_is_chosen() -> None:
    renamed = {"conv.weight": "stem.w", "conv.bias": "stem.bias", "head.weight": "head.w", "head.bias": "head.bias"}
    file = tensors({renamed[name]: shape for name, shape in FITTING.items()})
    found = match(file, SMALL)
    assert found.layout.publisher == "other"
    network: Any = fill(found, dict(file))
    np.testing.assert_array_equal(network.conv.kernel, np.einsum("oihw->hwio", file["stem.w"])[:, :, ::-1])


@pytest.mark.parametrize("stored", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("wanted", [jnp.float32, jnp.bfloat16])
def test_types_of_number(stored: Any, wanted: Any) -> None:
    file = tensors(FITTING, stored)
    network: Any = fill(match(file, SMALL), dict(file), wanted)
    assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {jnp.dtype(wanted)}
    np.testing.assert_array_equal(network.head.bias[...].astype(np.float32), np.arange(5))


@pytest.mark.parametrize("form", [SAME, KERNEL, BGR_KERNEL, FLAT_KERNEL, POINTWISE_KERNEL, CHANNELS_OF_MAPS])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 5), (5,)], ids=str)
def test_forms_keep_every_number(form: Any, shape: Any) -> None:
    """The array has the shape that was asked for, and all of the tensor's numbers."""
    if len(shape) == 1 and form not in (SAME, CHANNELS_OF_MAPS):
        return
    if form is POINTWISE_KERNEL and len(shape) != 2:
        return
    tensor = np.arange(np.prod(shape)).reshape(form.shape(shape))
    array = form.array(tensor, shape)
    assert array.shape == shape
    assert sorted(array.ravel()) == sorted(tensor.ravel())


@pytest.mark.slow
def test_layouts_give_every_array_its_own_name() -> None:
    """Of one network of each family and its publishers."""
    first = {(entry.family, *(layout.publisher for layout in entry.architecture.layouts)): entry for entry in reversed(ENTRIES.values())}
    for entry in first.values():
        paths = tensor_names(zoo_weights.abstract(entry.name))
        for layout in entry.architecture.layouts:
            names = [layout.name(path) for path in paths]
            assert len(set(names)) == len(names)
            assert not any(layout.ignores(name) for name in names)


DENSE_LAYERS = [f"denselayer{layer}." + kind for layer in range(1, 25) for kind in ("norm", "conv")]


@pytest.mark.parametrize(
    ("golden", "name", "changes"),
    [
        ("torchvision/densenet121", "densenet121", [(f"{kind}{i}", f"{kind}.{i}") for kind in DENSE_LAYERS for i in (1, 2)]),
        ("torchvision/vit_b_16", "vit_b_16", [("mlp.0", "mlp.linear_1"), ("mlp.3", "mlp.linear_2")]),
    ],
)
def test_names_of_the_first_published_files(golden: str, name: str, changes: Any) -> None:
    """torchvision renames these when it loads its own files."""

    def published(name: Any) -> Any:
        for new, old in changes:
            name = name.replace(new + ".", old + ".")
        return name

    shapes = {published(name): shape for name, shape in zoo_weights.tensors(golden).items()}
    assert shapes.keys() != zoo_weights.tensors(golden).keys()
    file = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    found = match(file, ENTRIES[name].architecture)
    assert not found.problems
    assert found.layout.publisher == "torchvision, as first published"


def test_the_grid_of_a_vision_transformer_is_read_from_the_file() -> None:
    name = "timm/deit_small_patch16_224.fb_in1k"
    shapes = zoo_weights.tensors(name)

    def found(positions: Any) -> Any:
        file = {k: jax.ShapeDtypeStruct(shape, np.float32) for k, shape in (shapes | {"pos_embed": (1, positions, 384)}).items()}
        return match(file, ENTRIES["deit_s_16"].architecture)

    assert found(1 + 24 * 24).network.side == 24
    assert found(198).problems == ("positions must be one more than a square number, got 198",)
