"""Results in files: everything comes back, what is no result is refused, and nothing is executed."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import small
from extremal_jax import Config, ExtremalResult

IMAGES = small.images()
CONFIG = Config(num_steps=2, pitch=4, sigma=4.0, num_levels=2, max_blur=4.0)
SEEN = IMAGES[:, ::4, ::4]


def named(images):
    """The small model, behind a layer of the images' own pixels."""
    return small.model()(checkpoint_name(images, "pixels"))


def coarse(images):
    return checkpoint_name(images[:, ::4, ::4], "coarse")


RESULTS = {
    "extremal": lambda: ej.extremal_perturbation(small.model(), IMAGES, (1, 3), (0.1, 0.3), config=CONFIG),
    "extremal, one image": lambda: ej.extremal_perturbation(small.model(), IMAGES[0], 1, (0.1, 0.3), config=CONFIG),
    "extremal, at a layer": lambda: ej.extremal_perturbation(named, IMAGES, (1, 3), (0.3,), at="pixels", config=CONFIG),
    "channels": lambda: ej.channel_perturbation(named, IMAGES, (1, 3), "pixels", (1, 2), config=ej.ChannelConfig(num_steps=2)),
    "class channels": lambda: ej.class_channels(named, IMAGES, (1, 3), "pixels", config=ej.ChannelConfig(num_steps=2)),
    "smallest area": lambda: ej.smallest_area(small.model(), IMAGES, (1, 3), response=0.0, areas=(0.1, 0.4), config=CONFIG),
    "inversion": lambda: ej.invert_features(coarse, SEEN, "coarse", key=jax.random.key(0), shape=IMAGES.shape[1:3], steps=2),
}


@functools.cache
def result(name="extremal"):
    return RESULTS[name]()


@pytest.mark.parametrize("name", RESULTS)
def test_files_hold_everything(name, tmp_path):
    saved = result(name)
    saved.save(tmp_path / "deep" / "result.npz")
    loaded = type(saved).load(tmp_path / "deep" / "result.npz")
    assert type(loaded) is type(saved)
    assert jax.tree.structure(loaded) == jax.tree.structure(saved)
    jax.tree.map(np.testing.assert_array_equal, loaded, saved)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["result.npz"]


def test_what_is_derived_from_a_file_is_the_same(tmp_path):
    result().save(tmp_path / "result.npz")
    loaded = ExtremalResult.load(tmp_path / "result.npz")
    np.testing.assert_array_equal(loaded.binary_masks(), result().binary_masks())
    assert loaded.status.message == "finished"


def test_a_result_can_be_continued_from_a_file(tmp_path):
    result().save(tmp_path / "result.npz")
    loaded = ExtremalResult.load(tmp_path / "result.npz")
    continued = ej.extremal_perturbation(small.model(), IMAGES, (1, 3), (0.1, 0.3), config=loaded.config, initial_params=loaded.params)
    assert continued.status.ok


def test_files_that_are_no_results(tmp_path):
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
    with pytest.raises(ValueError, match=r"it lacks masks_with_margin, params.*history\.rewards.*config"):
        ExtremalResult.load(path)
    result("channels").save(path)
    with pytest.raises(ValueError, match="expected the mark 'extremal_jax result 1', got 'extremal_jax channels 1'"):
        ExtremalResult.load(path)


def test_nothing_in_a_file_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.savez(tmp_path / "trap.npz", masks=np.array([Trap()], object))
    with pytest.raises(ValueError, match="is not a whole result file"):
        ExtremalResult.load(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()
