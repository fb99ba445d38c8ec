"""Record torchvision's and TorchRay's classifiers at other sizes than 224x224, and torchvision's preparation of pictures.

Usage: python record_zoo.py OUT_DIR, with the packages of record_models.py; weights and inputs are drawn as there.

sizes.npz: every 50th score (every one of the VOC classifiers), by name and HxW.
preprocessing.npz: of a picture of noise, default_rng([0, 7]).integers(0, 256, (300, 401, 3)), and of its transpose: every 16th row and column
of the prepared input, by "{scaled size} {crop} {interpolation}" in channels 0 to 1.
"""

import re
import sys
import zlib

import numpy as np
import torch
import torchvision_stub  # noqa: F401

from PIL import Image
from torchvision import models as tv, transforms

torch.set_num_threads(2)
out = sys.argv[1]


def fill(key, shape):
    rng = np.random.default_rng([0, zlib.crc32(key.encode())])
    n = rng.standard_normal(shape, dtype=np.float32)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_var"):
        return (1 + 0.25 * np.tanh(n)).astype(np.float32)
    if key.endswith(("running_mean", "bias")):
        return (0.1 * n).astype(np.float32)
    if len(shape) >= 2:
        return (n * np.float32(np.sqrt(2.0 / np.prod(shape[1:])))).astype(np.float32)
    return (0.5 * (1 + 0.25 * np.tanh(n))).astype(np.float32)


def drawn(names):
    return {k: torch.from_numpy(np.asarray(fill(k, tuple(s)))) for k, s in names.items()}


scores = {}


def run(name, model, size, step=50):
    x = np.random.default_rng([0, 7]).standard_normal((1, 3, *size), dtype=np.float32)
    with torch.no_grad():
        y = model.eval()(torch.from_numpy(x)).numpy()
    scores[f"{name} {size[0]}x{size[1]}"] = y[:, ::step]
    print(name, np.abs(y).max(), flush=True)


def shapes(model):
    return {k: v.shape for k, v in model.state_dict().items()}


for name in ("alexnet", "vgg11_bn", "resnet34", "googlenet", "densenet121", "convnext_tiny"):
    model = getattr(tv, name)(weights=None, **({"aux_logits": False, "init_weights": False} if name == "googlenet" else {}))
    model.load_state_dict(drawn(shapes(model)))
    run(name, model, (192, 256))

vit = {"patch_size": 16, "num_layers": 12, "num_heads": 6, "hidden_dim": 384, "mlp_dim": 1536}
state = drawn(shapes(tv.VisionTransformer(image_size=224, **vit)))
p = state["encoder.pos_embedding"]
grid = torch.nn.functional.interpolate(p[:, 1:].reshape(1, 14, 14, 384).permute(0, 3, 1, 2), (10, 10), mode="bicubic", antialias=True)
state["encoder.pos_embedding"] = torch.cat([p[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 100, 384)], dim=1)
model = tv.VisionTransformer(image_size=160, **vit)
model.load_state_dict(state)
run("vit_s_16", model, (160, 160))

from torchray.benchmark import models as tr  # noqa: E402

for arch in ("vgg16", "resnet50"):
    base = getattr(tv, arch)(weights=None, num_classes=20)
    if arch == "resnet50":
        base.conv1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=True)
    names = {}
    for k, s in shapes(base).items():
        if k.endswith("num_batches_tracked"):
            continue
        s = list(s)
        if arch == "vgg16" and "classifier" in k:
            index = {"0": "0", "3": "2", "6": "4"}[k.split(".")[1]]
            k = f"classifier.{index}.{k.split('.')[2]}"
            s = [4096, 512, 7, 7] if k == "classifier.0.weight" else s + [1, 1] if k.endswith("weight") else s
        k = re.sub(r"(bn\d|downsample\.1)\.(running_mean|running_var)$", r"\1.0.\2", k)
        k = re.sub(r"(bn\d|downsample\.1)\.(weight|bias)$", r"\1.1.\2", k)
        k = re.sub(r"downsample\.0\.weight$", r"downsample.0.0.weight", k)
        names[k] = s
    checkpoint = drawn(names)
    original, torch.hub.load_state_dict_from_url = torch.hub.load_state_dict_from_url, lambda *a, **k: dict(checkpoint)
    constructor = getattr(tv, arch)
    tr.models.__dict__[arch] = lambda pretrained=False, constructor=constructor: constructor(weights=None)
    run(f"{arch}_voc", tr.get_model(arch, "voc"), (224, 300), step=1)
    tr.models.__dict__[arch] = constructor
    torch.hub.load_state_dict_from_url = original

prepared = {}
picture = np.random.default_rng([0, 7]).integers(0, 256, (300, 401, 3), dtype=np.uint8)
for orientation, pixels in (("landscape", picture), ("portrait", picture.transpose(1, 0, 2))):
    for scaled, interpolation in ((256, "bilinear"), (230, "bilinear"), (232, "bilinear"), (236, "bilinear"), (248, "bicubic"), (256, "bicubic")):
        prepare = transforms.Compose(
            [
                transforms.Resize(scaled, interpolation=transforms.InterpolationMode(interpolation)),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
            ]
        )
        y = prepare(Image.fromarray(np.ascontiguousarray(pixels))).numpy().transpose(1, 2, 0)
        prepared[f"{orientation} {scaled} {interpolation}"] = y[::16, ::16]

np.savez_compressed(f"{out}/sizes.npz", **scores)
np.savez_compressed(f"{out}/preprocessing.npz", **prepared)
