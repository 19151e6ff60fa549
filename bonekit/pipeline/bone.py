"""The bone in the scan: segmented here, or taken from a label map made elsewhere."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonekit.case import Case
from bonekit.errors import InputError
from bonekit.image import ScanInfo, read, read_labels, scan_info
from bonekit.image.volume import Grid, Image
from bonekit.segmentation.base import Segmentation
from bonekit.segmentation.baseline import from_labels, segment

MARGIN_MM = 30.0  # of scan kept round the bone: what the pictures show


class Scan:
    """A scan on disk, read once and only if a stage needs it."""

    def __init__(self, path: Path, series_uid: str | None) -> None:
        self.path, self.series_uid = path, series_uid

    @cached_property
    def ct(self) -> Image:
        """HU on canonical axes."""
        return read(self.path, self.series_uid).canonical()

    @cached_property
    def info(self) -> ScanInfo:
        """How it was scanned."""
        return scan_info(self.path, self.series_uid)


def bone_in(ct: Image, case: Case) -> Segmentation:
    """Segment by the built-in method, or take the label map that was given."""
    wanted = case.segmentation
    lesion = None if wanted.lesions is None else _mask_on(ct.grid, Path(wanted.lesions))
    if wanted.labels is None:
        return segment(
            ct,
            case.bone,
            lesion=lesion,
            seed_mm=wanted.seed_mm,
            allow_metal=wanted.allow_metal,
        )
    if case.bone is None:
        raise InputError("a label map was given: name the bone too (--bone)")
    labels = read_labels(wanted.labels)
    return from_labels(
        ct, labels, case.bone, wanted.label, lesion=lesion, allow_metal=wanted.allow_metal
    )


def _mask_on(grid: Grid, path: Path) -> NDArray[np.bool_]:
    mask = np.asarray(read_labels(path).resample(grid).array > 0)
    if not mask.any():
        raise InputError("the lesion mask is empty on this scan: is it of the same patient?")
    return mask


def around(found: Segmentation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Index box of the bone with a margin: (low, high)."""
    index = np.argwhere(found.bone_mask)
    margin = np.ceil(MARGIN_MM / found.labels.spacing_mm)
    return index.min(axis=0) - margin, index.max(axis=0) + margin + 1
