"""Figures of results, as matplotlib figures without global state: `figure.savefig(path)` writes one."""

from extremal_jax.plots.figures import channels, class_channels, comparison, history, inversion, overview, responses, smallest_area

__all__ = ["channels", "class_channels", "comparison", "history", "inversion", "overview", "responses", "smallest_area"]
