"""Packages that only some files need."""

from __future__ import annotations

import importlib
from typing import Any


def imported(package: str, extra: str, path: object) -> Any:
    """The module of a package that reading a file needs.

    Raises:
      ImportError: if it is not installed; the message names the extra that has it.

    Example:
      >>> imported("no_such_package", "medical", "brain.nii")
      Traceback (most recent call last):
      ImportError: brain.nii is read by the package no_such_package; install it by `pip install 'extremal-jax[medical]'`
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{path} is read by the package {package}; install it by `pip install 'extremal-jax[{extra}]'`") from error
