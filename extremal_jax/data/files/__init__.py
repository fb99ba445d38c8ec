"""Files of arrays, volumes and clips. Nothing in them is executed."""

from extremal_jax.data.files.arrays import load_array
from extremal_jax.data.files.videos import load_video
from extremal_jax.data.files.volumes import load_volume

__all__ = ["load_array", "load_video", "load_volume"]
