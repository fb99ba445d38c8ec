"""Images are resized, cropped and normalised as by the publishers of the weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

import extremal_jax as ej
import zoo_weights
from extremal_jax.data.scenes import generate
from extremal_jax.models import registry
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.preprocessing import ClipPreprocessing, Preprocessing, described
from golden_data import GOLDEN


def recorded_preprocessing() -> Any:
    with np.load(GOLDEN / "zoo" / "preprocessing.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("recorded", recorded_preprocessing())
def test_preprocessing(recorded: Any) -> None:
    """Of noise, on which filters differ most. Both use Pillow, so they differ by less than one of its 255 levels."""
    orientation, scaled, interpolation = recorded.split()
    prepare = Preprocessing((224, 224), (0.0,) * 3, (1.0,) * 3, crop=224 / int(scaled), interpolation=interpolation)
    picture = np.random.default_rng([0, 7]).integers(0, 256, (300, 401, 3), dtype=np.uint8)
    picture = picture if orientation == "landscape" else picture.transpose(1, 0, 2)
    for image in (picture, Image.fromarray(picture)):
        np.testing.assert_allclose(prepare(image)[::16, ::16], recorded_preprocessing()[recorded], rtol=0, atol=0.5 / 255)


@pytest.mark.parametrize(
    ("name", "publisher", "scaled", "interpolation"),
    [
        ("alexnet", "torchvision", 256, "bilinear"),
        ("resnet50", "torchvision and timm", 256, "bilinear"),
        ("convnext_tiny", "torchvision", 236, "bilinear"),
        ("convnext_small", "torchvision", 230, "bilinear"),
        ("convnext_base", "torchvision", 232, "bilinear"),
        ("convnext_base", "timm", 256, "bicubic"),
        ("vit_b_16", "torchvision", 256, "bilinear"),
        ("vit_b_16", "timm", 248, "bicubic"),
        ("deit_s_16", "timm", 248, "bicubic"),
        ("efficientnet_b0", "torchvision", 256, "bicubic"),
        ("efficientnet_b3", "torchvision", 320, "bicubic"),
        ("efficientnet_b4", "timm", 365, "bicubic"),
        ("tf_efficientnet_b4", "timm", 412, "bicubic"),
        ("mobilenet_v2", "torchvision", 256, "bilinear"),
        ("mobilenet_v3_large", "timm", 256, "bicubic"),
        ("regnet_y_8gf", "torchvision", 256, "bilinear"),
        ("convnext_v2_base", "timm", 256, "bicubic"),
        ("swin_s", "torchvision", 246, "bicubic"),
        ("swin_b", "timm", 248, "bicubic"),
    ],
)
def test_published_preprocessing(name: str, publisher: str, scaled: int, interpolation: str) -> None:
    """The scaled sizes and the filters are those on torchvision's and timm's pages about their weights."""
    entry = ENTRIES[name]
    prepare = entry.preprocessing_by_publisher.get(publisher, entry.preprocessing)
    corner = np.zeros((scaled, scaled, 3), np.uint8)
    first = (scaled - prepare.size[0]) // 2
    corner[first, first] = 255  # the first pixel of the crop, if nothing is scaled
    assert prepare.interpolation == interpolation
    assert np.argwhere(prepare.picture(prepare(corner)).any(axis=-1)).tolist() == [[0, 0]]


@pytest.mark.parametrize(("name", "side"), [("efficientnet_lite0", 224), ("efficientnet_lite1", 240), ("efficientnet_lite2", 260)])
def test_preprocessing_of_lite_networks(name: str, side: int) -> None:
    """(x - 127) / 128, of a crop that leaves 16 pixels at each side; timm's files take x / 127.5 - 1."""
    entry = ENTRIES[name]
    picture = np.full((side + 32, side + 32, 3), 255, np.uint8)
    picture[16 : 16 + side, 16 : 16 + side] = (0, 127, 254)
    assert entry.input_size == (side, side)
    np.testing.assert_allclose(entry.preprocessing(picture), np.full((side, side, 3), (-127 / 128, 0, 127 / 128)), atol=1e-6)
    others = entry.preprocessing_by_publisher["timm"](picture)
    np.testing.assert_allclose(others, np.full((side, side, 3), (-1, 127 / 127.5 - 1, 254 / 127.5 - 1)), atol=1e-6)


def test_caffe_preprocessing() -> None:
    """[0, 255] less the mean, red first; the weights are converted to this order."""
    prepared = ENTRIES["vgg16_voc"].preprocessing(np.full((224, 224, 3), (10, 20, 30), np.uint8))
    np.testing.assert_allclose(prepared[5, 5], [10 - 123.68, 20 - 116.779, 30 - 103.939], rtol=1e-5)


@pytest.mark.parametrize("shape", [(11, 17), (5, 3), (3, 9)], ids=str)
def test_scaling_without_antialiasing(shape: Any) -> None:
    """Against a loop: each sample interpolates linearly between two pixels in each direction, however much an image shrinks."""
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    prepared = Preprocessing((4, 4), (0.0,) * 3, (1.0,) * 3, crop=None, antialias=False)(picture)
    height, width = (int(4 * n / min(shape)) for n in shape)
    assert prepared.shape == (height, width, 3)

    def neighbours(place: Any, count: Any, extent: Any) -> Any:
        exact = min(max((place + 0.5) * extent / count - 0.5, 0), extent - 1)
        low = int(exact)
        return (low, 1 - exact + low), (min(low + 1, extent - 1), exact - low)

    for y in range(height):
        for x in range(width):
            rows, columns = neighbours(y, height, shape[0]), neighbours(x, width, shape[1])
            expected = sum(a * b * (picture[row, column] / 255) for row, a in rows for column, b in columns)
            np.testing.assert_allclose(prepared[y, x], expected, atol=1e-5)


@pytest.mark.parametrize("network", ["vgg16_voc", "vgg16_coco", "resnet50_voc", "resnet50_coco"])
def test_fully_convolutional_networks_see_the_whole_picture(network: str) -> None:
    cropped, whole = ENTRIES[network].preprocessing, ENTRIES[f"{network}_fully_convolutional"].preprocessing
    picture = np.random.default_rng(0).integers(0, 256, (301, 600, 3), dtype=np.uint8)
    assert whole(picture).shape == (224, 446, 3)
    assert whole(picture.transpose(1, 0, 2)).shape == (446, 224, 3)
    np.testing.assert_array_equal(cropped(picture), whole(picture)[:, 111:335])
    with pytest.raises(ValueError, match="image of 1x9000 pixels would be scaled to 224x2016000; crop it first"):
        whole(np.zeros((1, 9000), np.uint8))


def test_without_antialiasing_there_is_one_filter() -> None:
    with pytest.raises(ValueError, match="interpolation must be one of 'bilinear', got 'bicubic'"):
        Preprocessing((4, 4), (0.0,) * 3, (1.0,) * 3, interpolation="bicubic", antialias=False)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float64])
def test_pictures_of_floats(dtype: Any, classifier: ej.models.Classifier) -> None:
    picture = np.full((128, 128, 3), 0.25, dtype)
    np.testing.assert_array_equal(classifier.preprocess(picture), classifier.preprocess(np.full((128, 128, 3), 64, np.uint8)))
    with pytest.raises(ValueError, match=r"image must hold floats in \[0, 1\], or uint8, got values from 0.25 to 2"):
        classifier.preprocess(np.concatenate([picture, 8 * picture]))


def test_another_preprocessing_can_be_set() -> None:
    model = ej.models.load("scenes")
    model.preprocessing = Preprocessing((32, 48), (0.0,) * 3, (1.0,) * 3)
    assert model.input_size == model.preprocess(np.zeros((64, 64, 3), np.uint8)).shape[:2] == (32, 48)


HALVES = Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3, crop=0.875)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"input_size": [3, 288, 256], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]},
            Preprocessing((288, 256), (0.1, 0.2, 0.3), (1, 2, 3), 0.95, "bicubic"),
        ),
        ({"crop_pct": 1.0}, dataclasses.replace(HALVES, crop=1.0)),
        ({"input_size": [3, 0, 9], "crop_pct": 0, "interpolation": None, "mean": [1, 2], "std": [0, 1, 1]}, HALVES),
        ({"input_size": "large", "crop_pct": "all", "crop_mode": "center", "mean": None, "std": ["a"] * 3}, HALVES),
        ("none", HALVES),
    ],
)
def test_described_preprocessing(config: Any, expected: Any) -> None:
    assert described({"pretrained_cfg": config}, HALVES) == expected
    assert described({}, HALVES) == HALVES


def test_described_preprocessing_of_old_files() -> None:
    """Their fields stand beside those of the network, as in timm's first repositories."""
    config = {"architecture": "resnet18", "num_classes": 10, "input_size": [3, 96, 80], "crop_pct": 0.9, "mean": [0.1, 0.2, 0.3]}
    assert described(config, HALVES) == Preprocessing((96, 80), (0.1, 0.2, 0.3), (0.5,) * 3, 0.9)
    assert described({"mean": [0.1, 0.2, 0.3]}, HALVES) == dataclasses.replace(HALVES, mean=(0.1, 0.2, 0.3))
    assert described({"architecture": "resnet18", "crop_mode": "squash"}, HALVES) == HALVES  # not a description of images


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("crop_mode", "squash", "'center', got 'squash'"),
        ("crop_mode", "border", "'center', got 'border'"),
        ("interpolation", "lanczos", "'bilinear' or 'bicubic', got 'lanczos'"),
        ("interpolation", [], r"'bilinear' or 'bicubic', got \[\]"),
    ],
)
def test_descriptions_that_cannot_be_followed(field: str, value: Any, expected: str) -> None:
    message = f"the {field} in config.json must be {expected}; download the weights, give the file, and set `preprocessing`"
    for config in ({"pretrained_cfg": {field: value}}, {"input_size": [3, 96, 96], field: value}):
        with pytest.raises(ValueError, match=message):
            described(config, HALVES)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 1.5}, "crop must be a share of the scaled image, above 0 and at most 1, got 1.5; None keeps the whole image"),
        ({"crop": 0}, "crop must be a share .* got 0"),
        ({"crop": float("nan")}, "crop must be a share .* got nan"),
        ({"crop": "all"}, "crop must be a share .* got 'all'"),
        ({"size": (4, 0)}, r"size must be \(height, width\), positive whole numbers, got \(4, 0\)"),
        ({"size": (4.0, 4)}, r"size must be .* got \(4.0, 4\)"),
        ({"size": (4, 4, 3)}, r"size must be .* got \(4, 4, 3\)"),
        ({"size": 4}, "size must be .* got 4"),
        ({"mean": (0.5,)}, r"mean and std must have one number for each channel, got \(0.5,\) and \(1.0, 1.0, 1.0\)"),
        ({"mean": (), "std": ()}, r"mean and std must have one number for each channel"),
        ({"mean": (0.5, 0.5, float("inf"))}, r"mean and std must have one number for each channel"),
        ({"std": (1.0, 0.0, 1.0)}, r"std must be positive, got \(1.0, 0.0, 1.0\); use 1 for channels that are not scaled"),
    ],
)
def test_preparations_that_cannot_be(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"size": (4, 4), "mean": (0.0,) * 3, "std": (1.0,) * 3, **changes})
    if "crop" not in changes:
        clip = {"size": (8, *changes["size"]) if isinstance(changes.get("size"), tuple) else changes.get("size", (8, 4, 4))}
        with pytest.raises(ValueError, match="size must be .time, height, width." if "size" in changes else message):
            ClipPreprocessing(**{"mean": (0.0,) * 3, "std": (1.0,) * 3, **changes, **clip})


def test_layouts_decide_the_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"torchvision": "torchvision/convnext_tiny", "timm": "timm/convnext_tiny.fb_in1k"}
    monkeypatch.setattr(registry, "fill", lambda found, tensors, dtype: found.network)  # the numbers do not matter here
    loaded = {}
    for publisher, golden in shapes.items():
        tensors = {name: np.broadcast_to(np.float32(0), shape) for name, shape in zoo_weights.tensors(golden).items()}
        monkeypatch.setattr(registry, "read_weights", lambda entry, weights, ema, tensors=tensors: (tensors, "a file"))
        loaded[publisher] = ej.models.load("convnext_tiny", "a file", fold=False).preprocessing.interpolation
    assert loaded == {"torchvision": "bilinear", "timm": "bicubic"}


def picture(height: Any = 40, width: Any = 60) -> Any:
    return generate(32, 1, (height, width)).images[0]


def test_bytes_of_the_right_size_are_normalised_alone() -> None:
    image = picture(32, 48)
    prepare = Preprocessing((32, 48), (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    result = prepare(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, (image / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2.0], atol=1e-6)  # rounding
    np.testing.assert_array_equal(prepare.picture(result), image)
    np.testing.assert_array_equal(prepare.picture(np.stack([result, result])), [image, image])


def test_floats_pillow_images_and_bytes_are_prepared_alike(classifier: ej.models.Classifier) -> None:
    image = picture()
    expected = classifier.preprocess(image)
    for same in (image / 255, (image / 255).astype(np.float32), Image.fromarray(image), jnp.asarray(image)):
        np.testing.assert_array_equal(classifier.preprocess(same), expected)


class ArrayTensor:
    """An array of a library that has only this protocol."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


class DlpackTensor:
    def __init__(self, array: Any) -> None:
        self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__


def test_arrays_of_other_libraries(classifier: ej.models.Classifier) -> None:
    image = picture()
    for other in (ArrayTensor(image), DlpackTensor(image)):
        np.testing.assert_array_equal(classifier.preprocess(other), classifier.preprocess(image))
    with pytest.raises(ValueError, match=r"got the shape \(3, 40, 60\); move the channels last"):
        classifier.preprocess(ArrayTensor(image.transpose(2, 0, 1)))


def test_photographs_are_upright(classifier: ej.models.Classifier, tmp_path: Path) -> None:
    """The rotation in a photograph's EXIF data applies to a Pillow image as in `load_image`."""
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(picture()).save(tmp_path / "photo.png", exif=exif)
    with Image.open(tmp_path / "photo.png") as photo:
        prepared = classifier.preprocess(photo)
    np.testing.assert_array_equal(prepared, classifier.preprocess(ej.data.load_image(tmp_path / "photo.png")))
    np.testing.assert_array_equal(prepared, classifier.preprocess(np.rot90(picture(), -1)))


@pytest.mark.parametrize("form", [lambda grey: grey, lambda grey: grey[..., None], lambda grey: grey / 255, Image.fromarray])
def test_grey(classifier: ej.models.Classifier, form: Any) -> None:
    grey = picture()[..., 0]
    np.testing.assert_array_equal(classifier.preprocess(form(grey)), classifier.preprocess(np.stack([grey] * 3, axis=-1)))


def test_transparent_pillow_images_lie_on_white(classifier: ej.models.Classifier) -> None:
    assert (classifier.preprocess(Image.new("RGBA", (10, 10))) == classifier.preprocess(np.full((10, 10), 255, np.uint8))).all()


@pytest.mark.parametrize("shape", [(200, 100), (100, 200), (30, 15)])
def test_shorter_side_is_scaled_and_the_centre_kept(shape: Any) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    height, width = shape
    side = min(shape)
    top, left = (height - side) // 2, (width - side) // 2
    image[top : top + side, left : left + side] = 255
    prepare = Preprocessing((50, 50), (0.0,) * 3, (1.0,) * 3)
    kept = prepare(image)
    assert (kept[3:-3, 3:-3] == 1).all()  # bilinear scaling mixes the pixels at the border
    assert kept.mean() > 0.95


def test_crop_is_a_share_of_the_shorter_side() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:80, 20:80] = 255
    assert (Preprocessing((60, 60), (0.0,) * 3, (1.0,) * 3, crop=0.6)(image) == 1).all()
    wider = Preprocessing((60, 60), (0.0,) * 3, (1.0,) * 3, crop=0.75)(image)
    assert wider.mean() == pytest.approx((0.6 / 0.75) ** 2, abs=0.01)  # bilinear scaling mixes the pixels at the border


def test_a_long_strip_takes_little_memory() -> None:
    strip = Image.new("RGB", (1_000_000, 2), "red")  # scaling all of it to 128 rows would take 192 GB
    assert (Preprocessing((128, 128), (0.0,) * 3, (1.0,) * 3)(strip)[..., 0] == 1).all()


@pytest.mark.parametrize(
    ("image", "error", "sentence"),
    [
        (np.zeros(3, np.uint8), ValueError, r"got the shape \(3,\)"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"got the shape \(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), ValueError, r"got the shape \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"must not be empty, got the shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), int), TypeError, r"uint8, or floats in \[0, 1\], got int64"),
        (np.zeros((4, 4, 3), bool), TypeError, "got bool"),
        (np.full((4, 4, 3), 255.0), ValueError, "got values from 255 to 255"),
        (np.full((4, 4, 3), -0.5), ValueError, "got values from -0.5 to -0.5"),
        (np.full((4, 4, 3), np.nan), ValueError, r"floats in \[0, 1\]"),
        ("photo.png", TypeError, "image must be an array of numbers, got 'photo.png'"),
    ],
)
def test_bad_arrays(classifier: ej.models.Classifier, image: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        classifier.preprocess(image)


@pytest.mark.parametrize(("shape", "crop"), [((60, 100), 1.0), ((100, 60), 0.875), ((48, 64), None), ((24, 40), 0.8)])
def test_maps_are_laid_where_their_pixels_were(shape: tuple[int, int], crop: float | None) -> None:
    """The prepared image itself, as a map, is the image again, and zero where the crop left it out."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    picture = np.stack([2 * rows + 20, 2 * columns + 20, 0 * rows], axis=-1).astype(np.uint8)
    prepare = Preprocessing((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3, crop=crop)
    placed = prepare.place(prepare(picture).transpose(2, 0, 1), shape)[:2] * 255
    inside = placed[0] > 0
    kept = 1.0 if crop is None else min(shape) ** 2 * crop**2 / (shape[0] * shape[1])
    assert inside.mean() == pytest.approx(kept, abs=0.05)
    assert prepare.cut(placed).shape[1:] == prepare(picture).shape[:2]
    np.testing.assert_allclose(prepare.cut(placed)[:, 4:-4, 4:-4] / 255, prepare(picture)[4:-4, 4:-4, :2].transpose(2, 0, 1), atol=0.03)
    core = scipy.ndimage.binary_erosion(inside, iterations=3, border_value=0)
    np.testing.assert_allclose(placed[:, core], picture[..., :2].transpose(2, 0, 1)[:, core], atol=4)  # two resamplings and a rounding


def test_signed_maps_are_lowest_outside_the_crop() -> None:
    placed = Preprocessing((2, 2), mean=(0.0,) * 3, std=(1.0,) * 3).place(np.array([[-3.0, 1], [1, 1]]), (2, 4))
    assert placed[:, [0, 3]].tolist() == [[-3.0, -3.0]] * 2


@pytest.mark.parametrize("size", [(60, 100), (100, 60), (48, 64), (24, 40), (33, 32), (32, 333), (7, 5), (1, 90)])
@pytest.mark.parametrize("crop", [1.0, 0.875, None])
def test_input_size(size: tuple[int, int], crop: float | None) -> None:
    """Of the array that is made of an image, of which only the header is read."""
    prepare = Preprocessing((32, 24), mean=(0.0,) * 3, std=(1.0,) * 3, crop=crop)
    assert prepare.input_size(size) == prepare(np.zeros((*size, 3), np.uint8)).shape[:2]
