"""Builders of TensorFlow Datasets: `scenes`, and `voc` from the official files. They prepare and read without TensorFlow.

Both need `pip install 'extremal-jax[datasets]'`, and write ArrayRecord files, in the order of the examples.
"""

from extremal_jax.data.builders.scenes_builder import scenes
from extremal_jax.data.builders.voc_builder import voc

__all__ = ["scenes", "voc"]
