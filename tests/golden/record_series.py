"""Record time-interpret's dynamic masks and extremal masks of small series, and its scores of maps.

Usage: python record_series.py, with `pip install torch time-interpret==0.3.0`.

The modules of the package are stepped by a plain loop. Its own trainer, Lightning, calls the hook that adds the penalties
of the masks before version 2 only.

evaluation/series.npz: `maps` and `regions` (N, T, F), and `aup`, `aur`, `information`, `entropy` of each map, and of all
maps `pooled`.

series/masks.npz: a regressor w x² of series (N, T, F), `weights` (F, D), `series`, `reference` and `ratios` (K,), `start` of the
masks; and
the masks (K, N, T, F) of some steps of descent, by case: `window` (the mean of five values, momentum), `faded` (to
the reference, Adam), `deletion` (the same, where the mask deletes), and `blur` (Gaussian blur); the response to the series
blurred by `mask` of one value for all places, `blurred`; `extremal` (N, T, F), the mask of the package's ExtremalMask.
`variation`: half of the mean absolute difference of neighbours in time that its masks are charged, of a `mask`.
"""

import pathlib

import numpy as np
import torch
from tint.attr.models import ExtremalMaskNet, MaskNet
from tint.metrics.white_box import aup, aur, entropy, information

rng = np.random.default_rng(0)
FOLDER = pathlib.Path(__file__).parent
STEPS, RATE = 6, 0.1


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# Maps: one of few values, with ties, and one of any sign.
regions = rng.random((3, 8, 6)) < 0.3
maps = np.stack([np.clip(regions[0] + 0.3 * draw(8, 6), 0, 1), np.round(2 * draw(8, 6)), draw(8, 6)]).astype(np.float32)
tests = {"aup": aup, "aur": aur, "information": information, "entropy": entropy}
scores = {
    name: [test(torch.from_numpy(a[None]), torch.from_numpy(b[None]).int()) for a, b in zip(maps, regions, strict=True)]
    for name, test in tests.items()
}
pooled = [test(torch.from_numpy(maps), torch.from_numpy(regions).int()) for test in tests.values()]
np.savez_compressed(FOLDER / "evaluation" / "series.npz", maps=maps, regions=regions, pooled=pooled, **scores)

# Dynamic masks of a regressor with several outputs for each time.
series, weights, reference = draw(2, 9, 4), draw(4, 3), draw(2, 9, 4)
ratios = [0.1, 0.25, 0.5]
start = (0.3 + 0.4 * rng.random((3, *series.shape))).astype(np.float32)  # without ties, among which PyTorch's sort chooses


def regressor(x):
    return (x**2) @ torch.from_numpy(weights)


def masks(optimizer, steps=STEPS, **options):
    """(K, N, T, F) after some steps."""
    net = MaskNet(regressor, keep_ratio=ratios, size_reg_factor_init=0.5, size_reg_factor_dilation=100.0, time_reg_factor=0.2, **options)
    net.net.init(series.shape, steps, len(series))
    net.net.mask.data = torch.from_numpy(start.reshape(-1, *series.shape[1:]).copy())
    x = torch.from_numpy(series)
    descent = optimizer([net.net.mask])
    for _ in range(steps):
        descent.zero_grad()
        net.net.regularisation(net.step((x, x, None), 0, "train")).backward()
        descent.step()
        net.on_train_epoch_end()
    net.net.clamp()
    return net.net.mask.detach().numpy().reshape(len(ratios), *series.shape)


def momentum(params):
    return torch.optim.SGD(params, lr=RATE, momentum=0.9)


def adam(params):
    return torch.optim.Adam(params, lr=0.02)


repeated = torch.from_numpy(reference).repeat(len(ratios), 1, 1)
found = {
    "window": masks(momentum, perturbation="fade_moving_average_window", window_size=2),
    "faded": masks(adam, perturbation="fade_reference", x_ref=repeated),
    "deletion": masks(momentum, perturbation="fade_reference", x_ref=repeated, deletion_mode=True),
    "blur": masks(momentum, perturbation="gaussian_blur", sigma_max=2),
}

# A blur by the same mask at all places.
net = MaskNet(regressor, perturbation="gaussian_blur", keep_ratio=[0.5], sigma_max=2)
net.net.init(series.shape, 1, len(series))
shares = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
with torch.no_grad():
    blurred = []
    for share in shares:
        net.net.mask.data = torch.full(series.shape, float(share))
        blurred.append(net.net.gaussian_blur(torch.from_numpy(series), 0, sigma_max=2).numpy())
    mask = torch.from_numpy(rng.random(series.shape).astype(np.float32))
    net.net.mask.data, net.net.size_reg_factor, net.net.time_reg_factor = mask, 0.0, 0.5
    variation = net.net.regularisation(torch.zeros(())).numpy()

# An extremal mask without a network that learns the perturbation.
extremal = ExtremalMaskNet(regressor, batch_size=len(series), lambda_1=0.3)
extremal.net.init(series.shape, len(series))
descent, x = adam([extremal.net.mask]), torch.from_numpy(series)
for _ in range(STEPS):
    descent.zero_grad()
    extremal.step((x, x, torch.from_numpy(reference), None, None), 0, "train").backward()
    descent.step()

(FOLDER / "series").mkdir(exist_ok=True)
found |= {"extremal": extremal.net.representation().numpy(), "blurred": np.stack(blurred), "shares": shares, "mask": mask.numpy()}
inputs = {"series": series, "weights": weights, "start": start, "reference": reference, "ratios": np.float32(ratios), "variation": variation}
np.savez_compressed(FOLDER / "series" / "masks.npz", **found, **inputs)
