"""One bone out of a CT, by the built-in method or from a label map made elsewhere."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy, vertebra_anatomy
from bonekit.errors import InputError
from bonekit.image.check import check_hu
from bonekit.image.volume import Grid, Image, LabelMap
from bonekit.segmentation.base import BONE_REGIONS, BONES, Finding, Segmentation, Segmenter
from bonekit.segmentation.femur import (
    FemurMask,
    anatomy_of,
    femur_of_mask,
    largest,
    segment_femora,
)
from bonekit.segmentation.quality import (
    METAL_ML,
    Quality,
    check_femur,
    check_head,
    check_heads,
    check_metal,
    check_pieces,
)
from bonekit.segmentation.regions import METAL_HU, label_regions
from bonekit.segmentation.vertebra import check_size, segment_vertebra_mask

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]
Side = Literal["left", "right"]
METHOD = "bonekit CT baseline 1 (thresholds, spheres and watersheds; no learning)"


def segment(
    ct: Image,
    bone: str | None = None,
    *,
    lesion: Mask | None = None,
    seed_mm: tuple[float, float, float] | None = None,
    allow_metal: bool = False,
) -> Segmentation:
    """Segment one bone of a CT with the built-in, deterministic method.

    Parameters
    ----------
    ct : Image
        In HU, canonical.
    bone : str, optional
        One of `BONES`. Without one, the only femur in view.
    lesion : ndarray of bool, (ni, nj, nk), optional
        What a reader drew as lesion; candidates are looked for otherwise.
    seed_mm : tuple of float, optional
        LPS point inside the wanted vertebra.
    allow_metal : bool
        Turn the error for metal into a warning.

    Returns
    -------
    Segmentation

    Raises
    ------
    InputError
        If the image is not a CT in HU, the bone is unknown or not in view, or several femora are
        in view and none was named.
    """
    check_hu(ct)
    check_name(bone)
    if bone is not None and bone.startswith("vertebra"):
        return _segment_vertebra(ct, bone, lesion, seed_mm, allow_metal)
    femur = _choose(segment_femora(ct), bone, ct)
    mask = _onto(ct.grid, femur.femur, femur.grid)
    other = _onto(ct.grid, femur.other, femur.grid)
    return _femur(ct, femur, mask, other, METHOD, lesion, allow_metal)


BASELINE: Segmenter = segment  # the type checker holds the method to the protocol


def from_labels(
    ct: Image,
    labels: LabelMap,
    bone: str,
    label: str | int | None = None,
    *,
    lesion: Mask | None = None,
    allow_metal: bool = False,
) -> Segmentation:
    """Take one bone from a label map made elsewhere.

    Parameters
    ----------
    ct : Image
        In HU, canonical.
    labels : LabelMap
        Any grid; it is brought onto the CT's.
    bone : str
        One of `BONES`.
    label : str or int, optional
        Name or value of the bone in `labels`. By default the name that TotalSegmentator gives it
        (``femur_left``, ``vertebrae_L3``), or bonekit's own; of a map with cortex and trabecular
        bone, such as bonekit writes, their outline and its lesions are taken.

    Raises
    ------
    InputError
        If the label is missing or empty, or lies outside the CT.
    """
    check_hu(ct)
    check_name(bone)
    if label is None and _is_own(labels):
        regions = [name for name in BONE_REGIONS if name in labels.names.values()]
        drawn, name = labels.mask(*regions), " + ".join(regions)
        if lesion is None and "lesion" in regions:
            lesion = _mask_on(ct, labels, labels.mask("lesion"))
    else:
        value = _label_value(labels, bone, label)
        drawn, name = labels.array == value, f"{value} ({labels.names.get(value, 'unnamed')})"
    full = _mask_on(ct, labels, drawn)
    if np.count_nonzero(full) * ct.grid.voxel_mm3 < 1000.0:
        raise InputError(
            f"label {name} has "
            f"{np.count_nonzero(full)} voxels on the CT: it is empty, or the label map lies "
            "elsewhere in the world. Check that both come from the same scan"
        )
    mask = largest(full)
    rest = labels.with_array((labels.array != 0).astype(np.uint8)).resample(ct.grid)
    other = (rest.array > 0) & ~mask & (ct.array > 150)
    method = "imported label map"
    pieces = check_pieces(full, ct.grid)
    if bone.startswith("vertebra"):
        found = _vertebra(ct, bone, mask, other, method, lesion, allow_metal, pieces)
        sizes = found.measures["volume_ml"], found.measures["body_height_mm"]
        odd = check_size(bone.removeprefix("vertebra_"), *sizes)
        return replace(found, findings=(*found.findings, *odd))
    pieces += check_heads(mask, ct.grid)
    femur = femur_of_mask(mask, ct.grid, cast(Side, bone.removeprefix("femur_")))
    return _femur(ct, femur, mask, other, method, lesion, allow_metal, pieces)


def _is_own(labels: LabelMap) -> bool:
    """Whether a map holds the regions of one bone, as bonekit writes them."""
    return {"cortex", "trabecular"} <= set(labels.names.values())


def _mask_on(ct: Image, labels: LabelMap, mask: Mask) -> Mask:
    """Bring a mask of a label map onto the CT's grid."""
    inside = labels.with_array(mask.astype(np.uint8)).resample(ct.grid)
    return np.asarray(inside.array > 0)


def check_name(bone: str | None) -> None:
    """Refuse a bone that bonekit does not know."""
    if bone is not None and bone not in BONES:
        raise InputError(
            f"bone {bone!r} is unknown; allowed: femur_left, femur_right, "
            "vertebra_T1 to vertebra_T12, vertebra_L1 to vertebra_L5"
        )


def _choose(found: list[FemurMask], bone: str | None, ct: Image) -> FemurMask:
    names = {f"femur_{femur.side}": femur for femur in found}
    if bone is None and len(names) == 1:
        return next(iter(names.values()))
    if bone is None and names:
        raise InputError(
            f"several bones are in view: {', '.join(sorted(names))}; name one (--bone)"
        )
    if bone in names:
        return names[bone]
    metal_ml = float(np.count_nonzero(ct.array > METAL_HU) * ct.grid.voxel_mm3 / 1000.0)
    hint = (
        f"The scan holds {metal_ml:.1f} ml of metal (above {METAL_HU:.0f} HU): a prosthesis or "
        "nail hides the head. "
        if metal_ml > METAL_ML
        else ""
    )
    raise InputError(
        f"no {bone or 'femur'} with a femoral head was found; in view: "
        f"{', '.join(sorted(names)) or 'no femoral head'}. {hint}Check side and field of view, "
        "or give a label map made elsewhere (--labels)"
    )


def _onto(grid: Grid, mask: Mask, of: Grid) -> Mask:
    """Bring a mask onto another grid, by half of the interpolated fraction."""
    moved = Image(mask.astype(np.float32), of).resample(grid)
    return np.asarray(moved.array >= 0.5)


def _femur(
    ct: Image,
    femur: FemurMask,
    mask: Mask,
    other: Mask,
    method: str,
    lesion: Mask | None,
    allow_metal: bool,
    before: list[Finding] | None = None,
) -> Segmentation:
    anatomy = anatomy_of(femur, ct.grid)
    quality = check_femur(mask, ct.grid, anatomy)
    findings = [
        *(before or []),
        *check_metal(ct, mask, allow_metal),
        *_check_side(anatomy),
        *quality.findings,
        *check_head(femur.roundness),
    ]
    labels = label_regions(ct, mask, other, lesion)
    return _finished(
        ct, f"femur_{femur.side}", labels, anatomy, findings, quality, method, lesion is not None
    )


def _check_side(anatomy: FemurAnatomy) -> list[Finding]:
    """Find a head that is not medial: on the patient's left of a right femur's shaft."""
    medial_x = float(anatomy.medial[0]) * (1.0 if anatomy.side == "right" else -1.0)
    if anatomy.shaft_length_mm == 0 or medial_x > 0:
        return []
    text = (
        f"the head points away from the middle of the body for a {anatomy.side} femur: the side is "
        "wrong, or the image is mirrored"
    )
    return [Finding("error", "side", text)]


def _segment_vertebra(
    ct: Image,
    bone: str,
    lesion: Mask | None,
    seed_mm: tuple[float, float, float] | None,
    allow_metal: bool,
) -> Segmentation:
    level = bone.removeprefix("vertebra_")
    mask, findings, _, other = segment_vertebra_mask(ct, level, seed_mm=seed_mm)
    errors = [f.message for f in findings if f.severity == "error"]
    if errors:  # without whole endplates there is no anatomy to go on with
        raise InputError(f"{bone}: {'; '.join(errors)}")
    return _vertebra(ct, bone, mask, other, METHOD, lesion, allow_metal, list(findings))


def _vertebra(
    ct: Image,
    bone: str,
    mask: Mask,
    other: Mask,
    method: str,
    lesion: Mask | None,
    allow_metal: bool,
    before: list[Finding],
) -> Segmentation:
    anatomy: VertebraAnatomy = vertebra_anatomy(mask, ct.grid)
    findings = [*before, *check_metal(ct, mask, allow_metal)]
    measures = {
        "volume_ml": float(np.count_nonzero(mask) * ct.grid.voxel_mm3 / 1000.0),
        "body_height_mm": anatomy.height_mm,
        "body_depth_mm": anatomy.depth_mm,
        "body_width_mm": anatomy.width_mm,
    }
    labels = label_regions(ct, mask, other, lesion)
    quality = Quality((), measures)
    return _finished(ct, bone, labels, anatomy, findings, quality, method, lesion is not None)


def _finished(
    ct: Image,
    bone: str,
    labels: LabelMap,
    anatomy: FemurAnatomy | VertebraAnatomy,
    findings: list[Finding],
    quality: Quality,
    method: str,
    drawn: bool,
) -> Segmentation:
    lesion_ml = float(np.count_nonzero(labels.mask("lesion")) * ct.grid.voxel_mm3 / 1000.0)
    if lesion_ml > 0 and not drawn:
        text = (
            f"{lesion_ml:.1f} ml look like a lesion by density and shape alone: a candidate for a "
            "reader to confirm"
        )
        findings = [*findings, Finding("note", "lesion-candidate", text)]
    measures = {**quality.measures, "lesion_ml": lesion_ml}
    for finding in findings:
        log.info("%s: %s %s", finding.severity, finding.code, finding.message)
    return Segmentation(bone, labels, anatomy, tuple(findings), measures, method)


def _label_value(labels: LabelMap, bone: str, label: str | int | None) -> int:
    """Value of a bone in a label map: given, or by the names in use."""
    if isinstance(label, int) or (isinstance(label, str) and label.isdigit()):
        return int(label)
    if label is not None:
        return labels.label(label)
    names = (bone, bone.replace("vertebra_", "vertebrae_"), bone.removeprefix("vertebra_"))
    usual = tuple(dict.fromkeys(names))
    for name in usual:
        if name in labels.names.values():
            return labels.label(name)
    if not labels.names and set(np.unique(labels.array)) <= {0, 1}:
        return 1
    present = ", ".join(f"{v} {n}" for v, n in sorted(labels.names.items())) or "no names"
    raise InputError(
        f"no label of the map is named like {bone} ({', '.join(usual)}); present: {present}. "
        "Name it or its value (--label)"
    )
