"""The run-time type checker of the tests: an int is a float where a float is asked for, as in PEP 484."""

from typing import Any

from beartype import BeartypeConf, beartype

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))
OWN_CHECKS = {
    *("Config.__init__", "NaturalImages.__init__"),
    *("gradient", "integrated_gradients", "smooth_grad", "load_image", "whole_file", "check_writable", "Saved.save"),
}

WALKS = {"extremal_jax.graph.contents"}  # of many small calls, on values of any type


def check(function: Any) -> Any:
    """All functions but walks, and those that check their arguments themselves, with errors of their own to be tested."""
    return function if function.__qualname__ in OWN_CHECKS or function.__module__ in WALKS else _beartype(function)
