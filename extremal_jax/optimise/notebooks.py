"""Results as notebooks and consoles show them: their masks alone, as small pictures, since a result holds no image.

The classes of results inherit from what is here, which knows their fields by name and no class of theirs: the small
version of a report lies below the results, and the report above them.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from extremal_jax.ground.checks import find
from extremal_jax.ground.html import escaped, figure, paragraph, section
from extremal_jax.operators.games import GAMES, Game

_MOST_IMAGES, _MOST_MASKS, _MOST_CHANNELS = 4, 8, 24


class Printed:
    """A result that prints its shape and status, and not its arrays."""

    def __repr__(self) -> str:
        name = type(self).__name__
        shapes = [f"{field}: {_shape(value)}" for field, value in vars(self).items() if hasattr(value, "shape")]
        return f"<{name} {', '.join(shapes)}; {_status(self) or 'not computed yet'}>"

    def _repr_html_(self) -> str | None:
        """The small version of a report: each mask with its area and response, and the status. None under a trace."""
        if _status(self) is None or not all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(self)):
            return None
        this: Any = self
        ones = [this] if this.is_single else [this[index] for index in range(min(len(this), _MOST_IMAGES))]
        parts = [section(_head(one, index, len(ones)), f"<div>{_figures(one)}</div>") for index, one in enumerate(ones)]
        left = 0 if this.is_single else len(this) - len(ones)
        parts += [paragraph(f"and {left} more")] if left else []
        layer = "" if this.at is None else f" of the layer {this.at}"
        return section(f"{type(self).__name__}{layer}", *parts, paragraph(*str(this.status).splitlines()))


def _shape(value: Any) -> str:
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"


def _status(result: Any) -> str | None:
    """The status in one line; None where it is not known yet."""
    try:
        lines = str(result.status).splitlines()
    except Exception:  # tracers, and the placeholders of transformations, have no status
        return None
    return lines[0] if len(lines) == 1 else f"{len(lines)} faults, such as: {lines[0]}"


def _head(one: Any, index: int, count: int) -> str:
    """The line over the pictures of one image."""
    image = f"image {index}: " if count > 1 else ""
    if not hasattr(one, "targets"):
        return f"{image}cosine {float(one.cosines):.2f}"
    whole = one.image_rewards if hasattr(one, "image_rewards") else one.image_responses
    classes = " / ".join(f"class {target}" for target in np.ravel(one.targets))
    return f"{image}{classes}, response {float(whole):.2f}"


def _figures(one: Any) -> str:
    """The pictures of the result of one image."""
    if hasattr(one, "cosines"):  # feature inversion
        return figure(np.asarray(one.images), "the picture found", f"objective {float(one.values):.3g}", longest=160)
    if hasattr(one, "curve"):  # a smallest area
        found = f"a* {float(one.areas):.1%}" if one.reached else "no area suffices"
        return figure(_flat(one.masks), f"mask, {found}", found, f"response {float(one.responses):.2f}")
    game = find("game", one.config.game, GAMES, Game)
    order = np.argsort(np.asarray(one.requested_areas), kind="stable")
    values = [f"{game.reading} {game.sign * float(one.rewards[k]):.2f}" for k in order]
    if np.asarray(one.requested_areas).dtype.kind == "i":  # channels
        kept = [np.argsort(-np.asarray(one.masks[k]), kind="stable")[: int(one.requested_areas[k])] for k in order]
        lines = [
            f"{len(some)} channel{'s' if len(some) > 1 else ''}, {value}: {_channels(some)}"
            for some, value in zip(kept, values, strict=True)
        ]
        return paragraph(*lines)
    areas = [f"{float(one.areas[k]):.1%}" for k in order]
    drawn = [figure(_flat(one.masks[k]), f"mask of {area}", area, value) for k, area, value in zip(order, areas, values, strict=True)]
    left = f" {escaped(f'and {len(drawn) - _MOST_MASKS} more')}" if len(drawn) > _MOST_MASKS else ""
    return f"<div>{''.join(drawn[:_MOST_MASKS])}{left}</div>"


def _channels(kept: np.ndarray) -> str:
    shown = ", ".join(map(str, np.sort(kept)[:_MOST_CHANNELS].tolist()))
    return shown + (", …" if len(kept) > _MOST_CHANNELS else "")


def _flat(mask: Any) -> np.ndarray:
    """A mask as a picture: the highest values over the first of three axes; a bar for one axis."""
    values = np.asarray(mask, np.float32)
    if values.ndim == 3:
        return values.max(axis=0)
    return np.broadcast_to(values, (max(1, len(values) // 8), len(values))) if values.ndim == 1 else values
