"""docs/migrating.md: the calls of TorchRay and of this library, run side by side, give the same maps; and whole runs of both agree."""

from __future__ import annotations

import functools
import re
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest

import extremal_jax as ej

try:
    import torch
    import torchax  # noqa: F401

    mpl.use("Agg")  # TorchRay imports pyplot
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchray.attribution.excitation_backprop  # noqa: F401  (which imports torchvision)
        from torchray.attribution import extremal_perturbation as peer
except Exception as error:
    pytest.skip(f"needs torch 2.12, torchax, torchvision and TorchRay: {error}", allow_module_level=True)

from torch_networks import NETWORKS, randomized, to_torch

PAGE = (Path(__file__).parents[1] / "docs/migrating.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MAP, RUN = 1e-5, 1e-3  # of the largest entry: operations in another order; steps that carry such differences on
AREAS = (0.05, 0.1, 0.2)

pytestmark = pytest.mark.filterwarnings("ignore")  # of functions of PyTorch that have changed since TorchRay was written


def start(shape: tuple[int, int], pitch: int, sigma: float, count: int) -> np.ndarray:
    """Random parameters (K, h, w), of which no two mask values at the boundary of an area are so near that rounding orders them."""
    lattice = peer.MaskGenerator(shape, pitch, sigma).shape_in
    return np.random.default_rng(2).uniform(0.2, 0.8, (count, *lattice)).astype(np.float32)


class SameStart:
    """Gives TorchRay's run, which makes its parameters by `torch.ones`, and ours the same parameters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], pitch: int, sigma: float):
        lattice, ones, ours = start(shape, pitch, sigma, 1).shape[1:], torch.ones, ej.extremal_perturbation
        self.calls = 0

        def torch_ones(*size: Any, **options: Any) -> Any:
            if len(size) != 4 or tuple(size[2:]) != lattice:
                return ones(*size, **options)
            self.calls += 1
            return torch.from_numpy(start(shape, pitch, sigma, size[0])[:, None])

        def started(model: Any, images: Any, targets: Any, areas: Any, **options: Any) -> Any:
            return ours(model, images, targets, areas, initial_params=start(shape, pitch, sigma, len(areas)), **options)

        monkeypatch.setattr(torch, "ones", torch_ones)
        monkeypatch.setattr(ej, "extremal_perturbation", functools.wraps(ours)(started))


def array(values: Any) -> np.ndarray:
    """Without axes of length one."""
    return np.squeeze(values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values))


def test_the_calls_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, as a reader runs them. Runs start without ties: the page says what happens from TorchRay's own start."""
    same = SameStart(monkeypatch, (64, 64), 7, 21)
    names: dict[str, Any] = {}
    for block in BLOCKS[:2]:
        exec(block, names)
    pairs = list(zip(BLOCKS[2::2], BLOCKS[3::2], strict=True))
    for theirs, ours in pairs:
        names |= {"theirs": None, "ours": None}
        exec(theirs, names)
        exec(ours, names)
        expected = array(names["theirs"])
        tolerance = RUN if "extremal_perturbation(" in theirs else MAP
        np.testing.assert_allclose(array(names["ours"]), expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=ours)
    assert len(pairs) == 13
    assert same.calls == 4
    assert {name.replace("_class", "") for name in re.findall(r"^theirs = (\w+)\(", PAGE, re.MULTILINE)} | {"extremal_perturbation"} == {
        "contrastive_excitation_backprop",
        "deconvnet",
        "excitation_backprop",
        "extremal_perturbation",
        "grad_cam",
        "gradient",
        "guided_backprop",
        "linear_approx",
        "rise",
    }


@pytest.mark.parametrize(
    ("game", "perturbation", "network"),
    [
        ("preserve", "blur", "plain"),
        ("delete", "blur", "plain"),
        ("dual", "blur", "plain"),
        ("preserve", "fade", "plain"),
        ("preserve", "blur", "residual"),
    ],
)
def test_whole_runs(game: str, perturbation: str, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty steps of TorchRay on a module, and of ours on the same module: the masks, and the rewards of each step."""
    same = SameStart(monkeypatch, (40, 52), 4, 12)
    image = np.random.default_rng(0).standard_normal((40, 52, 3)).astype(np.float32)
    module = randomized(NETWORKS[network]())
    options = dict(max_iter=50, step=4, sigma=12, variant=game, perturbation=perturbation)
    masks, history = peer.extremal_perturbation(module, to_torch(image), 2, areas=list(AREAS), **options)
    assert same.calls == 1
    config = ej.Config.torchray(num_steps=50, pitch=4, sigma=12.0, game=game, perturbation=perturbation)
    result = ej.extremal_perturbation(ej.models.from_torch(module, image), jnp.asarray(image), 2, AREAS, config=config)
    np.testing.assert_allclose(result.masks, masks[:, 0], rtol=0, atol=RUN)
    rewards = history[:, 0].numpy()
    np.testing.assert_allclose(result.history.rewards.T, rewards, rtol=0, atol=RUN * np.abs(rewards).max())
