"""Results in files, pickles and copies: everything comes back, anything else is refused, and nothing is executed."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import small
from extremal_jax import ChannelResult, Config, ExtremalResult, SmallestArea
from extremal_jax.optimise.settings import from_json, to_json

RESULTS: dict[str, Any] = {
    **small.CALLS,
    "extremal, one image": lambda: small.explain(small.IMAGES[0], 1),
    "extremal, at a layer": lambda: small.explain(at="first"),
    "smallest area, nested": lambda: small.smallest(nested=True),
}


@functools.cache
def result(name: Any = "extremal") -> Any:
    return RESULTS[name]()


def assert_same(loaded: Any, saved: Any) -> None:
    assert type(loaded) is type(saved)
    structure: Any = jax.tree.structure(saved)
    assert jax.tree.structure(loaded) == structure
    jax.tree.map(np.testing.assert_array_equal, loaded, saved)


@pytest.mark.parametrize("name", RESULTS)
def test_results_survive_files_pickles_and_copies(name: Any, tmp_path: Path) -> None:
    saved = result(name)
    saved.save(tmp_path / "deep" / "result.npz")
    assert_same(type(saved).load(tmp_path / "deep" / "result.npz"), saved)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["result.npz"]
    assert_same(pickle.loads(pickle.dumps(saved)), saved)
    assert_same(copy.deepcopy(saved), saved)


def test_a_loaded_result_serves_like_the_run_itself(tmp_path: Path) -> None:
    result().save(tmp_path / "result.npz")
    loaded = ExtremalResult.load(tmp_path / "result.npz")
    np.testing.assert_array_equal(loaded.binary_masks(), result().binary_masks())
    assert loaded.status.message == "finished"
    assert small.explain(config=loaded.config, initial_params=loaded.params).status.ok


OLD: dict[str, Any] = {  # fields and settings that version 1 did not have, or had under another name
    "extremal": (ExtremalResult, {"pitch": "step"}, ("ties", "flips", "final_update", "final_evaluation"), {"parity": False}),
    "channels": (ChannelResult, {}, ("spread",), {"ramp": {"Geometric": {"start": 1.0, "end": 0.1}}}),
    "smallest area": (SmallestArea, {"pitch": "step"}, ("ties", "flips", "final_update", "final_evaluation"), {"parity": False}),
}


@pytest.mark.parametrize("name", OLD)
def test_files_of_version_1(name: Any, tmp_path: Path) -> None:
    kind, renamed, missing, changed = OLD[name]
    saved = result(name)
    config = {renamed.get(field, field): value for field, value in json.loads(to_json(saved.config)).items() if field not in missing}
    content = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(saved)}
    for new in ("no_gradient", "nonfinite_image", "depends_on_batch", "nonfinite_reward", "unchanged"):
        del content[f"status.{new}"]
    texts: dict[str, Any] = {} if saved.at is None else {"at": saved.at}
    np.savez(tmp_path / "old.npz", format=kind.MARK, config=json.dumps({**config, **changed}), **content, **texts)
    loaded = kind.load(tmp_path / "old.npz")
    np.testing.assert_array_equal(loaded.masks, saved.masks)
    assert loaded.config == saved.config
    assert loaded.at == saved.at
    assert loaded.status.message == "finished"


def test_settings_of_files_from_before_feathers() -> None:
    """The masks in them have none, and one candidate."""
    fields = json.loads(to_json(Config().resolve((32, 32))))
    for new in ("smoothing", "feather", "shift", "candidates", "spread"):
        del fields[new]
    loaded = from_json(Config, json.dumps(fields))
    assert (loaded.smoothing, loaded.feather, loaded.shift, loaded.candidates) == (0, 0, 0, 1)


def test_files_that_are_no_results(tmp_path: Path) -> None:
    path = tmp_path / "result.npz"
    with pytest.raises(FileNotFoundError, match=r"no result file .*result\.npz"):
        ExtremalResult.load(path)
    result().save(path)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"PK\x03\x04 and nothing more", b"text"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"result\.npz is not a whole result file"):
            ExtremalResult.load(path)
    np.savez(path, masks=np.zeros(3))
    with pytest.raises(ValueError, match="is not a result file of this version"):
        ExtremalResult.load(path)
    np.savez(path, format="extremal_jax result 1", masks=np.zeros(3))
    with pytest.raises(ValueError, match=r"it lacks params.*history\.rewards.*config"):
        ExtremalResult.load(path)
    result("channels").save(path)
    with pytest.raises(ValueError, match="expected the mark 'extremal_jax result 1', got 'extremal_jax channels 1'"):
        ExtremalResult.load(path)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(tmp_path / "trap.npz", masks=np.array([Trap()], object))
    with pytest.raises(ValueError, match="is not a whole result file"):
        ExtremalResult.load(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()


def test_bytes_that_changed_on_the_disk(tmp_path: Path) -> None:
    """Wherever they are, the file is damaged, or what is read does not depend on them, and nothing else is raised."""
    saved = result("extremal")
    saved.save(tmp_path / "whole.npz")
    content = (tmp_path / "whole.npz").read_bytes()
    for place in range(0, len(content), len(content) // 60):
        (tmp_path / "torn.npz").write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with contextlib.suppress(ValueError):
            jax.tree.map(np.testing.assert_array_equal, ExtremalResult.load(tmp_path / "torn.npz"), saved)
