"""Images to explain: image files, and generated scenes with exact masks."""

from extremal_jax.data import scenes
from extremal_jax.data.images import load_image

__all__ = ["load_image", "scenes"]
