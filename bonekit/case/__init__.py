"""The case file: everything that decides a run, checked once at the border.

A case is YAML or JSON; `data_schema/case.schema.json` is written from these models. Inside the
library plain arguments are passed, so nothing but the pipeline and the command line knows a case.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from bonekit.case.calibration import CalibrationSettings
from bonekit.case.loads import LoadSettings
from bonekit.case.material import MaterialSettings
from bonekit.case.part import Part
from bonekit.errors import InputError
from bonekit.fem.engines import Engine
from bonekit.risk import Pain


class SegmentationSettings(Part):
    """How the bone is found."""

    labels: str | None = Field(
        default=None,
        description="Label map made elsewhere; by default the built-in CT baseline is used.",
    )
    label: str | int | None = Field(
        default=None,
        description="Name or value of the bone in `labels`; by default found by its name.",
    )
    lesions: str | None = Field(default=None, description="Mask of the lesions, drawn by a reader.")
    allow_metal: bool = Field(
        default=False, description="Simulate a bone with metal in or near it."
    )
    seed_mm: tuple[float, float, float] | None = Field(
        default=None, description="LPS point inside the wanted vertebra, where several are in view."
    )


class AnatomySettings(Part):
    """Landmarks that the user knows better than the program."""

    landmarks_mm: dict[str, tuple[float, float, float]] = Field(
        default_factory=dict,
        description="Points by their names, LPS mm, in place of those that were found. Femur: "
        "head_centre, neck_centre, greater_trochanter, lesser_trochanter, shaft_proximal, "
        "shaft_distal, medial_condyle, lateral_condyle. Vertebra: superior_endplate, "
        "inferior_endplate, canal, left_pedicle, right_pedicle, spinous_process.",
    )


class MeshSettings(Part):
    """The voxel mesh."""

    edge_mm: Annotated[float, Field(ge=0.1, le=5.0)] = Field(
        default=1.5, description="Edge of the cubic elements."
    )


class SolverSettings(Part):
    """The linear solver."""

    engine: Engine = Field(
        default="voxel",
        description="Who solves the bricks: `voxel`, matrix-free, in this process; `conforming`, "
        "dolfinx and PETSc in an interpreter of their own, which `bonekit info` lists. The answer "
        "is the same; a sweep and criterion `peak` are the voxel engine's alone.",
    )
    rtol: Annotated[float, Field(ge=1e-12, le=1e-3)] = 1e-8
    max_iterations: Annotated[int, Field(ge=1)] = 1000
    device: str = Field(default="cpu", description="torch device: cpu, cuda, cuda:1.")
    threads: int = Field(
        default=1,
        ge=1,
        description="More help with a large bone on an idle machine, and harm on a busy one. "
        "Processes of the conforming engine.",
    )

    @model_validator(mode="after")
    def _on_this_device(self) -> Self:
        if self.engine == "conforming" and self.device != "cpu":
            raise ValueError("the conforming engine runs on the cpu: leave out device, or engine")
        return self


class PatientSettings(Part):
    """What of the patient goes into the risk figures; see `bonekit.risk`."""

    mass_kg: Annotated[float, Field(ge=25, le=300)] | None = None
    height_m: Annotated[float, Field(ge=1.0, le=2.3)] | None = None
    soft_tissue_mm: Annotated[float, Field(ge=0, le=200)] | None = Field(
        default=None, description="Over the greater trochanter."
    )
    pain: Pain | None = Field(
        default=None, description="Of the lesion: with it Mirels' score is complete."
    )


class UncertaintySettings(Part):
    """What the error of the strength rests on."""

    calibration: bool = Field(
        default=True,
        description="Carry the error of the calibration to the strength: four more solves.",
    )
    mesh: bool = Field(
        default=True,
        description="Count what the place of the bricks' lattice changes, where the error of the "
        "calibration is known too: three more meshes and solves.",
    )


class PeakSettings(Part):
    """The nonlinear path of ``criterion: peak``; see `bonekit.fem.peak`."""

    after: Literal["auto", "keyak", "strain"] = Field(
        default="auto",
        description="What follows the elastic range: Keyak's plateau and softening where the law "
        "of all parts has it, or perfect plasticity at principal strains.",
    )
    end_mm: Annotated[float, Field(gt=0, le=30)] | None = Field(
        default=None,
        description="Largest displacement; by default 6 mm for a femur and 1.9 % of the height "
        "for a vertebra.",
    )
    finite_strain: bool = Field(default=False, description="Large rotations and strains.")


class IntactSettings(Part):
    """The same bone without its lesions, for what they cost in strength."""

    compare: bool = Field(
        default=True, description="If there are lesions, solve the bone with them filled as well."
    )
    rim_mm: Annotated[float, Field(ge=0, le=10)] = Field(
        default=2.0, description="How far round a lesion the density is replaced, for its blur."
    )
    other_side: str | None = Field(
        default=None,
        description="Run folder of the same bone of the other side: lesions are filled after its "
        "mirror image, not after the bone around them.",
    )


class SweepSettings(Part):
    """Directions of the force of a stance, or of a fall: `bonekit.fem.sweep.Cone`."""

    adduction_half_deg: Annotated[float, Field(ge=0, le=30)] | None = Field(
        default=None,
        description="Half angle of the cone in the frontal plane; by default 12 of a stance, "
        "10 of a fall.",
    )
    flexion_half_deg: Annotated[float, Field(ge=0, le=30)] | None = Field(
        default=None,
        description="Half angle out of the frontal plane: flexion of a stance (by default 12), "
        "internal rotation of a fall (15).",
    )
    step_deg: Annotated[float, Field(ge=1, le=15)] | None = Field(
        default=None, description="By default 4 of a stance; 5 of a fall, each of them a solve."
    )


class Case(Part):
    """One bone of one scan, and how its strength is estimated."""

    bone: str | None = Field(
        default=None, description="femur_left, femur_right, vertebra_T1 ... vertebra_L5."
    )
    synthetic: bool = Field(default=False, description="The scan is a phantom, not a patient.")
    series_uid: str | None = Field(
        default=None, description="DICOM series, where a folder holds several."
    )
    patient: PatientSettings = PatientSettings()
    segmentation: SegmentationSettings = SegmentationSettings()
    anatomy: AnatomySettings = AnatomySettings()
    calibration: CalibrationSettings | None = Field(
        default=None,
        description="Without one a default line is used and the result says uncalibrated.",
    )
    mesh: MeshSettings = MeshSettings()
    material: MaterialSettings = MaterialSettings()
    load: LoadSettings | None = Field(
        default=None,
        description="By default single-leg stance of a femur, compression of a vertebra.",
    )
    criterion: str | None = Field(
        default=None,
        description="What the strength is judged by, see `bonekit.fem.criteria`; by default "
        "stiffness_at_strain of a vertebra in compression, else strain_limit. `peak` walks the "
        "nonlinear path of force over displacement.",
    )
    peak: PeakSettings = PeakSettings()
    more_loads: tuple[LoadSettings, ...] = Field(
        default=(),
        description="Further loads of the same bone; each gets a run folder inside the run folder.",
    )
    solver: SolverSettings = SolverSettings()
    uncertainty: UncertaintySettings = UncertaintySettings()
    intact: IntactSettings = IntactSettings()
    sweep: SweepSettings | None = Field(
        default=None,
        description="Strength over a cone of directions of a single-leg stance or of a sideways "
        "fall, and the weakest.",
    )


def read_case(path: str | Path | None) -> Case:
    """Read a case file, or the defaults if there is none.

    Raises
    ------
    InputError
        If the file is missing, is neither YAML nor JSON, or has an unknown or wrong entry; the
        message names the entry.
    """
    if path is None:
        return Case()
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the case file {path} can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"the case file {path} is neither YAML nor JSON: {error}") from error
    if content is not None and not isinstance(content, dict):
        raise InputError(f"the case file {path} must hold named entries, found {content!r:.80}")
    return parse_case(content or {}, str(path))


def parse_case(content: dict[str, Any], origin: str) -> Case:
    """Check the entries of a case; `origin` names them in errors."""
    try:
        return Case.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc']))}: {e['msg'].lower()}, found {e['input']!r:.60}"
            for e in error.errors()
        ]
        allowed = ", ".join(Case.model_fields)
        raise InputError(
            f"the case {origin} has {len(lines)} wrong "
            f"{'entry' if len(lines) == 1 else 'entries'}:\n"
            + "\n".join(lines)
            + f"\nallowed at the top: {allowed}; see `bonekit schema case`"
        ) from error
