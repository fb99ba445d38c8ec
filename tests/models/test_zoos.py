"""Models of other packages, with random weights in the published architectures: CLIP with prompts as its classes, SigLIP, DINOv2, ViT.

A test is skipped where its package is not installed. The blocks of docs/bring_your_model.md that explain CLIP run here as they are, with
a small network in place of the published one.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

import extremal_jax as ej
from extremal_jax.optimise import driver

os.environ.setdefault("KERAS_BACKEND", "jax")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages

PAGE = (Path(__file__).parents[2] / "docs/bring_your_model.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SIDE, PATCH, LENGTH, VOCABULARY = 56, 14, 8, 50
IMAGE = np.random.default_rng(0).standard_normal((SIDE, SIDE, 3), np.float32)
TOKENS = np.array([[48, 3, 4, 5, 49, 49, 49, 49], [48, 3, 6, 49, 49, 49, 49, 49], [48, 7, 8, 9, 10, 49, 49, 49]])
"""Numbers in place of the tokens of three prompts; 49 ends each."""
CONFIG = ej.Config(num_steps=2, pitch=16, sigma=16.0, num_levels=2, max_blur=8.0, exchange=False, reward="contrastive")


def package(*names: str) -> Any:
    """The first of the packages; the test is skipped unless all can be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [importlib.import_module(name) for name in reversed(names)][-1]
    except Exception as error:  # packages of versions that do not fit one another raise errors of all kinds
        return pytest.skip(f"needs {' and '.join(names)}: {error}")


@pytest.fixture
def mesh() -> Iterator[None]:
    """One device, with the axis over which the networks of jax-image-models are sharded."""
    with jax.set_mesh(jax.make_mesh((1,), ("fsdp",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:1])):
        yield


def on_the_mesh(images: Any) -> Any:
    return jax.sharding.reshard(images, PartitionSpec(None, None, None, None))


def evaluated(network: Any) -> Any:
    network.eval()
    return network


class TwoTowers(NamedTuple):
    tower: Callable[..., Any]  # a model: images (B, H, W, C) -> embeddings (B, D)
    texts: Any  # the embeddings of the prompts
    logits: Any  # (1, prompts): what the package says of `IMAGE`
    scale: Any  # of the cosines
    shift: Any
    layer: str  # one of the image tower


def image_tower(network: Any, images: Any) -> Any:
    return network.encode_image(on_the_mesh(images))


def of_jimm(kind: str) -> TwoTowers:
    network = evaluated(getattr(package("jimm"), kind)(SIDE, 2, 64, PATCH, LENGTH, VOCABULARY, 64, 2, 2, rngs=nnx.Rngs(0)))
    tokens = jnp.asarray(TOKENS)
    logits = network(on_the_mesh(jnp.asarray(IMAGE[None])), tokens)
    shift = network.logit_bias[...] if kind == "SigLIP" else 0.0
    tower = jax.tree_util.Partial(image_tower, ej.models.name_submodules(network))  # its scan does not run in a closure
    layer = "vision_model.encoder.patch_embeddings"
    return TwoTowers(tower, network.encode_text(tokens), logits, jnp.exp(network.logit_scale[...]), shift, layer)


def of_keras_hub(kind: str) -> TwoTowers:
    keras, models = package("keras", "keras_hub"), package("keras_hub").models
    sizes = dict(hidden_dim=32, num_layers=2, num_heads=2, intermediate_dim=64)
    image = getattr(models, f"{kind}VisionEncoder")(patch_size=PATCH, image_shape=IMAGE.shape, name="image", **sizes)
    text = getattr(models, f"{kind}TextEncoder")(VOCABULARY, embedding_dim=32, max_sequence_length=LENGTH, **sizes)
    network = getattr(models, f"{kind}Backbone")(image, text, *([16] if kind == "CLIP" else []))
    images = keras.Input(IMAGE.shape)
    tower = ej.models.from_keras(keras.Model(images, network.get_vision_embeddings(images)))
    logits = network({"images": IMAGE[None], "token_ids": TOKENS})["vision_logits"]
    head = next(layer for layer in network.layers if hasattr(layer, "logit_scale"))
    texts, scale = jnp.asarray(network.get_text_embeddings(TOKENS)), jnp.exp(jnp.asarray(head.logit_scale))
    return TwoTowers(tower, texts, logits, scale, jnp.asarray(getattr(head, "logit_bias", 0.0)), "image.image_encoder_block_0")


def of_open_clip(kind: str) -> TwoTowers:
    torch, open_clip = package("torch", "torchax"), package("open_clip.model")
    torch.manual_seed(0)
    vision = dict(layers=2, width=64, head_width=32, image_size=SIDE, patch_size=PATCH)
    text = dict(context_length=LENGTH, vocab_size=VOCABULARY, width=32, heads=2, layers=2)
    network = getattr(open_clip, kind)(16, vision, text).eval()
    with torch.no_grad():
        image, texts, scale = network(torch.tensor(IMAGE).permute(2, 0, 1)[None], torch.tensor(TOKENS))
    tower = ej.models.from_torch(network.visual, IMAGE)
    return TwoTowers(tower, jnp.asarray(texts.numpy()), scale * image @ texts.T, scale.item(), 0.0, "transformer.resblocks.0")


def cosines(tower: Any, texts: Any, images: Any) -> Any:
    x, y = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (tower(images), texts))
    return x @ y.T


@pytest.mark.parametrize(
    ("build", "kind"),
    [(of_jimm, "CLIP"), (of_jimm, "SigLIP"), (of_keras_hub, "CLIP"), (of_keras_hub, "SigLIP"), (of_open_clip, "CLIP")],
)
def test_a_prompt_is_the_target(build: Any, kind: str, request: pytest.FixtureRequest) -> None:
    """The cosines are those of the package. Masks are found for a prompt, and a layer of the image tower has a map."""
    if build is of_jimm:
        request.getfixturevalue("mesh")
    towers = build(kind)
    model: Any = functools.partial(cosines, towers.tower, towers.texts)
    np.testing.assert_allclose(towers.scale * model(IMAGE[None]) + towers.shift, towers.logits, rtol=1e-4, atol=1e-5)
    model.classes = ("a photo of a fox", "a photo of a dog", "a photo of a cup")
    explained(model, "a photo of a dog", towers.layer)


def explained(model: Any, target: Any, layer: str, image: Any = IMAGE) -> None:
    """Masks are found, and the map at a layer, (patches, patches), is not empty."""
    result = ej.extremal_perturbation(model, image, target, areas=(0.1,), config=CONFIG)
    assert result.status.ok, result.status
    saliency = ej.attribution.gradient(model, image, target, at=layer)
    assert saliency.shape == (image.shape[0] // PATCH, image.shape[1] // PATCH)
    assert saliency.max() > 0


@pytest.mark.usefixtures("mesh")
def test_dinov2_and_vit_of_jax_image_models() -> None:
    jimm, sizes = package("jimm"), dict(img_size=SIDE, patch_size=PATCH, num_layers=2, num_heads=2, mlp_dim=64, hidden_size=32)
    plain = importlib.import_module("jimm.common.sharding").NoSharding()
    for network in (jimm.DINOv2Model(**sizes, sharding=plain, rngs=nnx.Rngs(0)), jimm.VisionTransformer(**sizes, rngs=nnx.Rngs(0))):
        explained(ej.models.name_submodules(evaluated(network)), 3, "encoder.patch_embeddings")


def test_dinov2_of_keras_hub() -> None:
    keras, models = package("keras", "keras_hub"), package("keras_hub").models
    network = models.DINOV2Backbone(PATCH, 2, 32, 2, 64, image_shape=IMAGE.shape, name="dino")
    images = keras.Input(IMAGE.shape)
    explained(ej.models.from_keras(keras.Model(images, network(images)[:, 0])), 3, "dino.dino_encoder.layers_0")


def of_images(module: Any, images: Any) -> Any:
    one = functools.partial(module, key=jax.random.key(0), inference=True)
    return jax.vmap(one)(images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["dinov2_vits14_reg", "vit_tiny_patch16_224"])
def test_equimo(name: str) -> None:
    models, equinox = package("equimo.models", "equinox"), package("equinox")
    module = getattr(models, name)(img_size=SIDE, patch_size=PATCH, dim=32, num_heads=2, depths=[2], key=jax.random.key(0))
    model = functools.partial(of_images, ej.models.name_submodules(equinox.nn.inference_mode(module)))
    explained(model, 3, "blocks.0.blocks.0")


# The blocks of the page


def run_block(imports: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the page's block that imports this, for the first and last step of its runs."""
    monkeypatch.setattr(driver, "chunks", lambda num_steps: [slice(0, 1), slice(num_steps - 1, num_steps)])
    [block] = [block.replace("layers.10", "layers.0") for block in BLOCKS if imports in block]
    prompts = ("a photo of a fox", "a photo of a dog", "a photo of a cup")
    names = dict(functools=functools, jax=jax, jnp=jnp, ej=ej, prompts=prompts, normalised=normalised, **names)
    exec(compile(block, "docs/bring_your_model.md", "exec"), names)
    assert names["result"].status.ok, names["result"].status
    assert names["saliency"].shape == (SIDE // PATCH, SIDE // PATCH)
    return names


def normalised(x: Any) -> Any:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.usefixtures("mesh")
def test_clip_of_jax_image_models_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    jimm = package("jimm")
    network = jimm.CLIP(SIDE, 2, 64, PATCH, LENGTH, VOCABULARY, 64, 2, 2, rngs=nnx.Rngs(0))
    tokenizer = types.SimpleNamespace(from_pretrained=lambda name: lambda texts, padding, max_length: {"input_ids": TOKENS[: len(texts)]})
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(CLIPTokenizer=tokenizer))
    monkeypatch.setattr(jimm.CLIP, "from_pretrained", lambda name: network)
    monkeypatch.setattr(jax, "set_mesh", lambda mesh: None)  # the fixture sets one for this test alone
    run_block("import jimm\nfrom jax.sharding import AxisType, PartitionSpec", {"image": IMAGE}, monkeypatch)


def test_clip_of_transformers_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, transformers = package("torch", "torchax", "transformers"), package("transformers")
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2)
    text = dict(sizes, num_hidden_layers=2, vocab_size=VOCABULARY, max_position_embeddings=LENGTH, eos_token_id=49, bos_token_id=48)
    vision = dict(sizes, num_hidden_layers=2, image_size=SIDE, patch_size=PATCH)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16, logit_scale_init_value=np.log(100))
    network = transformers.CLIPModel(config)
    inputs = {"input_ids": torch.tensor(TOKENS), "pixel_values": torch.tensor(IMAGE).permute(2, 0, 1)[None]}
    monkeypatch.setattr(transformers.CLIPModel, "from_pretrained", lambda name: network)
    monkeypatch.setattr(transformers.CLIPProcessor, "from_pretrained", lambda name: lambda **given: inputs)
    names = run_block("from transformers import CLIPModel", {"photograph": None}, monkeypatch)
    with torch.no_grad():
        expected = network(**inputs).logits_per_image
    np.testing.assert_allclose(names["clip"](names["image"][None]), expected, rtol=1e-4, atol=1e-4)
