"""What every segmenter takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.image.volume import Colour, Image, LabelMap

Mask = NDArray[np.bool_]

# The label table of a segmented bone.
REGIONS: Mapping[int, str] = {
    1: "cortex",
    2: "trabecular",
    3: "lesion",
    10: "other_bone",
    11: "metal",
}
# What is added to a bone to load or to fill it, of bone cement; no segmentation gives these.
PARTS: Mapping[int, str] = {
    20: "cup",
    21: "cap_superior",
    22: "cap_inferior",
    23: "pad",
    24: "cement",
}
LABELS: Mapping[int, str] = {**REGIONS, **PARTS}  # also written to data_schema/labels.json
COLOURS: Mapping[int, Colour] = {
    1: (241, 214, 145),
    2: (216, 101, 79),
    3: (128, 48, 160),
    10: (128, 174, 128),
    11: (0, 160, 220),
    20: (110, 184, 209),
    21: (110, 184, 209),
    22: (78, 150, 178),
    23: (150, 205, 195),
    24: (200, 200, 235),
}
BONE_REGIONS = ("cortex", "trabecular", "lesion")

VERTEBRAE = tuple([f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)])
BONES = ("femur_left", "femur_right", *(f"vertebra_{level}" for level in VERTEBRAE))


@dataclass(frozen=True)
class Finding:
    """One remark of the quality control.

    An ``error`` means that the bone can't be simulated as it is; a ``warning`` stands first in the
    report; a ``note`` is for the record.
    """

    severity: Literal["error", "warning", "note"]
    code: str  # kebab-case, such as "head-cut"
    message: str


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One bone, segmented.

    Parameters
    ----------
    bone : str
        One of `BONES`.
    labels : LabelMap
        On the grid of the CT, with the names of `REGIONS`.
    findings : tuple of Finding
    measures : mapping of str to float
        Such as ``volume_ml``, ``shaft_length_mm``; the unit stands in the name.
    anatomy : FemurAnatomy or VertebraAnatomy
    method : str
        What made the labels: the built-in method or an imported label map.
    """

    bone: str
    labels: LabelMap
    anatomy: FemurAnatomy | VertebraAnatomy
    findings: tuple[Finding, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    method: str = ""

    @property
    def bone_mask(self) -> Mask:
        """Voxels of the bone, all regions together."""
        return self.labels.mask(*BONE_REGIONS)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What keeps the bone from being simulated."""
        return tuple(f for f in self.findings if f.severity == "error")


class Segmenter(Protocol):
    """Anything that finds one bone in a CT in HU.

    Contract: the CT's axes are canonical (`Image.canonical`); labels come back on the CT's grid;
    the bone is one connected piece with its medullary canal filled; what is wrong is said in
    `Segmentation.findings`; a bone that is not there raises `InputError`.
    """

    def __call__(self, ct: Image, bone: str) -> Segmentation:
        """Segment one bone."""
        ...
