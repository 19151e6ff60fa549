"""What the landmarks of a segmented bone say about it: side, posture, crushed bodies, lesions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy, side_of
from bonekit.anatomy.given import with_landmarks
from bonekit.anatomy.landmark import Landmark
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.image.volume import Grid
from bonekit.segmentation.base import Finding, Segmentation

Float = NDArray[np.float64]

NEAR_MM = 10.0  # of a landmark, where a lesion makes it less sure
TAKEN = 0.05  # of the bone there, from which on it is said
UNSURE = 0.5  # confidence below which a landmark is named in a warning
WRONG_SIDE = 0.8  # sureness of the side by shape from which on another side is an error
MAYBE_WRONG_SIDE = 0.5
# Loss of height of a vertebral body by which a fracture is graded 1, 2, 3: Genant et al. 1993,
# J Bone Miner Res 8:1137 (unverified: quoted from memory). There the reader compares with what
# the height should be; here with the rear of the same body, or the rear with its front.
GENANT = ((0.40, 3, "severe"), (0.25, 2, "moderate"), (0.20, 1, "mild"))
REAR_ALLOWED = 0.20  # lower behind than in front, as healthy lower lumbar bodies are
ARCH_BEHIND = 0.5  # cosine between a vertebra's back and the patient's


def described(
    found: Segmentation, given: Mapping[str, Sequence[float]], field: Grid
) -> Segmentation:
    """Take over a user's landmarks, weigh all by the lesions, and say what they show.

    Parameters
    ----------
    found : Segmentation
    given : mapping of str to (x, y, z)
        See `with_landmarks`.
    field : Grid
        Of the scan.

    Raises
    ------
    InputError
        See `with_landmarks`.
    """
    anatomy = with_landmarks(found.anatomy, given, field)
    anatomy = replace(anatomy, landmarks=_weighed(anatomy.landmarks, found))
    if isinstance(anatomy, VertebraAnatomy):
        anatomy = replace(anatomy, level=found.bone.removeprefix("vertebra_"))
    findings = (*found.findings, *findings_of(anatomy))
    measures = {**found.measures, **_measures(anatomy)}
    return replace(found, anatomy=anatomy, findings=findings, measures=measures)


def findings_of(anatomy: FemurAnatomy | VertebraAnatomy) -> tuple[Finding, ...]:
    """Find fault with a bone by its landmarks."""
    if isinstance(anatomy, FemurAnatomy):
        return (*_side(anatomy), *_missing(anatomy), *_unsure(anatomy.landmarks))
    return (*_back(anatomy), *_crushed(anatomy), *_unsure(anatomy.landmarks))


def _measures(anatomy: FemurAnatomy | VertebraAnatomy) -> dict[str, float]:
    if isinstance(anatomy, FemurAnatomy):
        angles = {f"{angle.name}_deg": angle.value_deg for angle in anatomy.angles}
        return {name: value for name, value in angles.items() if value is not None}
    heights = anatomy.heights_mm
    names = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm")
    measured = {} if heights is None else dict(zip(names, heights, strict=True))
    return {**measured, "wedge_deg": anatomy.wedge_deg}


def _weighed(marks: tuple[Landmark, ...], found: Segmentation) -> tuple[Landmark, ...]:
    """Lower the confidence of what lies at a lesion by the share of bone that it takes there."""
    lesion = found.labels.mask("lesion")
    if not lesion.any():
        return marks
    grid = found.labels.grid
    index = np.argwhere(found.bone_mask)
    points, taken = grid.world(index), lesion[tuple(index.T)]
    return tuple(_at_lesion(mark, points, taken) for mark in marks)


def _at_lesion(mark: Landmark, points: Float, taken: NDArray[np.bool_]) -> Landmark:
    if mark.point_mm is None or mark.given:
        return mark
    near = np.linalg.norm(points - mark.point_mm, axis=1) < NEAR_MM
    share = float(taken[near].mean()) if near.any() else 0.0
    if share < TAKEN:
        return mark
    note = f"{mark.note}; a lesion takes {share:.0%} of the bone within {NEAR_MM:.0f} mm"
    return replace(mark, confidence=mark.confidence * (1.0 - share), note=note)


def _side(femur: FemurAnatomy) -> Iterator[Finding]:
    told, sure = side_of(femur)
    if told is None or told == femur.side or sure < MAYBE_WRONG_SIDE:
        return
    text = (
        f"by its shape this is a {told} femur, given as {femur.side}: the side is wrong, or the "
        "image is mirrored"
    )
    yield Finding("error" if sure >= WRONG_SIDE else "warning", "side-by-shape", text)


def _missing(femur: FemurAnatomy) -> Iterator[Finding]:
    if femur.shaft_error_deg is None:  # said already, of the shaft
        return
    for name in ("greater_trochanter", "lesser_trochanter"):
        if femur.landmark_mm(name) is None:
            words = name.replace("_", " ")
            text = f"the {words} was not found: {femur.landmark(name).note}"
            yield Finding("warning", "landmark-missing", text)


def _unsure(marks: tuple[Landmark, ...]) -> Iterator[Finding]:
    weak = [m for m in marks if m.point_mm is not None and m.confidence < UNSURE]
    if weak:
        names = ", ".join(f"{m.name.replace('_', ' ')} ({m.confidence:.0%})" for m in weak)
        text = (
            f"landmarks that are not sure: {names}. Look at the picture, and give their places "
            "in the case file (anatomy: landmarks_mm) if they are wrong"
        )
        yield Finding("warning", "landmark-unsure", text)


def _back(vertebra: VertebraAnatomy) -> Iterator[Finding]:
    if -float(vertebra.anterior[1]) < ARCH_BEHIND:
        text = (
            "the arch does not lie on the patient's back side of the body: the image is turned or "
            "mirrored, or the mask is not one vertebra"
        )
        yield Finding("error", "orientation", text)


def _crushed(vertebra: VertebraAnatomy) -> Iterator[Finding]:
    heights = vertebra.heights_mm
    if heights is None:
        return
    front, middle, rear = heights
    behind = 1.0 - rear / front - REAR_ALLOWED
    loss = max(1.0 - front / rear, 1.0 - middle / rear, behind)
    for limit, grade, word in GENANT:
        if loss >= limit:
            text = (
                f"the vertebral body is deformed: {front:.1f} mm high in front, {middle:.1f} mm in "
                f"the middle, {rear:.1f} mm behind, a loss of {loss:.0%} ({word}, like grade "
                f"{grade} of Genant et al. 1993). A fractured body is weaker than its density tells"
            )
            yield Finding("warning", "vertebra-deformed", text)
            return
