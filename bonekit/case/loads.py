"""How a bone is loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bonekit.case.part import Part, Positive


class StanceSettings(Part):
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


class CompressionSettings(Part):
    """Compression of a vertebral body between its endplates."""

    case: Literal["endplate_compression"] = "endplate_compression"
    strain: Annotated[float, Field(gt=0, le=0.05)] = Field(
        default=0.0068, description="Shortening over the height of the body."
    )
    cap_mm: Positive = Field(
        default=3.0, description="Depth of endplate bone held by the loading caps."
    )
