"""TorchRay, as it comes: what to install, where it runs, and its extremal perturbation without plots and prints."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

_COMMANDS = {"torch": "pip install torch==2.13.0", "torchray": "pip install --no-deps torchray==1.0.0.2"}


def require() -> None:
    """Stop with the commands to run where PyTorch or TorchRay is missing."""
    missing = [command for package, command in _COMMANDS.items() if importlib.util.find_spec(package) is None]
    if missing:
        raise SystemExit("the comparison needs PyTorch and TorchRay in this environment; run\n  " + "\n  ".join(missing))


def device() -> str:
    """PyTorch's name for the kind of device that JAX runs on, all cores of it that this process may use; both sides have the same.

    Raises:
      SystemExit: if PyTorch has no such device.
    """
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    backend = jax.default_backend()
    if backend == "cpu":
        return "cpu"
    if backend == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise SystemExit(
        f"JAX runs on a {backend.upper()} that this PyTorch cannot use; install a PyTorch that can,"
        f" or set JAX_PLATFORMS=cpu to compare on the CPU"
    )


@functools.cache
def torchvision_models() -> Any:
    """`torchvision.models`, also beside a PyTorch that cannot load torchvision's compiled operators, which the classifiers do without."""
    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        raise SystemExit("the comparison needs torchvision in this environment; run\n  pip install --no-deps torchvision")
    if torch.version.cuda is None:
        sources = Path(found.origin).parent.rglob("*.py")
        operators = {name for source in sources for name in re.findall(r"torchvision::(\w+)", source.read_text())}
        for name in sorted(operators):
            torch.library.define(f"torchvision::{name}", "(Tensor x) -> Tensor")
    import torchvision.models

    return torchvision.models


def efficientnet_lite(name: str) -> Any:
    """An EfficientNet-lite of efficientnet-lite-pytorch, with random weights."""
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        raise SystemExit("the comparison needs efficientnet-lite-pytorch in this environment; run\n  pip install efficientnet-lite-pytorch")
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(name.replace("_", "-"))


def use_tensorfloat32(allowed: bool) -> None:
    """Whether PyTorch multiplies matrices in TensorFloat-32 on a GPU that has it."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def synchronize() -> None:
    """Wait until PyTorch's device is done."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def extremal_perturbation(
    network: Any, image: Any, target: int, areas: Sequence[float], steps: int, on_step: Callable[[], None] = lambda: None
) -> np.ndarray:
    """TorchRay's masks (K, H, W) at its own geometry (step 7, σ 21) and settings.

    Args:
      network: in PyTorch.
      image: (1, C, H, W), on the network's device.
      target: class index.
      areas: (K,).
      steps: TorchRay's `max_iter`; its own default is 800.
      on_step: called once per step, between the forward and the backward pass.
    """
    import matplotlib

    matplotlib.use("Agg")  # TorchRay imports pyplot
    from torchray.attribution.extremal_perturbation import extremal_perturbation, simple_reward

    def reward(*arguments: Any, **options: Any) -> Any:
        on_step()
        return simple_reward(*arguments, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's functions that have changed since TorchRay was written
        masks, _ = extremal_perturbation(network, image, target, areas=list(areas), max_iter=steps, reward_func=reward)
    return masks[:, 0].cpu().numpy()
