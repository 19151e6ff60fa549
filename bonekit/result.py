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


class CalibrationResult(_Part):
    """The line from HU to density that was used."""

    calibrated: bool
    slope_g_cm3_per_HU: float
    intercept_g_cm3: float
    kind: str
    source: str


class MeshResult(_Part):
    """The voxel mesh."""

    edge_mm: float
    n_elements: int
    n_nodes: int
    volume_ml: float
    label_volume_ml: float
    region_volume_ml: dict[str, float]


class MaterialResult(_Part):
    """Density and modulus over the elements."""

    law: Method
    mapping: Literal["density", "modulus"] = Field(
        default="density",
        description="the law at the mean density of each element, or its mean over each element; "
        "with the latter n_floor, n_ceiling and n_extrapolated count elements with any such point",
    )
    nu: float
    ash_density_g_cm3: dict[str, float] = Field(description="min, mean, max over the elements")
    E_MPa: dict[str, float] = Field(description="min, mean, max over the elements")
    n_floor: int = Field(description="elements raised to the law's lower density limit")
    n_ceiling: int = Field(description="elements lowered to the law's upper density limit")
    n_extrapolated: int | None = Field(
        default=None,
        description="elements outside the densities the law was measured on, where those are known",
    )
    bone_mineral_g: float = Field(description="ash mass on the mesh")
    bone_mineral_in_mask_g: float = Field(description="ash mass in the segmented voxels")


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


class Result(_Part):
    """Everything a run found out about one bone."""

    disclaimer: str = DISCLAIMER
    schema_version: Literal[1] = 1
    bonekit_version: str
    bone: str
    synthetic: bool = Field(description="the input says that it is a phantom made by bonekit")
    strength_N: float
    criterion: Method
    load_case: Method
    stiffness_N_mm: float
    applied_force_N: float
    reaction_N: dict[str, tuple[float, float, float]] = Field(description="world LPS axes")
    calibration: CalibrationResult
    material: MaterialResult
    mesh: MeshResult
    balance: Balance
    segmentation_method: str
    measures: dict[str, float] = Field(description="landmarks and sizes; unit in the name")
    remarks: tuple[Remark, ...]
    scan: dict[str, Any] = Field(description="kVp, kernel, spacing; never who was scanned")
    inputs: tuple[InputRecord, ...]
    stages: tuple[StageRecord, ...]
    versions: dict[str, str]
