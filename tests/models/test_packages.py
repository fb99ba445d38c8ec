"""Weights that other packages carry, from a package that is made for the tests: where they lie, and what can be wrong with them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
import zoo_weights
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.packages import PackageFile

NAME = "efficientnet_lite0"


@pytest.fixture
def carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFile:
    """A package `carrier-of-weights` on the path, whose import fails; `load` expects the weights of efficientnet_lite0 there."""
    folder, metadata = tmp_path / "carrier", tmp_path / "carrier_of_weights-1.2.dist-info"
    folder.mkdir()
    metadata.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier-of-weights\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = ENTRIES[NAME]
    path = zoo_weights.write(folder / "weights.pth", zoo_weights.wanted(entry.architecture, entry.architecture.layouts[0]))
    file = PackageFile("carrier-of-weights", "carrier/weights.pth", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(ENTRIES, NAME, dataclasses.replace(entry, package=file))
    return file


def test_the_weights_are_found_without_an_import(carrier: PackageFile) -> None:
    network: Any = ej.models.load(NAME).network
    np.testing.assert_array_equal(network.fc.bias[...], zoo_weights.draw("_fc.bias", (1000,)))
    assert "carrier" not in sys.modules


def test_another_file(carrier: PackageFile) -> None:
    path = carrier.find()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(
        ValueError, match=rf"weights\.pth has the SHA-256 \w+, and {carrier.sha256} was expected; it is not used; install it"
    ):
        ej.models.load(NAME)


def test_a_package_without_the_file(carrier: PackageFile) -> None:
    carrier.find().unlink()
    with pytest.raises(
        FileNotFoundError, match=r"the package carrier-of-weights 1\.2 is installed, but has no file .*weights\.pth; install"
    ):
        ej.models.load(NAME)


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTRIES, NAME, dataclasses.replace(ENTRIES[NAME], package=PackageFile("no-such-package", "a.pth", "0" * 64)))
    with pytest.raises(
        ImportError, match=re.escape("no-such-package, which is not installed; install it by `pip install 'extremal-jax[imagenet]'`")
    ):
        ej.models.load(NAME)


def test_the_extra_installs_all_of_them() -> None:
    declared = tomllib.loads((Path(ej.__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = [entry.package.package for entry in ENTRIES.values() if entry.package]
    assert [requirement.partition(">=")[0] for requirement in declared["imagenet"]] == packages
