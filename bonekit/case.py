"""The case file: everything that decides a run, checked once at the border.

A case is YAML or JSON; `data_schema/case.schema.json` is written from these models. Inside the
library plain arguments are passed, so nothing but the pipeline and the command line knows a case.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bonekit.errors import InputError

Positive = Annotated[float, Field(gt=0)]
Kind = Literal["k2hpo4", "hydroxyapatite", "ash", "apparent"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SegmentationSettings(_Part):
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


class CalibrationSettings(_Part):
    """A line from HU to density: density = slope * HU + intercept."""

    slope: Positive = Field(description="g/cm3 per HU.")
    intercept: float = Field(description="g/cm3 at 0 HU.")
    kind: Kind = Field(description="What the phantom's densities are densities of.")
    source: str = Field(description="Where the line comes from: phantom, scanner, date.")


class MeshSettings(_Part):
    """The voxel mesh."""

    edge_mm: Annotated[float, Field(ge=0.1, le=5.0)] = Field(
        default=1.5, description="Edge of the cubic elements."
    )


class LawSettings(_Part):
    """A law of your own: E = offset + factor * density ^ exponent, in MPa and g/cm3."""

    name: Annotated[str, Field(min_length=1)] = Field(description="A name that bonekit lacks.")
    kind: Kind = Field(description="The density that the law asks for.")
    factor: Positive = Field(description="MPa at 1 g/cm3.")
    exponent: Positive = 1.0
    offset: float = Field(default=0.0, description="MPa.")
    low_g_cm3: Annotated[float, Field(ge=0)] = Field(
        description="Elements of less density get the modulus of this one, and are counted."
    )
    high_g_cm3: Positive = Field(
        description="Elements of more density get the modulus of this one, and are counted."
    )
    valid_g_cm3: tuple[float, float] | None = Field(
        default=None, description="Densities that the law was measured on; others are counted."
    )
    site: str = Field(default="not stated", description="Bone that the law was measured on.")
    source: Annotated[str, Field(min_length=1)] = Field(description="Where the law comes from.")


class MaterialSettings(_Part):
    """From density to elasticity."""

    law: str = Field(
        default="keyak_2005",
        description="Name of a density-modulus law, see `bonekit laws`; with `user_law` its name.",
    )
    user_law: LawSettings | None = Field(
        default=None, description="A law of your own, used in place of a named one."
    )
    mapping: Literal["density", "modulus"] = Field(
        default="density",
        description="density: the law at the mean density of each element (BoneMat V2); "
        "modulus: the mean of the law over each element (BoneMat V3).",
    )
    nu: Annotated[float, Field(gt=0, lt=0.5)] = Field(default=0.3, description="Poisson's ratio.")

    @model_validator(mode="before")
    @classmethod
    def _use_the_user_law(cls, content: Any) -> Any:
        """Let a law of the user be the law, without its name given twice."""
        if isinstance(content, dict) and isinstance(content.get("user_law"), dict):
            return {"law": content["user_law"].get("name", ""), **content}
        return content

    @model_validator(mode="after")
    def _one_law(self) -> MaterialSettings:
        if self.user_law is not None and self.law != self.user_law.name:
            raise ValueError(f"law and user_law name two laws: leave {self.law!r} out")
        return self


class StanceSettings(_Part):
    """Single-leg stance of a femur."""

    case: Literal["single_leg_stance"] = "single_leg_stance"
    adduction_deg: Annotated[float, Field(ge=-30, le=40)] = Field(
        default=8.0,
        description="Angle of the force to the shaft axis in the frontal plane, downwards out.",
    )
    cap_deg: Annotated[float, Field(gt=5, le=90)] = Field(
        default=40.0,
        description="Half angle of the part of the head's surface that carries the force.",
    )
    fixed_mm: Positive = Field(default=10.0, description="Length of distal shaft that is held.")


class CompressionSettings(_Part):
    """Compression of a vertebral body between its endplates."""

    case: Literal["endplate_compression"] = "endplate_compression"
    strain: Annotated[float, Field(gt=0, le=0.05)] = Field(
        default=0.0068, description="Shortening over the height of the body."
    )
    cap_mm: Positive = Field(
        default=3.0, description="Depth of endplate bone held by the loading caps."
    )


class SolverSettings(_Part):
    """The linear solver."""

    rtol: Annotated[float, Field(ge=1e-12, le=1e-3)] = 1e-8
    max_iterations: Annotated[int, Field(ge=1)] = 1000
    device: str = Field(default="cpu", description="torch device: cpu, cuda, cuda:1.")
    threads: int = Field(
        default=1,
        ge=1,
        description="More help with a large bone on an idle machine, and harm on a busy one.",
    )


class Case(_Part):
    """One bone of one scan, and how its strength is estimated."""

    bone: str | None = Field(
        default=None, description="femur_left, femur_right, vertebra_T1 ... vertebra_L5."
    )
    synthetic: bool = Field(default=False, description="The scan is a phantom, not a patient.")
    series_uid: str | None = Field(
        default=None, description="DICOM series, where a folder holds several."
    )
    segmentation: SegmentationSettings = SegmentationSettings()
    calibration: CalibrationSettings | None = Field(
        default=None,
        description="Without one a default line is used and the result says uncalibrated.",
    )
    mesh: MeshSettings = MeshSettings()
    material: MaterialSettings = MaterialSettings()
    stance: StanceSettings = StanceSettings()
    compression: CompressionSettings = CompressionSettings()
    solver: SolverSettings = SolverSettings()


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
