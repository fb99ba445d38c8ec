"""Figures of results, as matplotlib figures without global state: `figure.savefig(path)` writes one."""

from extremal_jax.plots.figures import channels, class_channels, comparison, history, inversion, overview, responses, smallest_area
from extremal_jax.plots.other_axes import series, slices

__all__ = ["channels", "class_channels", "comparison", "history", "inversion", "overview", "responses", "series", "slices", "smallest_area"]
