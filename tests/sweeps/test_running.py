"""Sweeps: what they keep, what each argument does, and that nothing is lost."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

import extremal_jax as ej
import small
from extremal_jax.models.preprocessing import Preprocessing
from sweep_pictures import COUNT, PICTURES, SOURCE, files, named, prepare, run

INPUTS = np.stack([prepare(picture) for picture in PICTURES])
LABELS = [label for _, label in SOURCE]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "store"
    run(folder)
    return folder


def explained(targets: Any = LABELS, areas: Any = small.AREAS, config: Any = small.CONFIG, seed: int = 0) -> Any:
    return ej.extremal_perturbation(named(), INPUTS[:4], targets[:4], areas, config=config, key=jax.random.key(seed))


def close(found: ej.sweeps.Sweep, expected: Any, tolerance: float = 1e-4) -> None:
    for index in range(4):
        one, other = found[index], expected[index]
        np.testing.assert_allclose(one.masks, other.masks, atol=tolerance)
        np.testing.assert_allclose(one.rewards, other.rewards, rtol=1e-4, atol=1e-4)


def test_results_are_those_of_single_calls(finished: Path) -> None:
    found = ej.open_sweep(finished)
    assert len(found) == COUNT
    assert found.counts() == (COUNT, 0, 0, 0)
    close(found, explained(), 0.51 / 255)
    one, other = found[2], explained()[2]
    np.testing.assert_allclose(one.params, other.params, atol=1e-4)
    np.testing.assert_allclose(one.history.rewards, other.history.rewards, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one.areas, other.areas, atol=1e-5)
    np.testing.assert_allclose(one.image_rewards, other.image_rewards, rtol=1e-4)
    assert (one.targets, one.config, one.status.message) == (other.targets, other.config, "finished")
    assert one.requested_areas.tolist() == np.asarray(other.requested_areas).tolist()
    assert found.size(2) == PICTURES.shape[1:3]


def test_masks_are_quantised_as_asked(finished: Path, tmp_path: Path) -> None:
    exact = run(tmp_path / "float", masks="float32", limit=4)
    close(exact, explained())
    sixteen = run(tmp_path / "16", masks="uint16", limit=4)
    assert 0 < np.abs(sixteen[0].masks - exact[0].masks).max() < 1 / 65535
    assert 1 / 65535 < np.abs(ej.open_sweep(finished)[0].masks - exact[0].masks).max() < 1 / 255


def test_targets(tmp_path: Path) -> None:
    scores = np.asarray(named()(INPUTS)).argmax(axis=-1)
    top = run(tmp_path / "top", targets="top", limit=4)
    assert [int(top[index].targets) for index in range(4)] == scores[:4].tolist()
    assert [int(run(tmp_path / "one", targets=2, limit=4)[index].targets) for index in range(4)] == [2] * 4
    assert int(run(tmp_path / "name", targets="class 3", limit=4)[0].targets) == 3
    each = run(tmp_path / "each", targets=[3, 1, 2, 0], limit=4)
    assert [int(each[index].targets) for index in range(4)] == [3, 1, 2, 0]


def test_a_picture_of_several_classes_is_explained_for_each(tmp_path: Path) -> None:
    found = run(tmp_path / "store", [(PICTURES[0], [1, 4]), (PICTURES[1], "class 2"), PICTURES[2]])
    assert [int(found[index].targets) for index in range(len(found))] == [1, 4, 2]
    assert found.names == ("000000", "000000", "000001")


def test_areas_config_and_seed(tmp_path: Path) -> None:
    found = run(tmp_path / "areas", areas=[0.5], limit=4)
    assert found.areas.tolist() == [0.5]
    assert found[0].masks.mean() == pytest.approx(0.5, abs=2e-3)
    jitter = ej.Config(num_steps=2, pitch=4, sigma=4.0, num_levels=2, shift=2, exchange=False)
    seeds = [run(tmp_path / f"seed {seed}", config=jitter, key=jax.random.key(seed), limit=4) for seed in (0, 1)]
    assert seeds[0].config == jitter
    assert np.abs(seeds[0][0].params - seeds[1][0].params).max() > 1e-3


def test_batches_shards_chunks_and_layouts_change_nothing(finished: Path, tmp_path: Path) -> None:
    whole = ej.open_sweep(finished)
    one_device = jax.sharding.SingleDeviceSharding(jax.devices()[1])
    choices: dict[str, dict[str, Any]] = dict(batch=dict(batch_size=6), chunk=dict(chunk_size=3), layout=dict(sharding=one_device))
    for name, options in choices.items():
        found = run(tmp_path / name, **options)
        for index in range(COUNT):
            np.testing.assert_allclose(found[index].masks, whole[index].masks, atol=2.1 / 255, err_msg=name)
    first = run(tmp_path / "shards", shard=(1, 2))
    assert first.states().tolist() == [1, 0] * (COUNT // 2)
    second = run(tmp_path / "shards", shard=(2, 2))
    assert second.counts().explained == COUNT
    np.testing.assert_allclose(second[5].masks, whole[5].masks, atol=2.1 / 255)


def test_the_batch_lies_on_all_devices(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 2 devices that share a batch, got 3"):
        run(tmp_path / "odd", batch_size=3)
    assert ej.open_sweep(finished).manifest["batch_size"] == 4
    assert run(tmp_path / "default", batch_size=None, limit=1).manifest["batch_size"] == 8
    assert not (tmp_path / "odd").exists()


def test_a_second_call_computes_nothing(finished: Path) -> None:
    before = files(finished)
    watched: list[tuple[int, int]] = []
    run(finished, model=named(), progress=lambda done, total: watched.append((done, total)))
    assert watched == [(COUNT, COUNT)]
    assert files(finished) == before


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_sweep_goes_on_to_the_same_bits(after: int, finished: Path, tmp_path: Path) -> None:
    """Also a batch of which some pictures are there is done as it was."""

    def interrupt(done: int, total: int) -> None:
        if done >= 4 * after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "store", progress=interrupt)
    assert ej.open_sweep(tmp_path / "store").counts().explained == 4 * after
    kept = tmp_path / "store" / "masks" / "c.6.0.0.0"
    written = kept.stat().st_mtime_ns if after == 2 else None
    if after == 2:
        (tmp_path / "store" / "status" / "c.5").unlink()
    watched: list[int] = []
    run(tmp_path / "store", progress=lambda done, total: watched.append(done))
    assert written in (None, kept.stat().st_mtime_ns), "its neighbour is not written again"
    assert watched[0] == (4 if after == 2 else 4 * after)
    assert files(tmp_path / "store") == files(finished)


def test_pictures_that_cannot_be_read_are_recorded_and_passed_by(tmp_path: Path, finished: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(6):
        Image.fromarray(PICTURES[index]).save(folder / f"{index}.png")
    (folder / "1.png").write_bytes(b"no image")
    found = run(tmp_path / "store", folder, targets=2)
    assert found.counts() == (5, 0, 1, 0)
    assert found.states()[1] == 3
    assert found.reason(1).endswith("1.png is not an image of a known format")
    assert found.reason(0) == ""
    assert list(found.done()) == [0, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"picture 1, 1\.png, was skipped: .*is not an image"):
        found[1]
    for store in ("strict", "store"):  # also if it was skipped before
        with pytest.raises(ValueError, match="without strict it is skipped"):
            run(tmp_path / store, folder, targets=2, strict=True)
    Image.fromarray(PICTURES[1]).save(folder / "1.png")
    mended = run(tmp_path / "store", folder, targets=2)
    assert mended.counts() == (6, 0, 0, 0)
    assert mended.reason(1) == ""
    np.testing.assert_allclose(mended[1].rewards, run(tmp_path / "whole", folder, targets=2)[1].rewards, rtol=1e-4)


def test_inputs_that_are_not_finite_are_skipped(tmp_path: Path) -> None:
    def torn(pixels: np.ndarray) -> np.ndarray:
        return np.where(np.array_equal(pixels, PICTURES[2]), np.nan, prepare(pixels)).astype(np.float32)

    found = run(tmp_path / "store", preprocess=torn, targets=2, limit=4)
    assert found.counts() == (3, 0, 1, 0)
    assert found.reason(2) == "the input of 000002 is not finite"


def test_labels_that_could_not_be_read_are_no_class(tmp_path: Path) -> None:
    class Flaky(ej.data.Dataset):
        """Pictures of class 1, of which the annotation of one is there at the second reading only."""

        name, classes, names = "flaky", named().classes, tuple("0123")
        left = 1

        def example(self, index: int) -> Any:
            if index == 2 and self.left:
                self.left -= 1
                raise OSError("no disk")
            return ej.data.Example(self.names[index], PICTURES[index], None, (ej.data.Object(1),))

    found = run(tmp_path / "store", Flaky(), targets="labels")
    assert found.states().tolist() == [1, 1, 3, 1]
    assert found.reason(2) == "the labels of 2 could not be read"


def test_pictures_of_several_sizes(tmp_path: Path, compilations: list[str]) -> None:
    """A network that takes whole pictures gets batches of one shape each, and each shape compiles once."""
    whole = Preprocessing((16, 16), mean=(0.5,) * 3, std=(0.25,) * 3, crop=None)
    network = small.model()
    model = Whole()
    pictures = [PICTURES[0], PICTURES[1][:, :20], PICTURES[2], PICTURES[3][:, :20]]
    found = ej.sweep(model, pictures, tmp_path / "store", areas=small.AREAS, config=small.CONFIG, targets=1, batch_size=2)
    assert found.counts().explained == 4
    shapes = [found[index].masks.shape[1:] for index in range(4)]
    assert shapes == [(16, 19), (16, 16), (16, 19), (16, 16)]
    alone = ej.extremal_perturbation(network, whole(pictures[2]), 1, small.AREAS, config=small.CONFIG)
    np.testing.assert_allclose(found[2].masks, alone.masks, atol=2.1 / 255)
    assert found[2].params.shape == alone.params.shape

    def programs(name: str, pictures: Any) -> int:
        before = len(compilations)
        targets = [1] * len(pictures)
        ej.sweep(model, pictures, tmp_path / name, areas=small.AREAS, config=small.CONFIG, targets=targets, batch_size=2)
        return len(compilations) - before

    assert programs("three batches of each", pictures * 3) == 0
    third = [PICTURES[0][:, :22]] * 2
    assert programs("another size", pictures + third) > 0
    assert programs("more of it", pictures + third * 3) == 0


class Whole:
    """A network that takes whole pictures."""

    preprocessing = Preprocessing((16, 16), mean=(0.5,) * 3, std=(0.25,) * 3, crop=None)
    preprocess = preprocessing

    def __call__(self, images: Any) -> Any:
        return small.model()(images)


def test_runs_that_mean_nothing_are_marked(tmp_path: Path) -> None:
    """One picture has a response that is not finite."""

    def broken(images: Any) -> Any:
        scores = small.model()(images)
        return jax.numpy.where(images.max(axis=(1, 2, 3))[:, None] > 50, jax.numpy.nan, scores)

    def bright(pixels: np.ndarray) -> np.ndarray:
        return prepare(pixels) + 100 * np.float32(np.array_equal(pixels, PICTURES[1]))

    found = run(tmp_path / "store", model=broken, preprocess=bright, targets=1, limit=4)
    assert found.counts() == (3, 1, 0, 0)
    assert found.states().tolist() == [1, 2, 1, 1]
    assert "not finite" in found[1].status.message
    assert found[0].status.ok


REFUSED = dict(
    preprocess=(dict(preprocess=lambda pixels: -prepare(pixels)), "inputs was .* and is"),
    picture=(dict(source=[(255 - picture, label) for picture, label in SOURCE]), "inputs was .* and is"),
    key=(
        dict(key=jax.random.key(1)),
        r"holds another sweep: key was \[0, 0\] and is \[0, 1\]\. Choose another folder, or the same settings",
    ),
    areas=(dict(areas=[0.1, 0.2]), r"areas was \[0\.1\d*, 0\.3\d*\] and is \[0\.1\d*, 0\.2\d*\]"),
    config=(dict(config=ej.Config(num_steps=4, pitch=4, sigma=4.0, num_levels=2, max_blur=4.0)), "config, exchange was False and is True"),
    targets=(dict(targets="top"), "names was .* and is .*; targets was 'labels' and is 'top'"),
    pictures=(dict(limit=4), "pictures was 10 and is 4"),
    masks=(dict(masks="uint16"), "masks was 'uint8' and is 'uint16'"),
)


@pytest.mark.parametrize(("options", "match"), REFUSED.values(), ids=REFUSED)
def test_another_sweep_is_refused_with_the_difference(options: Any, match: str, finished: Path) -> None:
    before = files(finished)
    with pytest.raises(ValueError, match=match):
        run(finished, **options)
    assert files(finished) == before


def test_another_model_is_refused(finished: Path) -> None:
    network = small.model(seed=1)

    class Other:
        classes = named().classes

        def __call__(self, images: Any) -> Any:
            return network(images)

    with pytest.raises(ValueError, match=r"model, digest was '[0-9a-f]{16}' and is '[0-9a-f]{16}'"):
        run(finished, model=Other())


BAD: dict[str, tuple[Any, dict[str, Any], str]] = dict(
    masks=(SOURCE, dict(masks="int8"), "masks must be one of 'uint8', 'uint16', 'float32', got 'int8'"),
    areas=(SOURCE, dict(areas=[0.0]), "areas must"),
    pixel=(SOURCE, dict(areas=[1e-4]), "areas"),
    batch=(SOURCE, dict(batch_size=0), "batch_size must be a whole number, at least 1, got 0"),
    limit=(SOURCE, dict(limit=0), "limit must be a whole number, at least 1, got 0"),
    chunk=(SOURCE, dict(chunk_size=0), "chunk_size must be a whole number, at least 1, got 0"),
    shard=(SOURCE, dict(shard=(0, 2)), r"shard must be \(index, count\) with the index from 1 to the count, got \(0, 2\)"),
    target=(SOURCE, dict(targets="class 9"), "unknown class 'class 9'; did you mean"),
    index=(SOURCE, dict(targets=9), "targets must be class indices from 0 to 4, got 9"),
    number=(SOURCE, dict(targets=[1, 2]), "targets must be one class index for each of the 10 images"),
    unlabelled=(list(PICTURES), {}, "no picture of items has a label; targets='top' explains the class of the highest score"),
    empty=([], dict(targets=1), "items has no pictures"),
    unreadable=([b"x"], dict(targets=1), "no picture of items can be read"),
    label=([(PICTURES[0], 5)], dict(model=small.model()), "targets must be class indices from 0 to 4, got 5"),
    scenes=(
        "scenes",
        dict(model=small.model()),
        "targets='labels' needs the names of the model's classes for the labels of scenes, and the model has no `classes`",
    ),
    smoothing=(SOURCE, dict(config=dataclasses.replace(small.CONFIG, smoothing=100.0)), "smoothing"),
    layout=(
        SOURCE,
        dict(batch_size=3, sharding=NamedSharding(jax.make_mesh((2,), ("images",)), PartitionSpec("images"))),
        r"sharding must divide a batch of inputs \(3, 20, 24, 3\)",
    ),
    reference=(SOURCE, dict(config=ej.Config(perturbation="reference")), "a sweep has no reference image"),
    reward=(
        SOURCE,
        dict(config=ej.Config(reward="margin")),
        "a sweep explains one class of a picture at a time, and the reward 'margin' takes several",
    ),
)


@pytest.mark.parametrize(("source", "options", "match"), BAD.values(), ids=BAD)
def test_bad_arguments_are_errors_before_any_work(source: Any, options: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=match):
        run(tmp_path / "store", source, **options)
    assert not (tmp_path / "store").exists()


def test_a_model_needs_a_preprocessing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"preprocess must be a function from a picture \(H, W, 3\) uint8 to the model's input"):
        run(tmp_path / "store", preprocess=None)


@pytest.fixture
def full_disk() -> Iterator[Any]:
    """A function after which no file can be longer than some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_sentence_and_loses_nothing(finished: Path, tmp_path: Path, full_disk: Any) -> None:
    def fill(done: int, total: int) -> None:
        if done == 4:
            full_disk(10)

    with pytest.raises(OSError, match=r"cannot write .*store: .*Nothing is lost: mend this and run again, and the sweep goes on"):
        run(tmp_path / "store", progress=fill)
    full_disk(resource.RLIM_INFINITY)
    assert ej.open_sweep(tmp_path / "store").counts().explained < COUNT
    run(tmp_path / "store")
    assert files(tmp_path / "store") == files(finished)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file"):
        run(tmp_path / "file")
