"""Checks of values, and records that callers name."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.ground.checks import Forgotten, as_array, check_key, find, is_positive, nearest, values_of
from extremal_jax.operators.games import GAMES, PRESERVE, Game


def test_suggestions() -> None:
    assert nearest("wolff", ["dog", "wolf"]) == "did you mean 'wolf'?"
    many = [f"class {i:02}" for i in range(40)]
    assert nearest("x", many).startswith("choose from 'class 00', ")
    assert nearest("x", many).endswith(", 'class 29', ...")


def test_records_by_name_and_by_value() -> None:
    own = Game("own", "a game", ((False, 1),))
    assert find("game", "preserve", GAMES, Game) is PRESERVE
    assert find("game", own, GAMES, Game) is own
    for other in ("preserv", 3, None):
        with pytest.raises(ValueError, match=rf"game must be one of 'preserve', 'delete', 'dual', got {other!r}"):
            find("game", other, GAMES, Game)


def test_a_stand_in_says_what_is_missing() -> None:
    lost = Forgotten("reward", "brightness")
    for use in (lambda: lost(1, 2), lambda: lost.arity):
        with pytest.raises(ValueError, match=r"the reward of the saved run \(brightness\) is not in its file"):
            use()  # type: ignore[no-untyped-call]
    assert lost.__name__ == "brightness"
    assert copy.deepcopy(pickle.loads(pickle.dumps(lost))).__name__ == "brightness"


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.array(3), jnp.array(0.1)])
def test_positive_numbers(value: Any) -> None:
    assert is_positive(value)


@pytest.mark.parametrize("value", [0, -1, np.inf, np.nan, "1", None, True, np.ones(1)])
def test_no_positive_numbers(value: Any) -> None:
    assert not is_positive(value)


def test_keys() -> None:
    for key in (jax.random.key(3), jax.random.PRNGKey(3)):
        assert check_key(key) is key
    assert check_key(None) == jax.random.key(0)
    for bad in (0, np.zeros(2), jax.random.split(jax.random.key(0)), jax.random.split(jax.random.PRNGKey(0))):
        with pytest.raises(TypeError, match="key must be one of JAX's keys"):
            check_key(bad)


def test_arrays_stay_as_they_are() -> None:
    for array in (np.ones(3), jnp.ones(3)):
        assert as_array("x", array) is array
    jax.eval_shape(lambda x: as_array("x", x), np.ones(3))


class Capsule:
    """An array that is exported through DLPack alone."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("not on this device")

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_arrays_through_dlpack() -> None:
    np.testing.assert_array_equal(as_array("x", Capsule(np.arange(3.0, dtype=np.float32))), [0, 1, 2])


def test_values_are_unknown_under_a_trace() -> None:
    values = values_of(np.ones(2), np.float64)
    assert values is not None
    assert values.dtype == np.float64
    jax.eval_shape(lambda x: x if values_of(x) is None else pytest.fail("known"), jnp.ones(2))
