"""DICOM SEG, the form in which a picture archive takes a segmentation (extra ``dicom-seg``)."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bonekit.errors import InputError
from bonekit.image.dicom import grid_of_series
from bonekit.image.files import existing
from bonekit.image.series import choose, scan
from bonekit.image.slicer import PALETTE
from bonekit.image.volume import Grid, LabelMap
from bonekit.image.writing import new_uid, replacing

logger = logging.getLogger(__name__)

Code = tuple[str, str, str]
_ANATOMY: Code = ("91723000", "SCT", "Anatomical Structure")
_ABNORMAL: Code = ("49755003", "SCT", "Morphologically Altered Structure")
_CODES: dict[str, tuple[Code, Code]] = {
    "lesion": (_ABNORMAL, ("4147007", "SCT", "Mass")),
    "cortex": (_ANATOMY, ("272673000", "SCT", "Bone")),
    "trabecular": (_ANATOMY, ("272673000", "SCT", "Bone")),
    "other_bone": (_ANATOMY, ("272673000", "SCT", "Bone")),
}
_OTHER = (("85756007", "SCT", "Tissue"), ("85756007", "SCT", "Tissue"))


def write_dicom_seg(
    labels: LabelMap,
    source: str | Path,
    path: str | Path,
    series_uid: str | None = None,
) -> None:
    """Write labels as a DICOM SEG file that refers to the CT they were made on.

    The file carries the patient and study of that CT, as DICOM requires: treat it as the CT itself.

    Parameters
    ----------
    labels : LabelMap
        On the grid of the CT, in any order and sense of its axes. Segments are numbered 1, 2, ...
        in the order of the label values; names and colours go along.
    source : str or Path
        The folder of the CT's slices.
    path : str or Path
        The file to write, ``.dcm``.
    series_uid : str, optional
        Which series of the folder; without it the one with most slices.

    Raises
    ------
    InputError
        If the extra is not installed, there is no label, or the grids differ.
    """
    highdicom = _highdicom()
    import pydicom

    headers, grid = grid_of_series(choose(scan(existing(source)), series_uid))
    values = [int(value) for value in np.unique(labels.array) if value]
    if not values:
        raise InputError("the label map is empty: DICOM SEG needs at least one segment")
    placed = _on_grid(labels, grid)
    numbered = (np.searchsorted(values, placed.array) + 1) * (placed.array > 0)
    segmentation = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(h.file, stop_before_pixels=True) for h in headers],
        pixel_array=np.ascontiguousarray(numbered.astype(np.uint16).transpose(2, 1, 0)),
        segmentation_type="BINARY",
        segment_descriptions=[_describe(highdicom, labels, n, v) for n, v in enumerate(values, 1)],
        series_instance_uid=new_uid(),
        series_number=1000,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer="bonekit",
        manufacturer_model_name="bonekit",
        software_versions=_version(),
        device_serial_number="0",
    )
    with replacing(Path(path)) as temporary:
        segmentation.save_as(temporary)


def read_dicom_seg(path: Path) -> LabelMap:
    """Read a DICOM SEG file; label values are its segment numbers.

    Raises
    ------
    InputError
        If the extra is not installed, the file is no DICOM SEG, or segments overlap.
    """
    highdicom = _highdicom()
    from pydicom.errors import InvalidDicomError

    try:
        segmentation = highdicom.seg.segread(path)
        volume = segmentation.get_volume(combine_segments=True)
    except (InvalidDicomError, ValueError, RuntimeError, EOFError) as error:
        raise InputError(f"{path} can't be read as a DICOM SEG label map: {error}") from error
    affine = np.eye(4)
    affine[:3, :3] = volume.affine[:3, 2::-1]  # frames, rows, columns -> columns, rows, frames
    affine[:3, 3] = volume.affine[:3, 3]
    array = np.ascontiguousarray(volume.array.transpose(2, 1, 0))
    names, colours = {}, {}
    for number in segmentation.segment_numbers:
        description = segmentation.get_segment_description(number)
        names[int(number)] = str(description.segment_label)
        if "RecommendedDisplayCIELabValue" in description:
            lab = highdicom.color.CIELabColor.from_dicom_value(
                list(description.RecommendedDisplayCIELabValue)
            )
            red, green, blue = (int(c) for c in lab.to_rgb())
            colours[int(number)] = (red, green, blue)
    return LabelMap(array, Grid(array.shape, affine), names, colours)


def _highdicom() -> ModuleType:
    try:
        import highdicom
        import highdicom.seg
    except ImportError as error:
        raise InputError(
            "DICOM SEG needs highdicom, which is not installed: pip install bonekit[dicom-seg]"
        ) from error
    return highdicom


def _version() -> str:
    from bonekit import __version__

    return __version__


def _on_grid(labels: LabelMap, grid: Grid) -> LabelMap:
    """Permute and flip the labels' axes to those of the series; interpolate nothing."""
    series = LabelMap(np.zeros(grid.shape, np.uint8), grid).canonical().grid
    if not labels.canonical().grid.same_as(series, tolerance_mm=0.01):
        raise InputError(
            f"the labels ({labels.shape} voxels of {np.round(labels.spacing_mm, 4).tolist()} mm) "
            f"are not on the grid of the CT ({grid.shape} voxels of "
            f"{np.round(grid.spacing_mm, 4).tolist()} mm). Use labels.resample(ct.grid)"
        )
    return labels.resample(grid)


def _describe(highdicom: ModuleType, labels: LabelMap, number: int, value: int) -> Any:
    name = labels.names.get(value, f"label_{value}")
    category, kind = _CODES.get(name, _OTHER)
    colour = labels.colours.get(value, PALETTE[(value - 1) % len(PALETTE)])
    concept = highdicom.sr.CodedConcept
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=concept(*category),
        segmented_property_type=concept(*kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="bonekit",
            version=_version(),
            family=concept("123104", "DCM", "Morphological Operations"),
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*colour),
    )
