"""Record tests of faithfulness on a small classifier: insertion and deletion, imputation, infidelity.

Usage: python record_faithfulness.py OUT_DIR, with `pip install torch scipy` and `pip install --no-deps captum==0.9.0 grad-cam==1.5.7`.

Insertion and deletion are loops over the steps, written from the description of RISE's and Xplique's code. The imputation without noise is
pytorch-grad-cam's, the infidelity is Captum's.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
from captum.metrics import infidelity

out = sys.argv[1]
rng = np.random.default_rng(0)


def N(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def T(array):
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


data = {}


def imputer():
    """pytorch-grad-cam's imputation, without its other files, which need packages for pictures."""
    (folder,) = importlib.util.find_spec("pytorch_grad_cam").submodule_search_locations
    stub = types.ModuleType("pytorch_grad_cam.metrics.perturbation_confidence")
    for name in ("PerturbationConfidenceMetric", "AveragerAcrossThresholds", "RemoveMostRelevantFirst", "RemoveLeastRelevantFirst"):
        setattr(stub, name, type(name, (), {}))
    for name in ("pytorch_grad_cam", "pytorch_grad_cam.metrics"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[stub.__name__] = stub
    spec = importlib.util.spec_from_file_location("road", Path(folder, "metrics", "road.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NoisyLinearImputer(noise=0.0)


# A classifier: convolution 3 × 3, ReLU, mean, linear; images (N, H, W, C), maps without ties.
height, width = 15, 20
images, targets = N(2, height, width, 3), np.array([1, 3])
maps = rng.permuted(np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width), axis=None)
weights = {"conv": N(3, 3, 3, 6), "head": N(6, 4)}
data.update(images=images, targets=targets, maps=maps, **{f"weights/{name}": value for name, value in weights.items()})
kernel, head = T(weights["conv"].transpose(3, 2, 0, 1)), T(weights["head"])


def model(x):
    return F.relu(F.conv2d(x, kernel, padding=1)).mean(dim=(2, 3)) @ head


def curve(image, other, order, target, counts, probability, inserting):
    scores = []
    for count in counts:
        start, end = (other, image) if inserting else (image, other)
        shown = start.reshape(3, -1).clone()
        shown[:, order[:count]] = end.reshape(3, -1)[:, order[:count]]
        logits = model(shown.reshape(1, 3, height, width))[0]
        scores.append(float((logits.softmax(0) if probability else logits)[target]))
    return np.array(scores)


# Insertion and deletion.
impulse = np.zeros((11, 11))
impulse[5, 5] = 1
square = T(scipy.ndimage.gaussian_filter(impulse, 5))
for i, (image, target) in enumerate(zip(T(images.transpose(0, 3, 1, 2)), targets, strict=True)):
    blurred = F.conv2d(image[:, None], square[None, None], padding=5)[:, 0]
    order = torch.from_numpy(np.argsort(-maps[i].ravel(), kind="stable"))
    pixels = height * width
    rise = [*range(0, pixels, width), pixels]
    xplique = np.linspace(0, pixels, 11, dtype=np.int32)
    empty = torch.zeros_like(image)
    data[f"rise_blur/{i}"] = blurred.numpy().transpose(1, 2, 0)
    for protocol, counts, other in (("rise", rise, blurred), ("xplique", xplique, empty)):
        for mode, hidden in (("insertion", other), ("deletion", empty)):
            scores = curve(image, hidden, order, target, counts, protocol == "rise", mode == "insertion")
            data[f"{protocol}/{mode}/{i}"] = scores
            data[f"{protocol}/{mode}/{i}/auc"] = (
                (scores.sum() - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1)
                if protocol == "rise"
                else np.mean(scores[:-1] + scores[1:]) * 0.5
            )

# Imputation: a hole, a hole at the border, scattered pixels, nearly all.
fill = imputer()
y, x = np.mgrid[:40, :33]
holes = np.stack([(y - 18) ** 2 + (x - 14) ** 2 < 120, (y < 22) & (x > 9), rng.random((40, 33)) < 0.6, (y > 0) | (x > 1)])
picture = N(40, 33, 2) + np.stack([y, x], axis=-1).astype(np.float32) / 8
data.update({"imputation/image": picture, "imputation/removed": holes})
data["imputation/filled"] = np.stack([fill(T(picture.transpose(2, 0, 1)), T(~hole)).numpy().transpose(1, 2, 0) for hole in holes])

# Infidelity, with given perturbations, the same for all images.
perturbations = 0.3 * N(12, height, width, 3)
attributions = N(2, height, width, 3) / 50
repeated = np.repeat(attributions[..., :1], 3, axis=-1)
data.update({"infidelity/perturbations": perturbations.astype(np.float16), "infidelity/attributions": attributions.astype(np.float16)})
perturbations, attributions, repeated = (a.astype(np.float16).astype(np.float32) for a in (perturbations, attributions, repeated))


def perturb(inputs):
    given = T(perturbations.transpose(0, 3, 1, 2)).repeat(2, 1, 1, 1)
    return given, inputs - given


for name, given in (("channels", attributions), ("pixels", repeated)):
    for normalize in (False, True):
        found = infidelity(
            model,
            perturb,
            T(images.transpose(0, 3, 1, 2)),
            T(given.transpose(0, 3, 1, 2)),
            target=torch.from_numpy(targets),
            n_perturb_samples=12,
            normalize=normalize,
        )
        data[f"infidelity/{name}/{normalize}"] = found.numpy()

Path(out).mkdir(exist_ok=True)
np.savez_compressed(f"{out}/faithfulness.npz", **data)
