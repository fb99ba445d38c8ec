"""Figures of results, as matplotlib figures without global state: `figure.savefig(path)` writes one.

Figures have the width of a paper's column or page, text of 7 points, and colours that the colour-blind can tell apart.
In a PDF or SVG file, text, outlines and curves are vectors, and pictures and masks are pixels. `width=` sets the width.
Functions of one panel draw on axes (`ax=`), which they return; the others draw on a figure or a part of one (`figure=`).
"""

from extremal_jax.plots.figures import comparison, history, overview, smallest_area
from extremal_jax.plots.inside import channels, class_channels, inversion
from extremal_jax.plots.other_axes import series, slices
from extremal_jax.plots.single import heat, responses, selection

__all__ = [
    "channels",
    "class_channels",
    "comparison",
    "heat",
    "history",
    "inversion",
    "overview",
    "responses",
    "selection",
    "series",
    "slices",
    "smallest_area",
]
