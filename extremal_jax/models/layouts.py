"""The pieces of layouts that all PyTorch files share. Each family's own table of names stands beside its network."""

from __future__ import annotations

import re
from collections.abc import Callable

from extremal_jax.models.conversion import KERNEL, Form, Layout

_NAMES = ((r"\.kernel$", ".weight"), (r"\.scale$", ".weight"), (r"\.mean$", ".running_mean"), (r"\.var$", ".running_var"))


def pytorch(
    publisher: str,
    *names: tuple[str, str | Callable[[re.Match[str]], str]],
    forms: tuple[tuple[str, Form], ...] = (),
    ignored: tuple[str, ...] = (),
) -> Layout:
    """A layout of PyTorch files: the names and forms of a family, followed by those of PyTorch's layers.

    Example:
      >>> layout = pytorch("timm", (r"^fc", "head.fc"))
      >>> layout.name("fc.kernel"), layout.name("norm.mean"), layout.ignores("norm.num_batches_tracked")
      ('head.fc.weight', 'norm.running_mean', True)
    """
    return Layout(publisher, (*names, *_NAMES), (*forms, (r"kernel$", KERNEL)), (*ignored, r"(^|\.)num_batches_tracked$"))
