"""Bones to mesh: label maps made from real scans, and phantoms with lesions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from bonekit.image import Grid, LabelMap, read, read_labels
from bonekit.phantom import (
    FemurParameters,
    LesionParameters,
    VertebraParameters,
    femur_phantom,
    vertebra_phantom,
)
from bonekit.segmentation.base import REGIONS
from bonekit.segmentation.baseline import from_labels, segment

Case = Callable[[Path], LabelMap]
PARTS = ("cortex", "trabecular", "lesion", "body", "posterior", "bone", "cap", "left", "right")


def sts(name: str) -> Case:
    """Femur of a clinical scan, by the built-in segmentation."""

    def load(data: Path) -> LabelMap:
        ct = read(data / "ct-femur" / f"{name}_CT.nii.gz").canonical()
        return segment(ct, "femur_right").labels

    return load


def l3(data: Path) -> LabelMap:
    """L3 with cortex and trabecular bone."""
    folder = data / "ct-vertebra"
    ct = read(folder / "sub-ct_label-22_ct.nii.gz").canonical()
    vertebrae = read_labels(folder / "sub-ct_seg-vert_label-22_msk.nii.gz")
    return from_labels(ct, vertebrae, "vertebra_L3", 22).labels


def l3_parts(data: Path) -> LabelMap:
    """L3 with its body and its posterior elements."""
    folder = data / "ct-vertebra"
    parts = read_labels(folder / "sub-ct_seg-subreg_label-22_msk.nii.gz")
    whole = read_labels(folder / "sub-ct_seg-vert_label-22_msk.nii.gz").array == 22
    array = np.where(np.isin(parts.array, (49, 50)), 1, 2) * (whole & (parts.array > 0))
    return LabelMap(array.astype(np.uint8), parts.grid, {1: "body", 2: "posterior"})


def l4_parts(data: Path) -> LabelMap:
    """L4 of a density map, body and posterior elements; arrays are z, y, x."""
    folder = data / "fe-vertebra"
    with np.load(next(folder.glob("labels*.npz"))) as stored:
        array = stored[stored.files[0]].transpose(2, 1, 0)
    fixture = json.loads((folder / "fixture.json").read_text())
    grid = Grid.of(array.shape, fixture["grid"]["spacing_xyz"])
    labels = np.select([array == 20, array == 48], [1, 2], 0)
    return LabelMap(labels.astype(np.uint8), grid, {1: "body", 2: "posterior"})


def pelvic(number: str, value: int) -> Case:
    """One bone of a manual label map of the pelvis: 1 pelvis, 2 femur, 3 sacrum."""

    def load(data: Path) -> LabelMap:
        labels = read_labels(data / "pelvis-muscle-labels" / f"Pelvic-Ref-{number}" / "label.mhd")
        return LabelMap((labels.array == value).astype(np.uint8), labels.grid, {1: "bone"})

    return load


def femur_lesion(data: Path) -> LabelMap:
    """Phantom femur with a lytic lesion that breaks the cortex."""
    return femur_phantom(
        FemurParameters(), LesionParameters(site="intertrochanteric", radii_mm=(12, 12, 12))
    ).labels


def femur_neck(data: Path) -> LabelMap:
    """Phantom femur with a lesion of the neck inside the cortex."""
    lesion = LesionParameters(site="neck", breaks_cortex=False)
    return femur_phantom(FemurParameters(), lesion).labels


def femur_two(data: Path) -> LabelMap:
    """Phantom femur with two lesions that touch, and a cap of cement on the head."""
    made = femur_phantom(FemurParameters(), LesionParameters(site="neck")).labels
    array = made.array.copy()
    points = made.grid.points()
    centre = points[array == 3].mean(axis=0)
    inside = np.isin(array, (1, 2, 3))
    second = np.linalg.norm(points - centre - (0, 0, 10.0), axis=-1) < 8
    array[second & inside & (array != 3)] = 4
    top = points[inside][:, 2].max()
    about = ndimage.binary_dilation(inside, iterations=4) & ~inside
    array[about & (points[..., 2] > top - 12)] = 5
    return LabelMap(array, made.grid, dict(REGIONS) | {4: "right", 5: "cap"})


def vertebra_lesion(data: Path) -> LabelMap:
    """Phantom vertebra with a lesion that breaks out of the body behind."""
    return vertebra_phantom(
        VertebraParameters(), LesionParameters(site="body_posterior", radii_mm=(9, 9, 9))
    ).labels


CASES: dict[str, tuple[Case, float]] = {
    "femur STS_040": (sts("STS_040"), 4.0),
    "femur STS_015": (sts("STS_015"), 4.0),
    "L3 cortex": (l3, 3.0),
    "L3 body and arch": (l3_parts, 3.0),
    "L4 body and arch": (l4_parts, 3.0),
    "pelvis 001": (pelvic("001", 1), 4.0),
    "femur 001": (pelvic("001", 2), 4.0),
    "sacrum 001": (pelvic("001", 3), 4.0),
    "pelvis 004": (pelvic("004", 1), 4.0),
    "phantom femur, lesion": (femur_lesion, 4.0),
    "phantom femur, neck": (femur_neck, 4.0),
    "phantom femur, two lesions, cap": (femur_two, 4.0),
    "phantom vertebra, lesion": (vertebra_lesion, 3.0),
}
