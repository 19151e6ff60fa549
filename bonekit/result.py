"""The answer of a run: what result.json holds.

`data_schema/result.schema.json` is written from these models.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bonekit import DISCLAIMER


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Remark(_Part):
    """One finding of a stage."""

    severity: Literal["error", "warning", "note"]
    code: str
    message: str


class Method(_Part):
    """A named law, criterion or load case, with its numbers and where it comes from."""

    name: str
    description: str
    source: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class CalibrationSample(_Part):
    """A rod or a tissue that the line was measured on."""

    name: str
    mean_HU: float
    sem_HU: float = Field(description="standard error of the mean")
    residual_g_cm3: float = Field(description="measured by the line minus known")


class CalibrationResult(_Part):
    """The line from HU to density that was used."""

    calibrated: bool
    method: Literal["default", "line", "rods", "internal"]
    slope_g_cm3_per_HU: float
    intercept_g_cm3: float
    covariance: tuple[tuple[float, float], tuple[float, float]] | None = Field(
        description="of slope and intercept"
    )
    kind: str
    source: str
    range_HU: tuple[float, float] | None = Field(description="HU that the line was measured at")
    kVp: float | None
    kernel: str | None
    evidence: dict[str, Any] = Field(description="figures of the fit; unit in the name")
    samples: tuple[CalibrationSample, ...]
    n_bone_voxels: int
    n_below_range: int | None = Field(description="bone voxels darker than range_HU")
    n_above_range: int | None = Field(description="bone voxels brighter than range_HU")
    ash_error_g_cm3: float | None = Field(
        description="standard error of the bone's mean ash density"
    )


class StrengthErrorResult(_Part):
    """How far the strength may be off, as far as that is known."""

    rests_on: Literal["calibration", "calibration and mesh"]
    standard_error_N: float
    low_N: float = Field(description="95 % of strengths lie between low_N and high_N")
    high_N: float
    strengths_N: tuple[float, ...] = Field(description="with lines one and a half errors away")
    moved_N: tuple[float, ...] = Field(
        default=(), description="with the lattice of the bricks half an edge away"
    )


class MeshResult(_Part):
    """The voxel mesh."""

    edge_mm: float
    n_elements: int
    n_nodes: int
    volume_ml: float
    label_volume_ml: float
    region_volume_ml: dict[str, float]


class TissueResult(_Part):
    """Elements that share a law."""

    region: str
    law: str
    treatment: Literal["density", "law", "fixed", "void"] = Field(
        description="density: as healthy bone; the others are of lesions"
    )
    n_elements: int
    n_floor: int = Field(description="elements raised to the law's lower density limit")
    n_ceiling: int = Field(description="elements lowered to the law's upper density limit")
    n_extrapolated: int | None = Field(
        description="elements outside the densities the law was measured on, where those are known"
    )


class CorticalResult(_Part):
    """Cortex of a femur that a lesion took."""

    axial_mm: float = Field(description="length along the bone of the largest connected piece")
    circumference: float = Field(description="largest share over which the cortex is mostly gone")
    width: float = Field(description="largest share of the bone's width, from front or side")
    error_mm: float = Field(description="resolution of axial_mm")


class MirelsResult(_Part):
    """What the image gives of Mirels' score, 1 to 3 points each."""

    site: int
    kind: int
    size: int
    pain: int | None = Field(description="None: not given; no image knows it")
    score: int | None = Field(description="None while a part is not known")


class VertebralResult(_Part):
    """Share of the parts of a vertebra that a lesion took, 0 to 1 each."""

    body: float = Field(description="of the body's volume")
    circumference: float = Field(description="largest of the body's wall, at any level")
    posterior_wall: float
    left_pedicle: float | None = Field(description="None: there is none in the labels")
    right_pedicle: float | None
    left_arch: float | None = Field(description="laminae, facets, transverse process")
    right_arch: float | None
    posterolateral: Literal["none", "unilateral", "bilateral"] = Field(
        description="as the Spinal Instability Neoplastic Score (SINS) has it; the item of the "
        "score is that of `level`, the union of all lesions"
    )


class LesionResult(_Part):
    """One lesion."""

    number: int
    kind: Literal["lytic", "blastic", "mixed"]
    volume_ml: float
    centre_mm: tuple[float, float, float] = Field(description="world LPS")
    ash_density_g_cm3: float
    healthy_g_cm3: float | None = Field(description="ash density of the healthy bone around it")
    region: str = Field(default="", description="that holds most of it")
    regions: dict[str, float] = Field(default={}, description="its share in each region")
    axial_mm: tuple[float, float] | None = Field(
        default=None,
        description="lowest and highest point; femur: over the flare of the shaft, None where its "
        "axis is not known; vertebra: over the middle of the body",
    )
    sector: str = Field(default="", description="side of the bone's axis, or central")
    sectors: dict[str, float] = Field(default={}, description="its share on each side")
    cortical: CorticalResult | None = Field(default=None, description="None: not known")
    vertebral: VertebralResult | None = Field(default=None, description="None: no vertebra")
    mirels: MirelsResult | None = Field(default=None, description="None: not of a long bone")


class MineralRegion(_Part):
    """Ash in one region, in the mask and on the mesh."""

    mask_g: float
    mesh_g: float
    mask_density_g_cm3: float
    mesh_density_g_cm3: float


class MineralResult(_Part):
    """Ash mass on its way from the image to the mesh, of the part of the bone that was meshed."""

    image_g: float = Field(description="in the segmented voxels and spilled around them by blur")
    mask_g: float = Field(description="in the segmented voxels")
    mesh_g: float
    regions: dict[str, MineralRegion]


class MaterialResult(_Part):
    """Density and modulus over the elements."""

    law: Method
    other_laws: tuple[Method, ...] = Field(description="of regions and lesions")
    tissues: tuple[TissueResult, ...]
    mapping: Literal["modulus", "density", "centroid", "nodal"] = Field(
        description="modulus: mean of the law over each element; density: law at its mean density; "
        "centroid: at its middle; nodal: mean of the law at its corners. Elements are counted as "
        "clamped or extrapolated if any density that the law got is"
    )
    cortex: dict[str, Any] = Field(description="correction of the cortex for partial volume")
    nu: float
    ash_density_g_cm3: dict[str, float] = Field(description="min, mean, max over the elements")
    E_MPa: dict[str, float] = Field(description="min, mean, max over the elements")
    n_floor: int = Field(description="elements raised to a law's lower density limit")
    n_ceiling: int = Field(description="elements lowered to a law's upper density limit")
    n_extrapolated: int | None = Field(
        description="elements outside the densities a law was measured on, where those are known"
    )
    mineral: MineralResult


class Balance(_Part):
    """The checks of the solve; all relative."""

    residual: float
    force_balance: float
    energy_balance: float
    iterations: int


class StageRecord(_Part):
    """What a stage cost."""

    name: str
    seconds: float
    peak_memory_MB: float
    reused: bool = Field(description="taken from an earlier run with the same inputs")


class InputRecord(_Part):
    """A file or folder that went in, by content."""

    role: str
    sha256: str


class CriterionResult(Method):
    """The strength by a criterion."""

    strength_N: float


class OtherLoad(_Part):
    """Answer of the same bone under a further load."""

    folder: str = Field(description="run folder inside this one")
    load_case: Method
    criterion: Method
    strength_N: float
    strength_error: StrengthErrorResult | None
    stiffness_N_mm: float


class IntactResult(_Part):
    """The same bone with its lesions filled by plausible bone."""

    strength_N: float
    stiffness_N_mm: float
    filled_ml: float
    lost: float = Field(description="share of that strength that the lesions cost; can be negative")
    strain_fold: float | None = Field(
        default=None,
        description="strain at a lesion over that of the intact bone there, under one force",
    )
    mirror_distance_mm: float | None = Field(
        default=None,
        description="filled after the other side: distance that 90 % of the two surfaces keep",
    )
    mirror_share: float | None = Field(
        default=None, description="of the filled voxels, those that come from the other side"
    )
    location_score: int | None = Field(
        default=None,
        description="Damron et al. 2023, femur: strength left over 75 % 1, over 50 % 2, else 3",
    )


class SweepResult(_Part):
    """Strength over a cone of directions of the force of a stance, or of a fall."""

    adduction_deg: tuple[float, ...]
    flexion_deg: tuple[float, ...] | None = Field(default=None, description="of a stance")
    rotation_deg: tuple[float, ...] | None = Field(default=None, description="internal, of a fall")
    strengths_N: tuple[float, ...]
    minimum_N: float
    weakest_adduction_deg: float
    weakest_flexion_deg: float | None = None
    weakest_rotation_deg: float | None = None
    central_N: float = Field(description="under the load case itself")
    criterion: str
    source: str


class ThresholdResult(_Part):
    """A published limit of a risk figure."""

    value: float
    at_risk: Literal["above", "below"] = Field(description="where the study's bones broke")
    side: Literal["above", "below", ""] = Field(description="where this bone lies")
    source: str
    size: str = Field(description="patients and fractures of the study")
    sensitivity: float | None = Field(description="in percent")
    specificity: float | None = Field(description="in percent")
    verified: bool = Field(description="false: quoted from memory")


class RiskFigure(_Part):
    """A figure that clinical papers report, beside its thresholds. No verdict."""

    name: str
    unit: str
    value: float | None
    missing: str = Field(description="what would be needed for a value")
    definition: str
    thresholds: tuple[ThresholdResult, ...]


class LandmarkResult(_Part):
    """A named point of the bone."""

    name: str
    point_mm: tuple[float, float, float] | None = Field(description="world LPS; null: not found")
    uncertainty_mm: float | None = Field(description="standard error of its place")
    confidence: float = Field(description="0, not found, to 1: share of the evidence that agrees")
    given: bool = Field(description="placed by the user")
    note: str = Field(description="what it rests on, or why it is missing")


class AngleResult(_Part):
    """A named angle of the bone."""

    name: str
    value_deg: float | None
    uncertainty_deg: float | None = Field(description="standard error")
    note: str = Field(description="definition, or why it is missing")


class Result(_Part):
    """Everything a run found out about one bone."""

    disclaimer: str = DISCLAIMER
    schema_version: Literal[1] = 1
    bonekit_version: str
    bone: str
    synthetic: bool = Field(description="the input says that it is a phantom made by bonekit")
    strength_N: float
    strength_error: StrengthErrorResult | None = Field(
        description="None: not asked for, or the error of the calibration is not known"
    )
    criterion: Method
    criteria: tuple[CriterionResult, ...] = Field(
        default=(), description="all that suit the load case"
    )
    load_case: Method
    stiffness_N_mm: float
    applied_force_N: float
    intact: IntactResult | None = Field(default=None, description="None: no lesion, or not asked")
    sweep: SweepResult | None = Field(default=None, description="None: not asked for")
    other_loads: tuple[OtherLoad, ...] = ()
    risk: tuple[RiskFigure, ...] = ()
    reaction_N: dict[str, tuple[float, float, float]] = Field(description="world LPS axes")
    calibration: CalibrationResult
    material: MaterialResult
    lesions: tuple[LesionResult, ...]
    level: VertebralResult | None = Field(
        default=None, description="what all lesions of a vertebra together took, for SINS"
    )
    mesh: MeshResult
    balance: Balance
    segmentation_method: str
    measures: dict[str, float] = Field(description="landmarks and sizes; unit in the name")
    landmarks: tuple[LandmarkResult, ...] = ()
    angles: tuple[AngleResult, ...] = ()
    remarks: tuple[Remark, ...]
    scan: dict[str, Any] = Field(description="kVp, kernel, spacing; never who was scanned")
    inputs: tuple[InputRecord, ...]
    stages: tuple[StageRecord, ...]
    versions: dict[str, str]
