"""Image files: the pixels of readable ones, and the errors for the others."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import EpsImagePlugin, Image, PngImagePlugin

from extremal_jax.data import load_image
from extremal_jax.data.images import image_size, to_rgb
from extremal_jax.data.scenes import generate
from extremal_jax.models.preprocessing import Preprocessing

PICTURE = generate(20, 1, (48, 64)).images[0]


def encoded(picture: Any, kind: Any, **options: Any) -> Any:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """A chunk of a PNG."""
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) if checksum is None else checksum)
    )


def promise(width: Any, height: Any) -> Any:
    """A PNG whose header states a size, and which holds no pixels."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"")


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """A function that writes bytes, or a Pillow image, to a file."""

    def write(content: Any, **options: Any) -> Any:
        path = tmp_path / "image"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path, "PNG", **options)
        return path

    return write


def test_rgb(file: Any) -> None:
    loaded = load_image(file(Image.fromarray(PICTURE)))
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, PICTURE)


def test_path_as_text(file: Any) -> None:
    np.testing.assert_array_equal(load_image(str(file(Image.fromarray(PICTURE)))), PICTURE)


def test_jpeg(file: Any) -> None:
    # Rounding costs a few levels, even in 4:4:4 at the highest quality.
    loaded = load_image(file(encoded(PICTURE, "JPEG", quality=100, subsampling=0)))
    np.testing.assert_allclose(loaded.astype(int), PICTURE, atol=6)


def test_grey(file: Any) -> None:
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(load_image(file(Image.fromarray(grey))), np.stack([grey] * 3, axis=-1))


def test_sixteen_bits(file: Any) -> None:
    grey = PICTURE[..., 0]
    loaded = load_image(file(Image.fromarray(grey.astype(np.uint16) * 257)))
    np.testing.assert_array_equal(loaded, np.stack([grey] * 3, axis=-1))


def test_the_transparent_level_of_sixteen_bits(file: Any) -> None:
    """One of 65,536: its neighbours, which have the same 8 bits, are opaque."""
    grey = np.array([[1000, 1001, 999], [65535, 0, 1000]], np.uint16)
    loaded = load_image(file(Image.fromarray(grey), transparency=1000))
    assert loaded[..., 0].tolist() == [[255, 4, 4], [255, 0, 255]]


def test_palette(file: Any) -> None:
    palette = Image.fromarray(PICTURE).quantize(16)
    loaded = load_image(file(palette))
    np.testing.assert_array_equal(loaded, np.asarray(palette.convert("RGB")))
    assert len(np.unique(loaded.reshape(-1, 3), axis=0)) <= 16


def test_transparency_is_laid_on_white(file: Any) -> None:
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 51
    loaded = load_image(file(Image.fromarray(np.concatenate([PICTURE, alpha], axis=-1)))).astype(float)
    np.testing.assert_array_equal(loaded[20:], PICTURE[20:])
    assert (loaded[:10] == 255).all()
    np.testing.assert_allclose(loaded[10:20], 0.2 * PICTURE[10:20] + 0.8 * 255, atol=1)  # rounding


def test_transparent_colour_of_a_palette(file: Any) -> None:
    palette = Image.fromarray((np.arange(4, dtype=np.uint8).reshape(2, 2)), "L").convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    loaded = load_image(file(palette, transparency=1))
    assert loaded.tolist() == [[[10, 20, 30], [255, 255, 255]], [[70, 80, 90], [100, 110, 120]]]


TURNS: dict[int, Any] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("orientation", "turn"), TURNS.items())
def test_rotated_photographs_are_upright_however_they_are_read(file: Any, kind: str, orientation: Any, turn: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = file(encoded(PICTURE, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(load_image(path), turn(PICTURE))
    with Image.open(path) as picture:
        upright = to_rgb(picture)
        prepare = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3)
        np.testing.assert_array_equal(prepare(picture), prepare(load_image(path)))
        assert picture.getexif().get(0x0112, 1) == (1 if kind == "TIFF" else orientation)  # the caller's object stays; Pillow turns TIFFs
    np.testing.assert_array_equal(to_rgb(upright), turn(PICTURE))  # no second turn


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNS)
def test_pixels_as_stored(file: Any, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = file(encoded(PICTURE, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(load_image(path, upright=False), PICTURE)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(to_rgb(picture, upright=False), PICTURE)


@pytest.mark.parametrize("orientation", [3, 6])
def test_jpeg_as_stored(file: Any, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = load_image(file(encoded(PICTURE, "JPEG")))
    path = file(encoded(PICTURE, "JPEG", exif=exif))
    np.testing.assert_array_equal(load_image(path, upright=False), stored)
    np.testing.assert_array_equal(load_image(path), TURNS[orientation](stored))


OPTIONS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize(
    "exif",
    [
        b"garbage",
        b"Exif\0\0garbage",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x10\x01\x12",  # sixteen entries promised, none whole
        b"Exif\0\0II*\0\xff\xff\xff\x7f",  # the directory lies beyond the end
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0AAAA\0\0\0\0",  # the orientation "A"
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\x006\0\0\0\0\0\0\0",  # the orientation "6", a text
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",  # the orientation 9
    ],
)
def test_malformed_metadata_leave_the_pixels_as_they_are(file: Any, kind: str, exif: bytes) -> None:
    options = OPTIONS[kind]
    path = file(encoded(PICTURE, kind, exif=exif, **options))
    np.testing.assert_array_equal(load_image(path, upright=False), load_image(path))
    assert image_size(path) == load_image(path).shape[:2]
    np.testing.assert_array_equal(load_image(path), load_image(file(encoded(PICTURE, kind, **options))))
    path = file(encoded(PICTURE, kind, exif=exif, **options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, of `open`
        picture = Image.open(path)
    with picture:
        np.testing.assert_array_equal(to_rgb(picture), load_image(path))


def test_malformed_text_chunk_of_a_png(file: Any) -> None:
    """ImageMagick writes EXIF as hexadecimal text."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n  4\nno hexadecimal digits")
    np.testing.assert_array_equal(load_image(file(Image.fromarray(PICTURE), pnginfo=info)), PICTURE)


@pytest.mark.parametrize(
    "damaged",
    [
        *(chunk(kind, b"\0") for kind in (b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"acTL")),  # too short
        chunk(b"eXIf", b"Exif", checksum=0),
        chunk(b"tEXt", b"a\0b", checksum=1),
    ],
)
def test_damaged_chunks_of_a_png_leave_the_pixels_and_the_orientation(file: Any, damaged: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, "PNG", exif=exif)
    header = 8 + 25  # the signature and IHDR
    np.testing.assert_array_equal(load_image(file(data[:header] + damaged + data[header:])), TURNS[6](PICTURE))
    np.testing.assert_array_equal(load_image(io.BytesIO(data[:header] + damaged + data[header:])), TURNS[6](PICTURE))
    np.testing.assert_array_equal(load_image(io.BytesIO(data[:header] + damaged + data[header:]), upright=False), PICTURE)


def test_damaged_segments_of_a_jpeg(file: Any) -> None:
    data = encoded(PICTURE, "JPEG")
    colours = b"\xff\xe2" + struct.pack(">H", 14) + b"ICC_PROFILE\0"  # which should count its parts
    np.testing.assert_array_equal(load_image(file(data[:2] + colours + data[2:])), load_image(file(data)))


def test_cmyk(file: Any) -> None:
    cmyk = Image.fromarray(PICTURE).convert("CMYK")
    buffer = io.BytesIO()
    cmyk.save(buffer, "TIFF")
    np.testing.assert_array_equal(load_image(file(buffer.getvalue())), PICTURE)


def test_first_frame_of_an_animation(file: Any) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (30, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert (load_image(file(buffer.getvalue())) == 30).all()


@pytest.mark.usefixtures("unchecked")
def test_open_files(file: Any) -> None:
    """They are read from the beginning, and stay open."""
    path = file(Image.fromarray(PICTURE))
    with path.open("rb") as opened:
        opened.seek(10)
        np.testing.assert_array_equal(load_image(opened), PICTURE)
        np.testing.assert_array_equal(load_image(opened), PICTURE)
    np.testing.assert_array_equal(load_image(io.BytesIO(path.read_bytes())), PICTURE)
    with pytest.raises(ValueError, match=r"^BytesIO is not an image of a known format$"):
        load_image(io.BytesIO(b"hello"))
    path.write_bytes(b"hello")
    with path.open("rb") as opened, pytest.raises(ValueError, match=f"^{path} is not an image"):
        load_image(opened)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("path", [None, 3, b"image.png", PICTURE], ids=lambda path: type(path).__name__)
def test_other_things_than_paths(path: Any) -> None:
    with pytest.raises(TypeError, match=f"path must be a str or a pathlib.Path, .* got {type(path).__name__}$"):
        load_image(path)


def within_iptc(content: bytes) -> bytes:
    """An IPTC file whose pixels are a file of another format."""
    fields = ((3, 60, b"\1\0"), (3, 20, b"\0\0\0\x04"), (3, 30, b"\0\0\0\x04"), (3, 120, b"\5"), (8, 10, content))
    return b"".join(struct.pack(">BBBH", 0x1C, *place, len(value)) + value for *place, value in fields)


EPS = encoded(np.zeros((4, 4, 3), np.uint8), "EPS")


WMF = b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<4HH6x", 0, 0, 4, 4, 72) + b"\1\0\t\0" + bytes(60)


@pytest.mark.parametrize(("kind", "content"), [("EPS", EPS), ("WMF", WMF), ("IPTC", within_iptc(EPS))])
def test_formats_that_run_programs(tmp_path: Path, kind: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file's name is: Pillow looks at the content."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    for read in (load_image, image_size):
        with pytest.raises(
            ValueError, match=f"image {path} cannot be decoded: its format is {kind}, .* another program; convert it to PNG"
        ):
            read(path)
        with pytest.raises(ValueError, match=f"its format is {kind}"):
            read(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated(file: Any, kind: str) -> None:
    content = encoded(PICTURE, kind)
    path = file(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"image {path} cannot be decoded: "):
        load_image(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", bytes(1000)], ids=["empty", "text", "signature", "zeros"])
def test_not_an_image(file: Any, content: Any) -> None:
    path = file(content)
    with pytest.raises(ValueError, match=f"{path} "):
        load_image(path)


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "AVIF", "DDS"]), data=st.data())
def test_damage_gives_a_picture_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, kind: Any, data: Any) -> None:
    content = bytearray(encoded(PICTURE, kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "image"
    path.write_bytes(content)
    try:
        assert load_image(path).shape[-1] == 3
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017


@pytest.mark.parametrize("side", [12_000, 100_000], ids=["above our limit", "above Pillow's"])
def test_enormous(file: Any, side: int) -> None:
    path = file(promise(side, side))
    with pytest.raises(ValueError, match=f"image {path} is too large: .*; scale it down first"):
        load_image(path)


def test_max_pixels(file: Any) -> None:
    path = file(Image.fromarray(PICTURE))
    assert load_image(path, max_pixels=48 * 64).shape == PICTURE.shape
    with pytest.raises(ValueError, match="64x48 pixels are more than max_pixels=3071"):
        load_image(path, max_pixels=48 * 64 - 1)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_fixed_range(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=f"no fixed range .*mode {mode}.*; convert it"):
        load_image(tmp_path / "a.tiff")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no image file {tmp_path / 'a.png'}"):
        load_image(tmp_path / "a.png")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no image file {tmp_path}"):
        load_image(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("upright", [True, False])
def test_the_size_is_that_of_the_loaded_image(tmp_path: Path, kind: str, orientation: int, upright: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PICTURE).save(tmp_path / "image", kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}))
    expected = load_image(tmp_path / "image", upright=upright).shape[:2]
    assert image_size(tmp_path / "image", upright=upright) == expected
    assert image_size(io.BytesIO((tmp_path / "image").read_bytes()), upright=upright) == expected


def test_the_size_needs_no_pixels(file: Any) -> None:
    assert image_size(file(promise(400, 300))) == (300, 400)


def test_the_size_of_a_file_that_is_no_image(file: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no image file {tmp_path / 'missing'}"):
        image_size(tmp_path / "missing")
    for content in (b"", b"text", encoded(PICTURE, "PNG")[:20]):
        path = file(content)
        with pytest.raises(ValueError, match=str(path)):
            image_size(path)
    with pytest.raises(ValueError, match="is too large"):
        image_size(file(promise(100_000, 100_000)))
