"""The grid pointing game: which cell of a grid of images an attribution of one cell's class lies in.

The truth needs no boxes: only the cell that holds an image of the class can speak for it.

Source: Böhle, Fritz and Schiele, "Convolutional Dynamic Alignment Networks for Interpretable Classifications", CVPR
2021; Rao, Böhle and Schiele, "Towards Better Understanding Attribution Methods", CVPR 2022.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Num

from extremal_jax.evaluation.calls import check_maps
from extremal_jax.evaluation.localisation.overlap import energy
from extremal_jax.evaluation.localisation.pointing import highest_point, is_hit
from extremal_jax.ground.checks import as_array, check_count, check_flag, check_share, values_of
from extremal_jax.ground.filters import resize
from extremal_jax.ground.pytrees import AnyArray


class Grids(NamedTuple):
    """Grids of n x n images, with the class of one cell of each as the target.

    Attributes:
      images: (G, n h, n w, C).
      targets: (G,), the class of the target's cell.
      cells: (G, 2), the row and column of that cell, from 0.
      members: (G, n, n), the index of the image in each cell.
    """

    images: Num[np.ndarray, "G H W C"]
    targets: Int[np.ndarray, " G"]
    cells: Int[np.ndarray, "G 2"]
    members: Int[np.ndarray, "G n n"]

    @property
    def regions(self) -> Bool[np.ndarray, "G H W"]:
        """(G, n h, n w): the pixels of the target's cell."""
        return np.asarray(cell_regions(self.cells, self.members.shape[-1], self.images.shape[1:3]))


def make_grids(
    images: Any,
    classes: Any,
    scores: Any,
    *,
    count: int,
    cells: int = 2,
    threshold: float = 0.8,
    corners: bool = False,
    seed: int = 0,
    first: int = 0,
) -> Grids:
    """Make grids of confidently recognised images of different classes.

    Args:
      images: (M, h, w, C), as the model takes them.
      classes: (M,), their classes.
      scores: (M, K), the model's scores of them: an image is recognised if its class has the highest score, and a
        probability, after a softmax, of at least `threshold`. Or (M,), the probabilities themselves.
      count: G, the number of grids.
      cells: n, the number of cells along each side, at least 2.
      threshold: the least probability, in [0, 1]; the paper takes 0.99 on ImageNet.
      corners: whether another image of the target's class is in the opposite corner, and the target's cell one of these
        two corners. This is the grid of `DiFull` and `DiPart`, which only the connection can tell apart.
      seed: any non-negative integer.
      first: the index of the first grid: nine grids are five, and four with first=5.

    Returns:
      `Grids`. The target's cell takes turns, in reading order. The images of a class are drawn with equal
      probability, and an image may be in several grids.

    Raises:
      TypeError, ValueError: if an argument is of another form, or if too few classes have recognised images.

    Example:
      >>> images = np.arange(4.0).reshape(4, 1, 1, 1)
      >>> grids = make_grids(images, [5, 6, 7, 8], [0.9, 0.9, 0.9, 0.8], count=2)
      >>> grids.images.shape, grids.cells.tolist(), sorted(grids.members[0].ravel().tolist())
      ((2, 2, 2, 1), [[0, 0], [0, 1]], [0, 1, 2, 3])

    Differences from Rao et al.'s code: images are drawn with replacement, since small folders would soon be used up.
    """
    images = np.asarray(as_array("images", images))
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (M, h, w, C), got {images.shape}")
    classes = np.asarray(as_array("classes", classes))
    if classes.shape != images.shape[:1]:
        raise ValueError(f"classes must be one for each of the {len(images)} images, got the shape {classes.shape}")
    members, turns = arrange(classes, scores, count=count, cells=cells, threshold=threshold, corners=corners, seed=seed, first=first)
    where = np.stack(np.divmod(turns, cells), axis=1).astype(np.int32)
    targets = classes[members.reshape(count, -1)[np.arange(count), turns]].astype(np.int32)
    return Grids(np.asarray(tiled(images[members])), targets, where, members)


def arrange(
    classes: Any, scores: Any, *, count: int, cells: int, threshold: float, corners: bool, seed: int, first: int
) -> tuple[Int[np.ndarray, "G n n"], Int[np.ndarray, " G"]]:
    """Choose the images of grids: the work of `make_grids` that needs no pixels.

    Returns:
      (G, n, n), the index of the image in each cell, and (G,), the target's cell in reading order.
    """
    for name, value, least in (("count", count, 1), ("cells", cells, 2), ("seed", seed, 0), ("first", first, 0)):
        check_count(name, value, least)
    check_share("threshold", threshold, "one")
    check_flag("corners", corners)
    classes = np.asarray(as_array("classes", classes))
    known = np.flatnonzero(_recognised(classes, np.asarray(as_array("scores", scores)), threshold))
    groups = {int(label): known[classes[known] == label] for label in np.unique(classes[known])}
    twins = [label for label, group in groups.items() if len(group) > 1]
    different = cells**2 - corners
    if len(groups) < different or (corners and not twins):
        needed = f"{different} classes" + (", one of them with two such images" if corners else "")
        raise ValueError(
            f"grids of {cells}x{cells} cells need {needed}, recognised with a probability of at least {threshold:g}; of {len(classes)}"
            f" images, {len(known)} are, of {len(groups)} classes; lower threshold, or take fewer cells or more images"
        )
    last = cells**2 - 1
    members = np.empty((count, cells**2), np.int32)
    turns = np.empty(count, np.int32)
    for index in range(count):
        rng = np.random.default_rng((seed, first + index))
        turns[index] = (first + index) % 2 * last if corners else (first + index) % cells**2
        chosen = rng.permutation(list(groups))[:different]
        if corners:
            twin = rng.choice(twins)
            others = [label for label in rng.permutation(list(groups)) if label != twin][: different - 1]
            chosen = np.array([twin, *others])
        members[index, :different] = [rng.choice(groups[label]) for label in chosen]
        if corners:
            group = groups[chosen[0]]
            members[index, last] = rng.choice(group[group != members[index, 0]])
    return members.reshape(count, cells, cells), turns


def _recognised(classes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """(M,): whether each image is recognised."""
    if not np.issubdtype(classes.dtype, np.integer) or classes.ndim != 1:
        raise TypeError(f"classes must be whole numbers, (M,), got {classes.dtype}{list(classes.shape)}")
    if scores.ndim not in (1, 2) or len(scores) != len(classes):
        raise ValueError(f"scores must have the shape (M, classes) or (M,), for {len(classes)} images, got {scores.shape}")
    if scores.ndim == 1:
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("scores of the shape (M,) are probabilities, from 0 to 1; pass the scores of all classes, (M, classes)")
        return scores >= threshold
    if len(classes) and not 0 <= classes.min() <= classes.max() < scores.shape[1]:
        raise ValueError(f"classes must be from 0 to {scores.shape[1] - 1}, as scores has them, got up to {classes.max()}")
    exponentials = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    own = exponentials[np.arange(len(classes)), classes] / exponentials.sum(axis=1)
    return (scores.argmax(axis=1) == classes) & (own >= threshold)


def tiled(images: Num[AnyArray, "*G n n h w C"]) -> Num[AnyArray, "*G H W C"]:
    """Images side by side: (..., n, n, h, w, C) to (..., n h, n w, C)."""
    *batch, rows, columns, height, width, channels = images.shape
    return images.swapaxes(-4, -3).reshape(*batch, rows * height, columns * width, channels)


def cell_regions(cells: Any, n: int, size: tuple[int, int]) -> Bool[Array, "*G H W"]:
    """The pixels of cells, (G, H, W), of grids of n x n cells and (H, W) pixels.

    Args:
      cells: (G, 2), or (2,) for one grid: row and column, from 0.
      n: the number of cells along each side.
      size: (H, W), multiples of n.

    Example:
      >>> cell_regions((0, 1), 2, (2, 4)).astype(int).tolist()
      [[0, 0, 1, 1], [0, 0, 0, 0]]
    """
    check_count("n", n, 2)
    cells = as_array("cells", cells)
    if cells.ndim not in (1, 2) or cells.shape[-1] != 2 or not jnp.issubdtype(cells.dtype, jnp.integer):
        raise ValueError(f"cells must be rows and columns, (G, 2) or (2,), whole numbers, got {cells.dtype}{list(cells.shape)}")
    values = values_of(cells)
    if values is not None and not ((values >= 0) & (values < n)).all():
        raise ValueError(f"cells must be rows and columns from 0 to {n - 1}, got values from {values.min()} to {values.max()}")
    if size[0] % n or size[1] % n:
        raise ValueError(
            f"a grid of {n}x{n} cells has sides that are multiples of {n}, got {tuple(size)}; pass size, the grid's, in pixels"
        )
    return _cell_regions(jnp.asarray(cells, jnp.int32), n, (int(size[0]), int(size[1])))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _cell_regions(cells: Int[Array, "*G 2"], n: int, size: tuple[int, int]) -> Bool[Array, "*G H W"]:
    rows, columns = (jnp.asarray(np.arange(side) // (side // n), jnp.int32) for side in size)
    row, column = (cells[..., axis, None] for axis in (0, 1))
    down, across = (
        jnp.broadcast_to(places, (*cells.shape[:-1], len(places))) == place for places, place in ((rows, row), (columns, column))
    )
    return down[..., :, None] & across[..., None, :]


def grid_share(maps: Any, cells: Any, n: int = 2, *, size: tuple[int, int] | None = None) -> Float[Array, "*G"]:
    """The score of the grid pointing game: the share of the positive attribution that lies in the target's cell.

    Args:
      maps: (G, h, w), or (h, w) for one grid; coarser than the grids or of their size.
      cells: (G, 2), or (2,): the target's row and column, from 0.
      n: the number of cells along each side.
      size: (H, W), the size of the grids, to which coarse maps are enlarged by bilinear interpolation; None: maps have
        it.

    Returns:
      (G,), or () for one grid, in [0, 1]. An attribution without knowledge scores 1 / n², as a constant positive map
      does. A map whose positive part sums to at most 1e-7 scores 0, and one with NaN or infinity NaN.

    Raises:
      TypeError, ValueError: if an argument is of another form, or the size of the grids is no multiple of n.

    Example:
      >>> float(grid_share([[3.0, -2.0], [1.0, 0.0]], (0, 0), 2))
      0.75
    """
    maps = _sized(maps, size)
    return energy(maps, cell_regions(cells, n, maps.shape[-2:]))


def grid_hit(maps: Any, cells: Any, n: int = 2, *, size: tuple[int, int] | None = None) -> Bool[Array, "*G"]:
    """Whether the highest point of each map lies in the target's cell.

    Args:
      maps, cells, n, size: as in `grid_share`.

    Returns:
      (G,), or () for one grid. A constant map points at the first pixel, so it hits where the target's cell is the
      first: once in n² turns. A map with NaN is a miss.

    Raises:
      TypeError, ValueError: as `grid_share` does.

    Example:
      >>> bool(grid_hit([[3.0, -2.0], [1.0, 0.0]], (0, 0), 2))
      True
    """
    maps = _sized(maps, size)
    return is_hit(highest_point(maps), cell_regions(cells, n, maps.shape[-2:]), tolerance=1)


def _sized(maps: Any, size: tuple[int, int] | None) -> Float[Array, "*G H W"]:
    shape = np.shape(maps)
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise ValueError(f"maps must have the shape (G, h, w) or (h, w), got {shape}")
    maps = jnp.asarray(check_maps("maps", maps, shape))
    return maps if size is None or tuple(size) == shape[-2:] else resize(maps[..., None], (int(size[0]), int(size[1])))[..., 0]
