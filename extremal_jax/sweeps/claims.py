"""The claim of a shard: no two processes of a machine write the same pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from extremal_jax.ground.files import address
from extremal_jax.ground.locks import locked

_FOLDER = ".shards"  # in the store, beside its arrays
_TRIES, _PAUSE = 5, 0.05  # a process that only asks holds a file for a moment; pauses in seconds


@contextlib.contextmanager
def claimed(location: str, shard: tuple[int, int]) -> Iterator[None]:
    """Hold a shard of a local store while the block runs; stores at addresses have no locks.

    Two files are held: one by all processes with the same number of shards, and one by the process of this shard alone.

    Raises:
      BlockingIOError: if another process runs the same shard, or any of another number of shards, whose pictures overlap.
    """
    if address(location):
        yield
        return
    folder = Path(location) / _FOLDER
    folder.mkdir(exist_ok=True)
    index, count = shard
    with contextlib.ExitStack() as stack:
        own = folder / f"of-{count}"
        if not locked(stack.enter_context(own.open("ab")), shared=True) or any(
            _is_held(path) for path in folder.glob("of-*") if path != own
        ):
            raise BlockingIOError(f"another process runs a sweep in {location} with another number of shards than {count}; wait for it")
        if not locked(stack.enter_context((folder / f"{index}-of-{count}").open("ab"))):
            raise BlockingIOError(f"another process runs the shard {index} of {count} in {location}; wait for it, or take another shard")
        yield


def _is_held(path: Path) -> bool:
    """Whether any process holds a file, and does not only ask."""
    for _ in range(_TRIES):
        with path.open("ab") as file:
            if locked(file):
                return False
        time.sleep(_PAUSE)
    return True
