"""The scenes classifier in PyTorch, with the weights of ours: the same operations, batch norm folded into convolutions on both sides."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extremal_jax.models.classifier import Classifier
from extremal_jax.models.formats.safetensors import tensor_names
from extremal_jax.models.networks.scenes import WIDTHS


class ResidualBlock(nn.Module):
    """relu(x + f(x)), as in `extremal_jax.models.networks.resnet`."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        same = in_features == out_features
        stride = 1 if same else 2
        self.conv1 = nn.Conv2d(in_features, out_features, 3, stride, 1)
        self.conv2 = nn.Conv2d(out_features, out_features, 3, 1, 1)
        self.downsample = None if same else nn.Conv2d(in_features, out_features, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class TorchScenes(nn.Module):
    """(B, 3, H, W) -> (B, classes)."""

    def __init__(self, classes: int):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 5, 2, 2)
        self.blocks = nn.ModuleList(ResidualBlock(narrow, wide) for narrow, wide in itertools.pairwise(WIDTHS))
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def from_classifier(model: Classifier) -> TorchScenes:
    """The classifier with the weights of ours, as TorchRay uses it: in inference mode, no gradients of weights."""
    names = [name.removeprefix("network.").replace(".conv.", ".") for name in tensor_names(model)]
    tensors = {name: torch.tensor(_torch_layout(np.asarray(leaf))) for name, leaf in zip(names, jax.tree.leaves(model), strict=True)}
    network = TorchScenes(len(model.classes))
    network.load_state_dict({name.replace(".kernel", ".weight"): tensor for name, tensor in tensors.items()})
    return network.eval().requires_grad_(False)


def to_torch(images: np.ndarray) -> Tensor:
    """(..., H, W, C) as (N, C, H, W), N = 1 for a single image."""
    batch = images[None] if images.ndim == 3 else images
    return torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32))


def check_equal(model: Classifier, network: TorchScenes, images: np.ndarray, tolerance: float = 1e-4) -> float:
    """The largest difference between the two classifiers' outputs.

    Both compute in full single precision, whatever shorter format a GPU would use by default: PyTorch on the CPU.

    Raises:
      SystemExit: if it exceeds the tolerance: then nothing that follows would compare the same work.
    """
    with jax.default_matmul_precision("highest"):
        ours = np.asarray(model(images))
    with torch.no_grad():
        theirs = network.cpu()(to_torch(images)).numpy()
    difference = float(np.abs(ours - theirs).max())
    if not difference <= tolerance:
        raise SystemExit(f"the classifier in PyTorch differs from ours by {difference:.2e}, more than {tolerance:g}: nothing to compare")
    return difference


def _torch_layout(kernel: np.ndarray) -> np.ndarray:
    """HWIO kernels as OIHW, (in, out) matrices as (out, in); biases as they are."""
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
