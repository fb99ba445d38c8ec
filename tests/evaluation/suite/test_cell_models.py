"""Benchmarks of models that see one cell of a grid: the layers they are connected at, and the shares of known cases."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
from extremal_jax.data.examples import Dataset, Example, Object
from extremal_jax.evaluation.suite.benchmark import benchmark
from extremal_jax.evaluation.suite.cell_models import cell_models
from extremal_jax.models.preprocessing import Preprocessing

CLASSES = ("red", "green", "blue")


class Network(nnx.Module):
    """Blurs colours, and is sure of the one that is brightest on average; layers `blurred` and `pool`, and `coarse` after 8x8 pooling."""

    def __init__(self, coarse: bool = False, named: bool = True) -> None:
        self.head = nnx.Param(30 * jnp.eye(3))
        self.coarse, self.named = coarse, named

    def __call__(self, images: Any) -> Any:
        name: Any = checkpoint_name if self.named else lambda value, _: value
        padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = images.shape[1:3]
        x = name(sum(padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9, "blurred")
        if self.coarse:  # two places along each side, of a cell and of a grid
            x = name(x.reshape(-1, 2, height // 2, 2, width // 2, 3).mean(axis=(2, 4)), "coarse")
        return name(x.mean(axis=(1, 2)), "pool") @ self.head[...]


class Colours(Dataset):
    """Images of noise in one colour, of three in turn."""

    def __init__(self, count: int = 9) -> None:
        self.name, self.classes, self.names = "colours", CLASSES, tuple(f"{index}.png" for index in range(count))

    def example(self, index: int) -> Example:
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., index % 3] = np.random.default_rng(index).integers(128, 256, (8, 8))
        return Example(self.names[index], pixels, None, (Object(index % 3),))


def classifier(coarse: bool = False, named: bool = True) -> Any:
    return ej.models.Classifier(Network(coarse, named), "net", CLASSES, Preprocessing((16, 16), (0.0,) * 3, (1.0,) * 3), ())


def run(folder: Any, tests: Any = ("difull", "dipart"), methods: Any = ("gradient",), **given: Any) -> Any:
    options: Any = dict(models={"net": classifier()}, num_grids=5, batch_size=2, dataset=Colours()) | given
    report = benchmark(tests, options.pop("dataset"), options.pop("models"), methods, folder=folder, **options)
    rows = [json.loads(line) for line in (folder / "rows-1-of-1.jsonl").read_text().splitlines()]
    return report, {(row["of"], row["method"], row["image"]): row["values"] for row in rows}


def test_gradients_of_cells_have_known_shares(tmp_path: Any) -> None:
    """In DiFull all of the gradient is in the cell. In DiPart it is that of the blur, which reaches one pixel further, across two sides."""
    report, rows = run(tmp_path)
    weights = np.convolve(np.ones(8), np.ones(3))[1:] / 3  # of the pixels of a row, from the outer border to one beyond the inner one
    inside, beyond = weights[:8].sum(), weights[8]
    for index in range(5):
        assert rows["difull", "gradient", index] == {"difull share": 1.0, "difull point": 1.0}
        assert rows["dipart", "gradient", index]["dipart share"] == pytest.approx(inside**2 / (inside + beyond) ** 2, rel=1e-5)
        assert rows["dipart", "gradient", index]["dipart point"] == 1
    assert len(rows) == 10
    assert (report.lines[0].images, report.lines[0].cases) == (5, 10)
    assert np.isnan(report.lines[0].seconds)  # they are of other models
    assert list(report.measures) == ["difull share", "difull point", "dipart share", "dipart point"]


def test_grad_cam_takes_the_layer_of_the_grid(tmp_path: Any) -> None:
    """Its weights are means over the grid, so that the image in the opposite corner, of the same class, counts as much as the cell's."""
    _, rows = run(tmp_path, methods=("grad_cam", "center", "contrastive_excitation_backprop"))
    for index in range(5):
        for kind in ("difull", "dipart"):
            assert 0.4 < rows[kind, "grad_cam", index][f"{kind} share"] < 0.6
            assert rows[kind, "center", index][f"{kind} share"] == pytest.approx(0.25, abs=1e-6)
        assert rows["difull", "contrastive_excitation_backprop", index]["difull share"] == 1


def test_batches_and_other_tests_change_nothing(tmp_path: Any, compilations: list[str]) -> None:
    """Nor do more grids compile anything: there are two cells."""
    options: Any = dict(methods=("gradient", "linear_approx"))
    _, rows = run(tmp_path / "two", **options)
    _, alone = run(tmp_path / "one", batch_size=1, **options)
    assert {key: pytest.approx(values, abs=1e-5) for key, values in rows.items()} == alone
    _, single = run(tmp_path / "single", tests=("dipart",), **options)
    assert single == {key: values for key, values in rows.items() if key[0] == "dipart"}
    jax.block_until_ready(jnp.zeros(()))
    del compilations[:]
    run(tmp_path / "more", num_grids=9, **options)
    assert not compilations


def test_a_class_of_only_one_image(tmp_path: Any) -> None:
    with pytest.raises(
        ValueError, match=r"grids need images of 3 classes, and two of one of them, that the model recognises .* 3 are, of 3"
    ):
        run(tmp_path, dataset=Colours(3))
    assert len(run(tmp_path, dataset=Colours(4))[1]) == 10


def test_layers_of_a_model() -> None:
    """DiPart needs one that a grid has more of; DiFull takes the last one with more than one place."""
    found = cell_models(classifier(coarse=True))
    assert [one.name for one in found.difull] == ["coarse", "pool"]
    assert [one.name for one in found.dipart] == ["blurred", "pool"]
    assert [one.name for one in cell_models(ej.models.load("scenes")).dipart] == ["blocks.3", "pool"]
    assert cell_models(classifier(named=False))[1:] == ((), ())


def test_models_without_a_layer_are_refused_before_any_work(tmp_path: Any) -> None:
    models = {"net": classifier(named=False)}
    with pytest.raises(ValueError, match=r"dipart needs a layer of net that everything passes through, .* grid-pointing need none"):
        run(tmp_path / "out", models=models)
    with pytest.raises(ValueError, match="grad_cam needs at, a layer of the model"):
        run(tmp_path / "out", tests=("difull",), models=models, methods=("grad_cam",))
    assert not (tmp_path / "out").exists()
    assert len(run(tmp_path / "out", tests=("difull",), models=models)[1]) == 5
