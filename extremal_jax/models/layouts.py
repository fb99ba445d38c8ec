"""How published files name and shape the arrays of each family, as data for `conversion`.

The networks' own paths follow one publisher's words per family, so most tables are short. Patterns are regular expressions on dotted paths.
"""

from __future__ import annotations

from extremal_jax.models.conversion import BGR_KERNEL, CHANNELS_OF_MAPS, FLAT_KERNEL, KERNEL, POINTWISE_KERNEL, Layout

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


def _heads(first: str, second: str, third: str) -> tuple[tuple[str, str], ...]:
    """The names of the three layers of a classifier."""
    return (r"^fc1\.conv", first), ("^fc2", second), ("^fc3", third), *_PYTORCH_NAMES


_FLAT_WINDOW = (r"^fc1\.conv\.kernel$", FLAT_KERNEL)
_POINTWISE_2 = (r"^fc2\.kernel$", POINTWISE_KERNEL)
_POINTWISE_3 = (r"^fc3\.kernel$", POINTWISE_KERNEL)
ALEXNET = (Layout("torchvision", _heads("classifier.1", "classifier.4", "classifier.6"), (_FLAT_WINDOW, *_PYTORCH_FORMS)),)
VGG = (
    Layout("torchvision", _heads("classifier.0", "classifier.3", "classifier.6"), (_FLAT_WINDOW, *_PYTORCH_FORMS), _PYTORCH_IGNORED),
    Layout("timm", _heads("pre_logits.fc1", "pre_logits.fc2", "head.fc"), (_POINTWISE_2, *_PYTORCH_FORMS), _PYTORCH_IGNORED),
)
CAFFE_VGG = (
    Layout(
        "TorchRay",
        _heads("classifier.0", "classifier.2", "classifier.4"),
        ((r"^features\.0\.kernel$", BGR_KERNEL), _POINTWISE_2, _POINTWISE_3, *_PYTORCH_FORMS),
    ),
)

GOOGLENET = (
    Layout(
        "torchvision",
        ((r"branch4", "branch4.1"), (r"\.norm\.", ".bn."), *_PYTORCH_NAMES),
        _PYTORCH_FORMS,
        (*_PYTORCH_IGNORED, r"^aux[12]\."),  # the auxiliary heads serve training
    ),
)

_DENSENET_NAMES = (
    (r"^(?!classifier)", "features."),
    (r"\.layers\.(\d+)", lambda found: f".denselayer{int(found[1]) + 1}"),
    (r"conv0\.norm", "norm0"),
    (r"conv1\.norm", "norm2"),
    (r"conv([01])\.conv", r"conv\1"),
    *_PYTORCH_NAMES,
)
DENSENET = (
    Layout("torchvision and timm", _DENSENET_NAMES, _PYTORCH_FORMS, _PYTORCH_IGNORED),
    Layout(
        "torchvision, as first published",
        (*_DENSENET_NAMES, (r"(denselayer\d+)\.(norm|conv)(\d)", r"\1.\2.\3")),
        _PYTORCH_FORMS,
        _PYTORCH_IGNORED,
    ),
)

CONVNEXT = (
    Layout("timm", ((r"^(norm|fc)", r"head.\1"), *_PYTORCH_NAMES), _PYTORCH_FORMS),
    Layout(
        "torchvision",
        (
            ("^stem", "features.0"),
            (r"^stages\.(\d)\.downsample", lambda found: f"features.{2 * int(found[1])}"),
            (r"^stages\.(\d)\.blocks", lambda found: f"features.{2 * int(found[1]) + 1}"),
            ("^norm", "classifier.0"),
            ("^fc", "classifier.2"),
            ("gamma", "layer_scale"),
            ("conv_dw", "block.0"),
            (r"(\d)\.norm", r"\1.block.2"),
            (r"mlp\.fc1", "block.3"),
            (r"mlp\.fc2", "block.5"),
            *_PYTORCH_NAMES,
        ),
        ((r"gamma$", CHANNELS_OF_MAPS), *_PYTORCH_FORMS),
    ),
)

_TORCHVISION_VIT_NAMES = (
    ("^cls_token", "class_token"),
    ("^pos_embed", "encoder.pos_embedding"),
    ("^patch_embed", "conv_proj"),
    (r"^blocks\.", "encoder.layers.encoder_layer_"),
    (r"\.norm(\d)", r".ln_\1"),
    (r"attn\.qkv\.(kernel|bias)", lambda found: "self_attention.in_proj_" + {"kernel": "weight", "bias": "bias"}[found[1]]),
    (r"attn\.proj", "self_attention.out_proj"),
    ("^norm", "encoder.ln"),
    ("^head", "heads.head"),
    *_PYTORCH_NAMES,
)
VIT = (
    Layout("timm", (("^patch_embed", "patch_embed.proj"), *_PYTORCH_NAMES), _PYTORCH_FORMS),
    Layout("torchvision", ((r"mlp\.fc1", "mlp.0"), (r"mlp\.fc2", "mlp.3"), *_TORCHVISION_VIT_NAMES), _PYTORCH_FORMS),
    Layout("torchvision, as first published", ((r"mlp\.fc(\d)", r"mlp.linear_\1"), *_TORCHVISION_VIT_NAMES), _PYTORCH_FORMS),
)
