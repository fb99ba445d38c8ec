"""TensorFlow Datasets, without TensorFlow: our builders, the stock builder of VOC, and the same examples from all of them."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from annotated_files import VOC, fields, write_voc
from extremal_jax import data
from extremal_jax.data import PreparedDataset, SceneDataset, VOCDataset, builders
from extremal_jax.data.prepared import tensorflow_datasets

needs_tfds = pytest.mark.skipif(importlib.util.find_spec("tensorflow_datasets") is None, reason="tensorflow_datasets is not installed")


@pytest.fixture(scope="module")
def devkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def prepared(devkit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with VOC, prepared by our builder."""
    folder = tmp_path_factory.mktemp("prepared")
    builders.voc(devkit, data_dir=folder).download_and_prepare()
    return folder


def by_name(dataset: Any) -> list[Any]:
    return [fields(example) for example in sorted(dataset, key=lambda example: example.name)]


def edit(folder: Path, change: Any) -> None:
    """Change the description of prepared data."""
    (path,) = folder.rglob("dataset_info.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@needs_tfds
def test_our_builder_gives_the_examples_of_the_tree(devkit: Path, prepared: Path) -> None:
    dataset = PreparedDataset("extremal_voc/2007", data_dir=prepared)
    assert dataset.names == tuple(sorted(f"{stem}.jpg" for stem in VOC))
    assert dataset.classes == VOCDataset(devkit).classes
    assert [fields(example) for example in dataset] == by_name(VOCDataset(devkit))


@needs_tfds
def test_our_builder_keeps_the_order_and_the_files(devkit: Path, prepared: Path) -> None:
    tfds = tensorflow_datasets()
    source = tfds.data_source("extremal_voc/2007", data_dir=prepared, split="test", decoders={"image": tfds.decode.SkipDecoding()})
    assert [record["image/filename"].decode() for record in source] == [f"{stem}.jpg" for stem in VOC]
    for stem, record in zip(VOC, source, strict=True):
        assert record["image"] == (devkit / "VOC2007" / "JPEGImages" / f"{stem}.jpg").read_bytes()
    assert (source[0]["labels"], source[2]["labels_no_difficult"]) == ([11, 14], [7])


@needs_tfds
def test_our_builder_reads_the_archive(devkit: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "VOCtest.tar", "w") as archive:
        archive.add(devkit, "VOCdevkit")
    builders.voc(tmp_path / "VOCtest.tar", data_dir=tmp_path).download_and_prepare()
    assert [fields(example) for example in PreparedDataset("extremal_voc/2007", data_dir=tmp_path)] == by_name(VOCDataset(devkit))


@needs_tfds
def test_the_stock_builder_gives_the_same_examples(devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own generator, which opens files by TensorFlow: here by Python."""
    tfds, stock = tensorflow_datasets(), importlib.import_module("tensorflow_datasets.object_detection.voc")

    def splits(self: Any, _: Any) -> Any:
        return {"test": self._generate_examples(str(devkit.parent), "test")}

    monkeypatch.setattr(stock, "tf", SimpleNamespace(io=SimpleNamespace(gfile=SimpleNamespace(GFile=open))))
    monkeypatch.setattr(stock.Voc, "_split_generators", splits)
    builder = tfds.builder("voc/2007", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    assert [fields(example) for example in PreparedDataset("voc/2007", data_dir=tmp_path)] == by_name(VOCDataset(devkit))


@needs_tfds
def test_scenes(tmp_path: Path) -> None:
    for options in ({"seed": 3, "objects": 2, "size": (32, 40)}, {"size": 32}):
        builder = builders.scenes(3, data_dir=tmp_path, **options)
        builder.download_and_prepare()
        expected = SceneDataset(3, **options)
        dataset = PreparedDataset(f"extremal_scenes/{builder.builder_config.name}", data_dir=tmp_path)
        assert dataset.classes == expected.classes
        assert [fields(example) for example in dataset] == [fields(example) for example in expected]
    assert len(list((tmp_path / "extremal_scenes").iterdir())) == 2


@needs_tfds
def test_split(prepared: Path) -> None:
    assert len(PreparedDataset("extremal_voc/2007", data_dir=prepared, split="test[:2]")) == 2
    with pytest.raises(ValueError, match="the dataset extremal_voc/2007 has no split 'tset'; did you mean 'test'"):
        PreparedDataset("extremal_voc/2007", data_dir=prepared, split="tset")


@needs_tfds
def test_name(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It identifies the version, folder and split, and opens the data where the split is the usual one."""
    dataset = PreparedDataset("extremal_voc/2007", data_dir=prepared)
    assert dataset.name == f"tfds:extremal_voc/2007:1.0.0@{prepared}"
    assert data.open_dataset(dataset.name, dataset.classes).name == dataset.name
    assert PreparedDataset("extremal_voc/2007", data_dir=prepared, split="test[:2]").name == f"{dataset.name} split=test[:2]"
    monkeypatch.setattr(sys.modules["extremal_jax.data.prepared"], "_builder", _opened_in(prepared))
    assert PreparedDataset("extremal_voc/2007").name == "tfds:extremal_voc/2007:1.0.0"


def _opened_in(folder: Path) -> Any:
    """A function that opens builders in a folder, as if it were the default one."""
    opened = importlib.import_module("extremal_jax.data.prepared")._builder
    return lambda tfds, name, data_dir: opened(tfds, name, data_dir or folder)


@needs_tfds
@pytest.mark.parametrize("orientation", [3, 6])
def test_boxes_refer_to_the_stored_pixels(tmp_path: Path, orientation: int) -> None:
    tree, exif = write_voc(tmp_path), Image.Exif()
    path = tree / "VOC2007" / "JPEGImages" / "000007.jpg"
    exif[0x0112] = orientation
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.save(path)
    before = data.load_image(path)
    picture.save(path, exif=exif)
    builders.voc(tree, data_dir=tmp_path).download_and_prepare()
    (example,) = (one for one in PreparedDataset("extremal_voc/2007", data_dir=tmp_path) if one.name == path.name)
    assert (example.load() == before).all()
    assert (data.load_image(path).shape == before.shape) == (orientation == 3)


@needs_tfds
def test_data_that_only_tensorflow_reads(devkit: Path, tmp_path: Path) -> None:
    builders.voc(devkit, data_dir=tmp_path).download_and_prepare()
    edit(tmp_path, lambda content: content.update(fileFormat="tfrecord"))
    with pytest.raises(
        ValueError, match=r"is prepared as tfrecord, which only TensorFlow reads; .* `tfds convert_format .*--out_file_format"
    ):
        PreparedDataset("extremal_voc/2007", data_dir=tmp_path)


@needs_tfds
def test_data_that_is_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"the dataset voc/2007 is not prepared in .*; prepare it there, as `extremal_jax.data.builders"
    ):
        PreparedDataset("voc/2007", data_dir=tmp_path)


@needs_tfds
def test_features_of_other_datasets(devkit: Path, tmp_path: Path) -> None:
    builders.voc(devkit, data_dir=tmp_path).download_and_prepare()
    (path,) = tmp_path.rglob("features.json")
    path.write_text(path.read_text().replace("is_difficult", "is_crowd"))
    with pytest.raises(ValueError, match="must have the features image, image/filename and objects with bbox, is_difficult, label"):
        PreparedDataset("extremal_voc/2007", data_dir=tmp_path)


@needs_tfds
def test_corrupt_image_is_named(devkit: Path, tmp_path: Path) -> None:
    tree = write_voc(tmp_path)
    path = tree / "VOC2007" / "JPEGImages" / "000011.jpg"
    path.write_bytes(path.read_bytes()[:700])
    builders.voc(tree, data_dir=tmp_path).download_and_prepare()
    dataset = PreparedDataset("extremal_voc/2007", data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"image 000011\.jpg cannot be decoded"):
        dataset[2].load()
    dataset._source = [{**record, "image": b"no image"} for record in dataset._source]
    with pytest.raises(ValueError, match=r"000007\.jpg is not an image of a known format"):
        dataset[1]


@needs_tfds
def test_a_corrupt_segmentation_is_named(tmp_path: Path) -> None:
    """It is a PNG: no other format is decoded."""
    builder = builders.scenes(1, data_dir=tmp_path, size=32)
    builder.download_and_prepare()
    dataset = PreparedDataset(f"extremal_scenes/{builder.builder_config.name}", data_dir=tmp_path)
    record, file = dataset._source[0], io.BytesIO()
    Image.new("L", (32, 32)).save(file, "EPS")
    for content in (b"no image", file.getvalue()):
        dataset._source = [{**record, "segmentation": content}]
        with pytest.raises(ValueError, match=r"the segmentation of scene-4000-000000\.png must be a PNG file, and cannot be read"):
            dataset[0]


@needs_tfds
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: Image.new("RGB", (9, 8)).save(image), r"image 000007\.jpg is 8x9 pixels large, but its annotation says 48x64"),
        (lambda image: image.write_bytes(b"no image"), r"000007\.jpg is not an image of a known format"),
    ],
)
def test_boxes_are_divided_by_the_size_of_the_image(tmp_path: Path, change: Any, message: str) -> None:
    tree = write_voc(tmp_path)
    change(tree / "VOC2007" / "JPEGImages" / "000007.jpg")
    with pytest.raises(ValueError, match=message):
        builders.voc(tree, data_dir=tmp_path).download_and_prepare()


@needs_tfds
def test_a_folder_holds_one_split_of_one_source(devkit: Path, prepared: Path, tmp_path: Path) -> None:
    builders.voc(devkit, data_dir=prepared)  # the same data
    other = write_voc(tmp_path, "val") / "VOC2007"
    with pytest.raises(ValueError, match="holds the split 'test', not 'val'; give another data_dir"):
        builders.voc(other, data_dir=prepared, split="val")
    (other / "ImageSets" / "Main" / "test.txt").write_text("000007\n")
    with pytest.raises(ValueError, match="was prepared from another source, with other names or annotations; give another data_dir"):
        builders.voc(other, data_dir=prepared)
    same, path = write_voc(tmp_path / "same"), Path("VOC2007/Annotations/000002.xml")
    builders.voc(same, data_dir=prepared)
    (same / path).write_text((same / path).read_text().replace("<xmin>7</xmin>", "<xmin>8</xmin>"))
    with pytest.raises(ValueError, match="was prepared from another source"):
        builders.voc(same, data_dir=prepared)


@needs_tfds
def test_the_year_is_that_of_the_folder(tmp_path: Path) -> None:
    tree = write_voc(tmp_path, year="2012") / "VOC2012"
    with pytest.raises(ValueError, match="is a VOC tree of the year 2012, and year is '2007'; give year='2012'"):
        builders.voc(tree, data_dir=tmp_path)
    assert builders.voc(tree, data_dir=tmp_path, year="2012").builder_config.name == "2012"
    renamed = tree.rename(tmp_path / "images")
    assert builders.voc(renamed, data_dir=tmp_path, year="2012").builder_config.name == "2012"


@needs_tfds
def test_sources_that_are_not_voc(devkit: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        builders.voc(tmp_path / "missing.tar")
    (tmp_path / "text.tar").write_text("no archive")
    with pytest.raises(ValueError, match="is not an archive of VOC"):
        builders.voc(tmp_path / "text.tar")
    with tarfile.open(tmp_path / "VOCtest.tar", "w") as archive:
        archive.add(devkit, "VOCdevkit")
    with pytest.raises(ValueError, match=r"is not an archive of VOC 2012: it has no VOCdevkit/VOC2012/, but 'VOC2007'"):
        builders.voc(tmp_path / "VOCtest.tar", year="2012")
    with pytest.raises(FileNotFoundError, match=r"the file ImageSets/Main/val.txt is missing in .*VOCtest.tar"):
        builders.voc(tmp_path / "VOCtest.tar", split="val")
    with pytest.raises(FileNotFoundError, match=r"split 'val' is not in .*Main; it has 'test'"):
        builders.voc(devkit, split="val")


def test_without_tensorflow_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    for call in (lambda: PreparedDataset("voc/2007"), lambda: builders.scenes(1), lambda: builders.voc("VOCdevkit")):
        with pytest.raises(ImportError, match=r"need the package tensorflow_datasets: .*`pip install 'extremal-jax\[datasets\]'`"):
            call()


@pytest.mark.parametrize("path", sorted(Path(data.__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_optional_packages_are_imported_when_they_are_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorflow_datasets", "pycocotools", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    name = ".".join(path.relative_to(Path(data.__file__).parents[2]).with_suffix("").parts).removesuffix(".__init__")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
