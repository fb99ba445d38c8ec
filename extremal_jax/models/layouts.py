"""How published files name and shape the arrays of each family, as data for `conversion`.

The networks' own paths follow one publisher's words per family, so most tables are short. Patterns are regular expressions on dotted paths.
"""

from __future__ import annotations

from extremal_jax.models.conversion import BGR_KERNEL, KERNEL, Layout

# What every PyTorch file shares.
_PYTORCH_NAMES = (
    (r"\.kernel$", ".weight"),
    (r"\.scale$", ".weight"),
    (r"\.mean$", ".running_mean"),
    (r"\.var$", ".running_var"),
)
_PYTORCH_FORMS = ((r"kernel$", KERNEL),)
_PYTORCH_IGNORED = (r"(^|\.)num_batches_tracked$",)

SCENES = (Layout("this project"),)

_RESNET_NAMES = (
    (r"downsample\.conv", "downsample.0"),
    (r"downsample\.norm", "downsample.1"),
    (r"conv(\d)\.norm", r"bn\1"),
    (r"conv(\d)\.conv", r"conv\1"),
    *_PYTORCH_NAMES,
)
RESNET = (Layout("torchvision and timm", _RESNET_NAMES, _PYTORCH_FORMS, _PYTORCH_IGNORED),)
CAFFE_RESNET = (
    Layout(
        "TorchRay",
        (
            *_RESNET_NAMES,
            (r"(bn\d|downsample\.1)\.(running_\w+)$", r"\1.0.\2"),  # Caffe normalises and scales in two layers
            (r"(bn\d|downsample\.1)\.(weight|bias)$", r"\1.1.\2"),
            (r"downsample\.0", "downsample.0.0"),
        ),
        ((r"^conv1\.conv\.kernel$", BGR_KERNEL), *_PYTORCH_FORMS),
    ),
)
