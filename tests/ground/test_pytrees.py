"""Frozen dataclasses as pytrees."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from extremal_jax.ground.pytrees import pytree


@pytree(static=("name",))
class Checked:
    """A pytree that checks its argument when it is built."""

    x: jax.Array
    name: str

    def __post_init__(self) -> None:
        if not hasattr(self.x, "shape"):
            raise TypeError("x must be an array")


def test_transformations_pass_the_checks_by() -> None:
    tree = Checked(jnp.ones(2), "a")
    assert jax.tree.map(lambda x: None, tree) == jax.tree.map(lambda x: None, tree)
    assert jax.jit(lambda t: jax.tree.map(lambda x: 2 * x, t))(tree).x.tolist() == [2, 2]
    assert jax.vmap(lambda t: t.x.sum())(tree).tolist() == [1, 1]
    number: Any = 1.0
    with pytest.raises(TypeError, match="x must be an array"):
        Checked(number, "a")


def test_static_fields_are_part_of_the_structure() -> None:
    trees = [Checked(jnp.ones(2), name) for name in "aab"]
    structures: list[Any] = [jax.tree.structure(tree) for tree in trees]
    first, second, third = structures
    assert first == second != third
    [(path, _)] = jax.tree_util.tree_leaves_with_path(trees[0])
    assert jax.tree_util.keystr(path) == ".x"


def test_fields_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Checked(jnp.ones(2), "a").x = jnp.zeros(2)  # type: ignore[misc]
