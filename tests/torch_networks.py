"""Small classifiers in PyTorch with random weights; import it only where PyTorch is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

CLASSES = 5


class Plain(nn.Module):
    """As in VGG: convolutions and max-pools, linear layers."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 1, 1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.pool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(nn.Linear(72, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, classes))

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class Block(nn.Module):
    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv2, self.bn2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide)
        self.downsample = (
            nn.Sequential(nn.Conv2d(narrow, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)) if stride > 1 else nn.Identity()
        )
        self.relu = nn.ReLU(inplace=True)  # called twice

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.downsample(x)
        return self.relu(y)


class Residual(nn.Module):
    """As in ResNet, with batch norms."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 5, 2, 2, bias=False), nn.BatchNorm2d(6)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = nn.Sequential(Block(6, 6, 1), Block(6, 6, 1)), nn.Sequential(Block(6, 8, 2))
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


class Transformer(nn.Module):
    """Patches, a class token, positions, and an encoder."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 31, 8))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"), 2)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, classes)

    def forward(self, x: Any) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        index = torch.arange(31)  # made on the default device
        return self.head(self.norm(self.encoder(x + self.positions[:, index]))[:, 0])


NETWORKS = {"plain": Plain, "residual": Residual, "transformer": Transformer}


def randomized(network: Any, seed: int = 0) -> Any:
    """In evaluation mode, each number drawn, so that no mistake can hide behind a zero or a one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = np.sqrt(2 / parameter[0].numel()) if parameter.ndim > 1 else 0.2
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
        for name, statistic in network.named_buffers():
            if statistic.is_floating_point():
                drawn = torch.rand(statistic.shape, generator=generator)
                statistic.copy_(0.5 + drawn if name.endswith("var") else 0.4 * drawn - 0.2)
    return network.eval()


def to_torch(images: Any) -> Any:
    """(N, H, W, C), or (H, W, C) for one image, as (N, C, H, W)."""
    batch = np.asarray(images)[None] if np.ndim(images) == 3 else np.asarray(images)
    return torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32))
