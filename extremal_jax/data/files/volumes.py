"""Volumes in NIfTI and DICOM files, through nibabel and pydicom."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from extremal_jax.data.files.extras import imported
from extremal_jax.ground.files import as_path

SUFFIXES = (".nii", ".nii.gz", ".dcm")


def load_volume(path: str | os.PathLike[str]) -> Float32[np.ndarray, "D H W *channels"]:
    """Read a volume from a NIfTI or DICOM file, or from a folder of DICOM slices. It needs the extra `medical`.

    Args:
      path: a .nii or .nii.gz file; or a DICOM file; or a folder of the slices of one DICOM series, which are sorted by their
        positions.

    Returns:
      (D, H, W) or (D, H, W, C) float32, in the units of the file, such as Hounsfield's. The axes of NIfTI files run as in axial
      DICOM slices: from the feet to the head, from the front to the back, and from the patient's right to the left. DICOM slices
      stay as they are.

    Raises:
      ImportError: if the extra `medical` is not installed.
      FileNotFoundError: if there is no such file or folder.
      ValueError: if it is no volume, or the slices do not belong together, or the frames of an enhanced DICOM file have units and
        positions of their own.

    Example:
      >>> load_volume("scan.nii")
      Traceback (most recent call last):
      FileNotFoundError: no file or folder scan.nii
    """
    path = as_path(path)
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {path}")
    if path.is_file() and path.name.lower().endswith((".nii", ".nii.gz")):
        return _nifti(path)
    return _dicom(path)


def _nifti(path: Path) -> np.ndarray:
    nibabel: Any = imported("nibabel", "medical", path)
    try:
        image = nibabel.load(path)
        if image.get_data_dtype().kind == "c":
            raise ValueError("it holds complex numbers; save their size or their real part")
        towards = nibabel.orientations.axcodes2ornt("LPS")
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), towards))
        values = turned.get_fdata(dtype=np.float32)
    except Exception as error:  # a broken file fails in many ways
        raise ValueError(f"{path} cannot be read as a NIfTI volume: {error}") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (3, 4) or values.size == 0:
        raise ValueError(f"{path} must hold a volume of three axes, or four with channels, got the shape {values.shape}")
    return np.ascontiguousarray(values.swapaxes(0, 2))


def _dicom(path: Path) -> np.ndarray:
    pydicom: Any = imported("pydicom", "medical", path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.is_file() and pydicom.misc.is_dicom(file)]
    if not files:
        raise ValueError(f"no DICOM files in the folder {path}" if path.is_dir() else f"{path} is neither a DICOM nor a NIfTI file")
    slices = [_slice(pydicom, file) for file in files]
    if len(series := {str(getattr(one, "SeriesInstanceUID", "")) for one in slices}) > 1:
        raise ValueError(f"the folder {path} holds slices of {len(series)} DICOM series; give one of a single series")
    values = [_values(pydicom, one, file) for one, file in zip(slices, files, strict=True)]
    if len(values) == 1:
        return values[0]
    if len(shapes := {value.shape for value in values}) > 1 or len(values[0]) > 1:
        raise ValueError(f"the DICOM files in {path} must hold one slice each, of one shape, got {', '.join(map(str, sorted(shapes)))}")
    return np.concatenate([values[index] for index in _order(slices, path)])


def _slice(pydicom: Any, file: Path) -> Any:
    try:
        found = pydicom.dcmread(file)
        str(getattr(found, "SeriesInstanceUID", ""))  # values are parsed when they are asked for
    except Exception as error:  # a broken file fails in many ways
        raise ValueError(f"{file} cannot be read as a DICOM file: {error}") from error
    return found


def _values(pydicom: Any, one: Any, file: Path) -> np.ndarray:
    """(frames, rows, columns) or (frames, rows, columns, samples) float32, in the units of the modality."""
    if "PerFrameFunctionalGroupsSequence" in one:
        raise ValueError(
            f"{file} is an enhanced DICOM file, whose frames have units and positions of their own, which are not read; convert it to NIfTI"
            " or to one file for each slice"
        )
    try:
        values = np.asarray(pydicom.pixels.apply_modality_lut(one.pixel_array, one), np.float32)
    except Exception as error:  # no pixels, or a compression that no installed package knows
        raise ValueError(f"the pixels of {file} cannot be read: {error}") from error
    return values if int(getattr(one, "NumberOfFrames", None) or 1) > 1 else values[None]


def _order(slices: Sequence[Any], path: Path) -> Sequence[int]:
    """The order of slices: by their positions, or, where one lacks it, by their numbers in the series. Slices that have
    neither stay in the order of their files."""
    known = 0
    for key in (_position, _number):
        found = np.array([key(one) for one in slices])
        if np.isfinite(found).all():
            return np.argsort(found, kind="stable").tolist()
        known += int(np.isfinite(found).sum())
    if known:
        raise ValueError(f"the DICOM files in {path} must all have a position, or all a number in the series, to be put in order")
    return range(len(slices))


def _position(one: Any) -> float:
    """Where a slice lies along the normal of its plane; NaN if it does not say."""
    try:
        orientation = np.array(one.ImageOrientationPatient, float)
        return float(np.cross(orientation[:3], orientation[3:]) @ np.array(one.ImagePositionPatient, float))
    except (AttributeError, TypeError, ValueError):
        return np.nan


def _number(one: Any) -> float:
    """The number of a slice in its series; NaN if it does not say."""
    number = getattr(one, "InstanceNumber", None)
    return np.nan if number is None else float(number)
