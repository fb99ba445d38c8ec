"""Masks of series by time-interpret's Dynamask (Crabbé and van der Schaar, ICML 2021) and ExtremalMask (Enguehard, ICML 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import peer
from known_inputs import Known

STEPS = {"dynamask": 1000, "extremal mask": 500}  # of the papers' experiments


def prepare() -> None:
    """Let time-interpret import where torchvision is installed, without the parts of either that are not needed."""
    peer.torchvision_models()


def in_torch(known: Known) -> tuple[Any, Callable[[Any], Any]]:
    """Series, and their regressors, of batches that repeat the series."""
    import torch

    kept = torch.from_numpy(known.regions).float()
    return torch.from_numpy(known.values), lambda x: (x**2 * kept.repeat(len(x) // len(kept), 1, 1)).sum(dim=2)


def dynamask(known: Known, area: float, *, optimizer: str, rate: float) -> np.ndarray:
    """Masks of one area, with the blur, the weights and the steps of the paper's experiments. The paper descends with momentum ("sgd"); the
    rate is for one series, whatever their number, since the loss is a mean over them."""
    import torch
    from tint.attr.models import MaskNet

    x, regressor = in_torch(known)
    schedule = dict(size_reg_factor_init=1.0, size_reg_factor_dilation=1000.0)
    net = MaskNet(regressor, perturbation="gaussian_blur", keep_ratio=area, **schedule)
    net.net.init(x.shape, STEPS["dynamask"], len(x))
    parameters = list(net.parameters())
    descent: torch.optim.Optimizer
    descent = torch.optim.SGD(parameters, rate * len(x), momentum=0.9) if optimizer == "sgd" else torch.optim.Adam(parameters, rate)
    for _ in range(STEPS["dynamask"]):
        descent.zero_grad()
        net.net.regularisation(net.step((x, x, None), 0, "train")).backward()
        descent.step()
        net.on_train_epoch_end()
    net.net.clamp()
    return np.asarray(net.net.mask.detach())


def extremal_mask(known: Known, *, network: bool, rate: float) -> np.ndarray:
    """Masks that fade to zero, or to what a recurrent network makes of the series, which learns beside the masks as in the paper."""
    import torch
    from tint.attr.models import ExtremalMaskNet

    torch.manual_seed(0)
    x, regressor = in_torch(known)
    net = ExtremalMaskNet(regressor, model=recurrent(x.shape[2]) if network else None, batch_size=len(x), optim="adam", lr=rate)
    net.net.init(x.shape, len(x))
    descent = net.configure_optimizers()["optimizer"]
    for _ in range(STEPS["extremal mask"]):
        descent.zero_grad()
        net.step((x, x, torch.zeros_like(x), None, None), 0, "train").backward()
        descent.step()
    return np.asarray(net.net.representation())


def recurrent(features: int) -> Any:
    """The paper's network for what replaces a series: a bidirectional GRU and a linear layer."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(features, features, batch_first=True, bidirectional=True)
            self.linear = torch.nn.Linear(2 * features, features)

        def forward(self, x: Any) -> Any:
            return self.linear(self.gru(x)[0])

    return Network()
