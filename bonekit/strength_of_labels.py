"""The strength of bones by their label maps: what an evaluation of a segmentation ends in."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bonekit.case import Case
from bonekit.errors import CalibrationError, ConvergenceError, InputError, MeshQualityError
from bonekit.image import LabelMap, write
from bonekit.pipeline import run
from bonekit.segmentation.task import Task

log = logging.getLogger(__name__)
BONES = ("bone", "cortex", "trabecular")  # labels that are bone by their name
LESION = "lesion"


@dataclass(frozen=True)
class FailureLoads:
    """The hook of `segmentation.evaluation.evaluate` that runs `bonekit.run`.

    Reference and prediction of a subject go through the same case, on the same scan; only the
    labels differ. The error of the strength and the bone without its lesions are left out: they
    cost solves. Run folders are kept: asked for again, a strength is read from them.

    Parameters
    ----------
    scans : mapping of str to Path
        CT in HU of each subject.
    bones : mapping of str to str
        Bone of each subject: ``femur_left``, ``vertebra_L3`` ...
    task : Task
        Has a label ``bone`` (or ``cortex`` and ``trabecular``); a label ``lesion`` is part of it.
    folder : Path
        Of the run folders, ``{subject}/{hash of the labels}``.
    case : Case

    Raises
    ------
    InputError
        If the task has no such labels, or is of other images than a CT.
    """

    scans: Mapping[str, Path]
    bones: Mapping[str, str]
    task: Task
    folder: Path
    case: Case

    def __post_init__(self) -> None:
        labels, modality = self.task.labels, self.task.channels[0].modality
        if not set(BONES) & set(labels) or modality != "ct":
            raise InputError(
                f"the task {self.task.name} has the labels {', '.join(labels)} in images of "
                f"{modality}; a strength needs a CT and a label {' or '.join(BONES)}"
            )

    @property
    def key(self) -> str:
        """What the strengths depend on beside scans and labels."""
        return f"{sorted(self.bones.items())} {self.case.model_dump_json()}"

    def __call__(self, name: str, labels: LabelMap) -> float:
        """Strength in N; nan, with the reason in the log, where none was found."""
        digest = hashlib.sha256(np.ascontiguousarray(labels.array).tobytes()).hexdigest()[:12]
        place = self.folder / name / digest
        try:
            settings = self._with_labels(labels, place)
            return run(self.scans[name], place / "run", self.bones[name], settings).strength_N
        except (InputError, CalibrationError, MeshQualityError, ConvergenceError) as error:
            log.warning("%s: no strength with the labels in %s: %s", name, place, error)
            return math.nan

    def _with_labels(self, labels: LabelMap, place: Path) -> Case:
        """Write the bone, and its lesions if it has any, as files that a case can name."""
        place.mkdir(parents=True, exist_ok=True)
        known = self.task.labels
        inside = [known[name] for name in (*BONES, LESION) if name in known]
        bone = np.isin(labels.array, inside).astype(np.uint8)
        write(LabelMap(bone, labels.grid, {1: "bone"}), place / "bone.nii.gz")
        files: dict[str, str | None] = {"labels": str(place / "bone.nii.gz"), "lesions": None}
        if LESION in known and (labels.array == known[LESION]).any():
            mask = (labels.array == known[LESION]).astype(np.uint8)
            write(LabelMap(mask, labels.grid, {1: LESION}), place / "lesion.nii.gz")
            files["lesions"] = str(place / "lesion.nii.gz")
        case = self.case
        return case.model_copy(
            update={
                "segmentation": case.segmentation.model_copy(update={**files, "label": "bone"}),
                "uncertainty": case.uncertainty.model_copy(update={"calibration": False}),
                "intact": case.intact.model_copy(update={"compare": False}),
            }
        )
