"""Where the weights of each classifier are published on the Hugging Face hub: pinned to a commit, and to the digest of the file where it is
known.

A file is verified against its digest here, and against the one that the hub publishes. Of a classifier whose commit is not known only the
repository is listed, to be asked for by its name.
"""

from __future__ import annotations

from extremal_jax.models.hub import HubFile


def _timm(name: str, revision: str | None = None, sha256: str | None = None) -> HubFile:
    return HubFile(f"timm/{name}", "model.safetensors", revision, sha256)


PUBLISHED: dict[str, HubFile] = {
    "vgg11": _timm(
        "vgg11.tv_in1k", "38b46049b490ec2bdb6d4d32b8354c74977f3347", "682c023808812148d4e60c76d80ad83dbeaf5d50eb1a952a0b836895003151e5"
    ),
    "vgg11_bn": _timm("vgg11_bn.tv_in1k", "1eb350bbb712e01a71a259d3296ac996539a9f0e"),
    "vgg13": _timm("vgg13.tv_in1k", "398c5a92d29787ceca04d7b45c8a07efd8f934f7"),
    "vgg13_bn": _timm("vgg13_bn.tv_in1k", "ed6e64d6167edbe08697cb4d7ceaef5077972131"),
    "vgg16": _timm(
        "vgg16.tv_in1k", "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f", "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8"
    ),
    "vgg16_bn": _timm("vgg16_bn.tv_in1k", "e00c01e7cee168262dcba6428dc4a8f41e27e965"),
    "vgg19": _timm("vgg19.tv_in1k", "128d4708565b3a414bcbb9bbad440b2fe37b9f18"),
    "vgg19_bn": _timm("vgg19_bn.tv_in1k", "857683a806d7bac35f54d8fc1ed0331536e7e68f"),
    "resnet18": _timm(
        "resnet18.tv_in1k", "bbd144b3e5565108aad885f145491d11bc6ce807", "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81"
    ),
    "resnet34": _timm(
        "resnet34.tv_in1k", "1b7b21cca82ff974d341713f777bf740c2db38c4", "0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235"
    ),
    "resnet50": _timm(
        "resnet50.tv_in1k", "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa", "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"
    ),
    "resnet101": _timm("resnet101.tv_in1k"),
    "resnet152": _timm("resnet152.tv_in1k", "1f8fa579af406a6f10e457a6dce6909c9157a70f"),
    "densenet121": _timm(
        "densenet121.tv_in1k",
        "f0d0f2698a02cb133b09d48396db6e1e46fe9f3b",
        "c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358",
    ),
    "densenet169": _timm("densenet169.tv_in1k", "8c033a1f91d746e37e23229bf0445fff2125c89e"),
    "densenet201": _timm("densenet201.tv_in1k"),
    "convnext_tiny": _timm(
        "convnext_tiny.fb_in1k",
        "b43a6303c9fcf176d2d707478a128c2c91e93528",
        "08b9dc9c3a3a29421de7996761e176501896d1ae7fc3085cf56a643772329276",
    ),
    "convnext_small": _timm("convnext_small.fb_in1k"),
    "convnext_base": _timm("convnext_base.fb_in1k", "9868d443015978c683675b2f78030a9c943033f8"),
    "vit_s_16": _timm(
        "vit_small_patch16_224.augreg_in21k_ft_in1k",
        "7e2c55630205e1266030f18370f4c6ed1a514b52",
        "79c03c635cdfd798a364a9d8c4e5c0b7255b975ea2c9616046d4f77ab01435aa",
    ),
    "vit_b_16": _timm("vit_base_patch16_224.augreg_in21k_ft_in1k", "b5b38b8f7dd93ce67d12e356a8771556b95c8cf9"),
    "deit_s_16": _timm(
        "deit_small_patch16_224.fb_in1k",
        "91327a9c99f98fe6b524cd4d397b7226b80e1365",
        "1e747b4a8d0df2cfbd3c450e8c97685d867448ab0c2ddbfb34b6885f5cb23e5b",
    ),
    "deit_b_16": _timm(
        "deit_base_patch16_224.fb_in1k",
        "b78cc5532a69df6bcad9c3a8d76653fd20b31ac6",
        "cd2da27b74ed7f68b599f16c77af3e1e80f01c75f9ad96029d22ce747a247e8e",
    ),
}
