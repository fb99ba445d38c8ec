"""Record Quantus 0.6.0's relevance mass and rank accuracy of given maps and regions: numbers only.

Usage: python record_localisation.py OUT_DIR, with `pip install torch quantus==0.6.0`.
"""

import sys
import warnings

warnings.filterwarnings("ignore")
import numpy as np
import quantus
import torch

rng = np.random.default_rng(0)
count, height, width = 24, 17, 23
signed = rng.standard_normal((count, height, width)).astype(np.float32)
positive = np.abs(signed) ** 2 * 10.0 ** rng.uniform(-6, 3, (count, 1, 1)).astype(np.float32)
rows, columns = np.mgrid[:height, :width]
centres, radii = rng.uniform(0, 1, (count, 2)) * (height, width), rng.uniform(1, 9, count)
regions = np.stack([(rows - y) ** 2 + (columns - x) ** 2 < r**2 for (y, x), r in zip(centres, radii)])
regions[0], regions[1] = True, np.arange(height * width).reshape(height, width) == 5  # the whole image, and one pixel


def score(metric, maps):
    options = dict(normalise=False, disable_warnings=True, return_aggregate=False)
    images = np.zeros((count, 1, height, width), np.float32)
    found = metric(**options)(
        model=torch.nn.Flatten(), x_batch=images, y_batch=np.zeros(count, int), a_batch=maps[:, None], s_batch=regions[:, None],
        channel_first=True, device="cpu",
    )
    return np.asarray(found, np.float64)


np.savez_compressed(
    f"{sys.argv[1]}/localisation.npz",
    regions=np.packbits(regions, axis=-1),
    positive=positive,
    signed=signed,
    mass=score(quantus.RelevanceMassAccuracy, positive),
    mass_signed=score(quantus.RelevanceMassAccuracy, signed),
    rank=score(quantus.RelevanceRankAccuracy, signed),
    rank_positive=score(quantus.RelevanceRankAccuracy, positive),
)
