"""The tensors that the argument `weights` of `models.load` stands for."""

from __future__ import annotations

import importlib.resources
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from extremal_jax.ground.files import address
from extremal_jax.models.entry import Entry
from extremal_jax.models.formats import big_vision, safetensors
from extremal_jax.models.formats.pytorch import is_safetensors, read_tensors
from extremal_jax.models.hub import HubFile, parse

PRETRAINED = importlib.resources.files(__package__) / "pretrained"
_WRAPPERS = r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."  # of torch.compile and others


def read_weights(entry: Entry, weights: Any, *, ema: bool = False) -> tuple[dict[str, np.ndarray], str]:
    """The tensors, and the words for where they came from."""
    if isinstance(weights, HubFile):
        return _read_file(weights.fetch(), ema), f"hub:{weights.repo}"
    if hasattr(weights, "read"):
        content = None if hasattr(weights, "encoding") else weights.read()
        if not isinstance(content, bytes | bytearray | memoryview):
            raise TypeError(f"weights must be a file of bytes, got one of text ({type(weights).__name__}); open it in binary mode")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights"
            path.write_bytes(content)
            return _read_file(path, ema), "the given file"
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(f'weights must be a file or its name, "default", "hub", "hub:OWNER/NAME", or None, got {weights!r}')
    if weights == "default" and entry.package:
        path = entry.package.find()
        return _read_file(path, ema), str(path)
    if weights == "default":
        packaged = PRETRAINED / f"{entry.name}.safetensors"
        if not packaged.is_file():
            hub = 'the name of a file, "hub"' if entry.hub else "the name of a file"
            raise ValueError(f"the package carries no weights for {entry.name}; give weights={hub}, or None for random ones")
        with importlib.resources.as_file(packaged) as path:
            return safetensors.read(path), str(path)
    if found := address(weights):
        raise ValueError(f'weights must be a file, or "hub:OWNER/NAME"; download {found} and give the file')
    return _read_file(Path(weights), ema), str(weights)


def hub_file(entry: Entry, weights: Any) -> HubFile | None:
    """The file on the hub that `weights` name, if they do."""
    if not isinstance(weights, str) or not (weights == "hub" or weights.startswith("hub:")):
        return None
    if weights != "hub":
        return parse(weights)
    if entry.hub is None:
        raise ValueError(f"no weights for {entry.name} are published on the Hugging Face hub; give the name of a file")
    if entry.hub.revision is None:
        raise ValueError(
            f"the weights of {entry.name} on the Hugging Face hub are not pinned to a commit, so they can change; give"
            f' weights="hub:{entry.hub.repo}@COMMIT", or "hub:{entry.hub.repo}" for the newest'
        )
    return entry.hub


def _read_file(path: Path, ema: bool) -> dict[str, np.ndarray]:
    """The tensors of a file, whose first bytes tell its format. Its ending does not count."""
    if path.is_dir():
        raise ValueError(f"weights must be a file, and {path} is a folder; name the file in it")
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights file {path}; expected a safetensors file, or one written by torch.save or, for ViT, by big_vision"
        )
    with path.open("rb") as file:
        head = file.read(16)
    if is_safetensors(head) or (path.suffix == ".safetensors" and not head.startswith((b"PK", b"\x80"))):
        tensors = safetensors.read(path)
    elif big_vision.is_npz(path):
        tensors = big_vision.read(path)
    else:
        tensors = read_tensors(path, ema=ema)
    names = {name: re.sub(_WRAPPERS, "", name) for name in tensors}
    if len(set(names.values())) < len(names):
        return tensors
    return {new: tensors[name] for name, new in names.items()}
