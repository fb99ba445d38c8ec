"""Record structural similarity (scikit-image), histogram entropy (NumPy, SciPy) and maximal sensitivity (Captum) of random arrays.

Usage: python record_sanity.py, with `pip install torch scipy scikit-image captum`; recorded with scikit-image 0.26.0 and Captum 0.9.0.

evaluation/sanity.npz: maps a and b, (N, H, W), and their `ssim_gaussian` and `ssim_uniform`; `complexity` of a; the weights of the model
tanh(tanh(x first) second) averaged over the image, x (N, H, W, 3), perturbations (S, N, H, W, 3), and `max_sensitivity` of the largest
absolute gradient over the channels.
"""

import pathlib

import numpy as np
import torch
from captum.metrics import sensitivity_max
from scipy.stats import entropy, spearmanr
from skimage.metrics import structural_similarity

rng = np.random.default_rng(0)
RANGE = 4.0


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# Maps: alike, unlike, with ties, and far from zero.
a = draw(4, 20, 24)
b = np.stack([a[0] + 0.3 * draw(20, 24), draw(20, 24), np.round(a[2]), a[3] + 0.5 * draw(20, 24)]).astype(np.float32)
a[3] += 50
b[3] += 50
doubles = list(zip(a.astype(float), b.astype(float), strict=True))
gaussian = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
found = {
    "a": a,
    "b": b,
    "data_range": np.float32(RANGE),
    "ssim_gaussian": [structural_similarity(x, y, data_range=RANGE, **gaussian) for x, y in doubles],
    "ssim_uniform": [structural_similarity(x, y, data_range=RANGE) for x, y in doubles],
    "rank_correlation": [spearmanr(x.ravel(), y.ravel()).statistic for x, y in doubles],
    "rank_correlation_absolute": [spearmanr(abs(x).ravel(), abs(y).ravel()).statistic for x, y in doubles],
    "complexity": [entropy(np.histogram(x, bins=100)[0]) for x in a.astype(float)],
}

# A model of two layers and its gradient, under given perturbations.
images, targets, samples = draw(3, 6, 5, 3), np.array([0, 2, 1]), 4
first, second = draw(3, 8), draw(8, 4)
perturbations = 0.1 * draw(samples, *images.shape)


def model(x):
    x = torch.tanh(x @ torch.from_numpy(first))
    return torch.tanh(x @ torch.from_numpy(second)).mean(dim=(1, 2))


def explain(inputs, target):
    shown = (inputs[0] if isinstance(inputs, tuple) else inputs).detach().requires_grad_(True)
    with torch.enable_grad():
        score = model(shown).gather(1, target[:, None]).sum()
    return (torch.autograd.grad(score, shown)[0].abs().amax(dim=-1),)


def perturb(repeated):  # (N S, H, W, C), each image S times in a row
    return repeated + torch.from_numpy(perturbations).transpose(0, 1).reshape(repeated.shape)


score = sensitivity_max(explain, torch.from_numpy(images), perturb, n_perturb_samples=samples, target=torch.from_numpy(targets))
found |= {"images": images, "targets": targets, "first": first, "second": second, "perturbations": perturbations}
found["max_sensitivity"] = score.numpy()

path = pathlib.Path(__file__).parent / "evaluation" / "sanity.npz"
path.parent.mkdir(exist_ok=True)
np.savez_compressed(path, **{name: np.asarray(value) for name, value in found.items()})
