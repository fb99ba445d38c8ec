"""Generated data along time with exact masks of their evidence: clips of moving objects, and series with planted events."""

from extremal_jax.data.along_time import moving_scenes, series

__all__ = ["moving_scenes", "series"]
