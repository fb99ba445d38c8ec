"""Names that completion offers, remembered in the user's cache: to load the library for each press of a key takes seconds."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from extremal_jax.ground.files import whole_file

Names = Mapping[str, str]  # descriptions by name


def remembered(key: str, find: Callable[[], Names]) -> Names:
    """The names that `find` finds, from the cache where it is as new as the package.

    Args:
      key: of the names in the cache.
      find: loads the library and finds them.
    """
    stamp, kept = _stamp(), _read()
    if kept.get("stamp") != stamp:
        kept = {"stamp": stamp}
    if not isinstance(kept.get(key), dict):
        kept[key] = dict(find())
        with contextlib.suppress(OSError), whole_file(cache_file()) as temporary:  # a cache that cannot be written costs time only
            temporary.write_text(json.dumps(kept))
    return kept[key]


def cache_file() -> Path:
    """The file of the cache, which may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "extremal_jax" / "names.json"


def _read() -> dict[str, Any]:
    try:
        kept = json.loads(cache_file().read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _stamp() -> str:
    """The place and the newest change of the package."""
    package = Path(__file__).parents[2]
    return f"{package} {max(file.stat().st_mtime_ns for file in package.rglob('*.py'))}"
