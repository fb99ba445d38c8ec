"""The axes of a call: those that it names, or else those of the model."""

from __future__ import annotations

from typing import Any

from extremal_jax.operators.axes import IMAGE, Axes, Axis, check_axes, names


def axes_of_model(model: Any) -> Axes | None:
    """The axes that a model says its input has, by an attribute `axes`, a tuple of `Axis` records; None where it says nothing.

    Example:
      >>> axes_of_model(lambda images: images) is None
      True
    """
    axes = getattr(model, "axes", None)
    known = isinstance(axes, tuple) and bool(axes) and all(isinstance(axis, Axis) for axis in axes)
    return axes if known else None


def find_axes(axes: Axes | str | None, configured: Axes | str | None, model: Any) -> Axes | None:
    """The axes of a call's input: the argument, the config's, or the model's; None for images of which nothing is said.

    Raises:
      TypeError, ValueError: if the argument is neither a name nor records, if it differs from the config's, or if there are not
        as many axes as the model's input has.

    Example:
      >>> find_axes(None, None, lambda images: images) is None, names(find_axes("series", None, None))
      (True, ('time', 'feature'))
    """
    own = axes_of_model(model)
    if axes is None and configured is None:
        return None if own == IMAGE else own
    found = check_axes(configured if axes is None else axes)
    if configured is not None and found != (other := check_axes(configured)):
        raise ValueError(f"axes and the config's axes differ: {', '.join(names(found))} and {', '.join(names(other))}")
    if own is not None and len(found) != len(own):
        raise ValueError(f"axes must be as many as those of the model's input, {', '.join(names(own))}, got {', '.join(names(found))}")
    return found
