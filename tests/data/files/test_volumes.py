"""Volumes in NIfTI and DICOM files: their values, the order of their slices, their axes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from extremal_jax.data import load_volume

VOLUME = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)  # (depth, height, width)
SERIES = generate_uid(entropy_srcs=["the first series"])


def nifti(path: Path, values: np.ndarray, axes: str = "LPS") -> Path:
    """A file whose axes run towards these sides of the patient, first width, then height, then depth."""
    towards = nibabel.orientations.axcodes2ornt(axes)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (row, sign) in enumerate(towards):
        affine[int(row), column] = sign * (column + 1)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def dicom(path: Path, pixels: np.ndarray, series: str = SERIES, **elements: Any) -> Path:
    """A DICOM file of one slice (H, W), or of frames (T, H, W), of 16 bits."""
    one = pydicom.Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    one.SeriesInstanceUID = series
    one.Rows, one.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        one.NumberOfFrames = len(pixels)
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.PixelData = pixels.astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(one, name, value)
    one.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.NII.gz"])
def test_nifti(tmp_path: Path, name: str) -> None:
    values = load_volume(nifti(tmp_path / name, VOLUME.T))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, VOLUME)


@pytest.mark.parametrize(("axes", "order"), [("RAS", VOLUME[:, ::-1, ::-1].T), ("SPL", VOLUME.transpose(0, 1, 2))])
def test_nifti_files_are_turned_like_axial_slices(tmp_path: Path, axes: str, order: np.ndarray) -> None:
    np.testing.assert_array_equal(load_volume(nifti(tmp_path / "a.nii", order, axes)), VOLUME)


def test_nifti_with_channels_and_with_one(tmp_path: Path) -> None:
    two = np.stack([VOLUME, -VOLUME], axis=-1)
    np.testing.assert_array_equal(load_volume(nifti(tmp_path / "two.nii", two.swapaxes(0, 2))), two)
    np.testing.assert_array_equal(load_volume(nifti(tmp_path / "one.nii", VOLUME.T[..., None])), VOLUME)


def test_slices_are_sorted_by_position_and_have_the_units_of_the_file(tmp_path: Path) -> None:
    """The files are named against the order of positions, and stand beside a file of another kind."""
    for index, name in enumerate(("c", "a", "b")):
        place: dict[str, Any] = dict(ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 5 * index])
        dicom(tmp_path / name, np.full((4, 5), index), InstanceNumber=9 - index, RescaleSlope=2, RescaleIntercept=-1000, **place)
    (tmp_path / "notes.txt").write_text("no slice")
    values = load_volume(tmp_path)
    assert values.shape == (3, 4, 5)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values[:, 0, 0], [-1000, -998, -996])


@pytest.mark.parametrize("first", [0, 1])
def test_slices_without_a_position_are_sorted_by_number(tmp_path: Path, first: int) -> None:
    for index, name in enumerate(("c", "a", "b")):
        dicom(tmp_path / name, np.full((4, 5), index), InstanceNumber=first + index)
    np.testing.assert_array_equal(load_volume(tmp_path)[:, 0, 0], [0, 1, 2])


PLACE: dict[str, Any] = dict(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])


def test_slices_of_which_one_lacks_its_position_are_sorted_by_number(tmp_path: Path) -> None:
    """Millimetres and numbers are not one order."""
    for index, z in enumerate((100, None, 102)):
        place = {} if z is None else PLACE | dict(ImagePositionPatient=[0, 0, z])
        dicom(tmp_path / f"{2 - index}", np.full((4, 5), index), InstanceNumber=index + 1, **place)
    np.testing.assert_array_equal(load_volume(tmp_path)[:, 0, 0], [0, 1, 2])


def in_part(folder: Path) -> Path:
    """Two slices, one of which says where it lies."""
    dicom(folder / "a", np.zeros((4, 5)), **PLACE, ImagePositionPatient=[0, 0, 1])
    dicom(folder / "b", np.zeros((4, 5)))
    return folder


def cut(path: Path) -> Path:
    """A file that ends amid its elements."""
    dicom(path, VOLUME[0])
    path.write_bytes(path.read_bytes()[:400])
    return path


def test_a_slice_and_a_file_of_frames(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load_volume(dicom(tmp_path / "slice.dcm", VOLUME[0])), VOLUME[:1])
    np.testing.assert_array_equal(load_volume(dicom(tmp_path / "frames.dcm", VOLUME)), VOLUME)


def write_two(folder: Path, second: np.ndarray, series: str = SERIES) -> Path:
    dicom(folder / "a", np.zeros((4, 5)))
    dicom(folder / "b", second, series)
    return folder


def broken(path: Path) -> Path:
    path.write_bytes(b"no volume")
    return path


def enhanced(path: Path) -> Path:
    """One whose frames have slopes of their own."""
    frames = []
    for slope in (1, 2):
        frame, units = pydicom.Dataset(), pydicom.Dataset()
        units.RescaleSlope, units.RescaleIntercept = slope, 0
        frame.PixelValueTransformationSequence = [units]
        frames.append(frame)
    return dicom(path, VOLUME, PerFrameFunctionalGroupsSequence=frames)


def without_pixels(path: Path) -> Path:
    dicom(path, VOLUME[0])
    one = pydicom.dcmread(path)
    del one.PixelData
    one.save_as(path)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "no DICOM files in the folder"),
        (lambda folder: broken(folder / "a.nii"), r"a.nii cannot be read as a NIfTI volume"),
        (lambda folder: broken(folder / "a.dcm"), r"a.dcm is neither a DICOM nor a NIfTI file"),
        (lambda folder: nifti(folder / "a.nii", np.ones((2, 3, 4, 2, 2))), r"three axes, or four with channels, got .*\(2, 3, 4, 2, 2\)"),
        (lambda folder: write_two(folder, np.zeros((4, 5)), generate_uid()), "holds slices of 2 DICOM series"),
        (lambda folder: write_two(folder, np.zeros((3, 5))), r"of one shape, got \(1, 3, 5\), \(1, 4, 5\)"),
        (lambda folder: write_two(folder, np.zeros((2, 4, 5))), r"must hold one slice each"),
        (
            lambda folder: enhanced(folder / "a.dcm"),
            r"a.dcm is an enhanced DICOM file, .* convert it to NIfTI or to one file for each slice",
        ),
        (lambda folder: nifti(folder / "a.nii", VOLUME.T.astype(np.complex64)), "a.nii cannot be read .* it holds complex numbers"),
        (in_part, "must all have a position, or all a number in the series, to be put in order"),
        (lambda folder: cut(folder / "a.dcm"), r"a.dcm"),
        (lambda folder: without_pixels(folder / "a.dcm"), r"the pixels of .*a.dcm cannot be read"),
    ],
)
def test_files_that_hold_no_volume(tmp_path: Path, make: Any, message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_volume(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*a.nii"):
        load_volume(tmp_path / "a.nii")
