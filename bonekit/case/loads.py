"""How a bone is loaded. The fields and defaults are those of the loadings in `bonekit.fem`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bonekit.case.part import Part, Positive


class StanceSettings(Part):
    """Single-leg stance of a femur: `bonekit.fem.stance.SingleLegStance`."""

    case: Literal["single_leg_stance"] = "single_leg_stance"
    convention: Literal["schileo", "keyak", "leuven", "lyon", "nijmegen"] | None = Field(
        default=None, description="Start from a published set; what else is given here replaces it."
    )
    adduction_deg: Annotated[float, Field(ge=-30, le=40)] = Field(
        default=8.0,
        description="Angle of the force to the shaft axis in the frontal plane, downwards out.",
    )
    flexion_deg: Annotated[float, Field(ge=-60, le=60)] = Field(
        default=0.0, description="Angle of the force out of the frontal plane, backwards."
    )
    head: Literal["spread", "cup", "guided"] = Field(
        default="spread",
        description="Force spread over the head, through a rigid cup, or through one that keeps to "
        "the force's line.",
    )
    cap_deg: Annotated[float, Field(gt=5, le=90)] = Field(
        default=40.0,
        description="Half angle of the part of the head's surface that carries the force.",
    )
    distal: Literal["clamped", "pivot", "springs"] = "clamped"
    fixed_mm: Positive = Field(default=10.0, description="Length of distal shaft that is held.")
    pivot_mm: Annotated[float, Field(ge=0, le=500)] = Field(
        default=0.0, description="Depth of the distal pivot below the bone in view."
    )
    spring_N_mm: Positive = Field(
        default=1e5, description="Stiffness of all distal springs together along each axis."
    )


class FallSettings(Part):
    """Sideways fall on the greater trochanter: `bonekit.fem.fall.SidewaysFall`."""

    case: Literal["sideways_fall"] = "sideways_fall"
    adduction_deg: Annotated[float, Field(ge=-30, le=40)] = Field(
        default=10.0, description="Between shaft and ground, the knee off the ground."
    )
    rotation_deg: Annotated[float, Field(ge=-60, le=60)] = Field(
        default=15.0, description="Internal rotation of the thigh."
    )
    travel_mm: Annotated[float, Field(gt=0, le=10)] = Field(
        default=1.0, description="How far the head is pressed towards the ground."
    )
    cap_deg: Annotated[float, Field(gt=5, le=90)] = Field(
        default=30.0, description="Half angle of the pressed part of the head."
    )
    intrusion_mm: Annotated[float, Field(ge=1, le=20)] = Field(
        default=6.0, description="How much of the trochanter rests on the ground."
    )
    distal: Literal["pivot", "clamped", "sliding"] = "pivot"
    fixed_mm: Positive = Field(default=10.0, description="Length of distal shaft that is held.")
    pivot_mm: Annotated[float, Field(ge=0, le=500)] = Field(
        default=0.0, description="Depth of the distal hinge below the bone in view."
    )


class CompressionSettings(Part):
    """Compression of a vertebra: `bonekit.fem.compression.EndplateCompression`."""

    case: Literal["endplate_compression"] = "endplate_compression"
    strain: Annotated[float, Field(gt=0, le=0.05)] = Field(
        default=0.0068, description="Shortening over the height of the body."
    )
    cap_mm: Positive = Field(
        default=3.0, description="Depth of endplate bone held by the loading caps."
    )


LoadSettings = Annotated[
    StanceSettings | FallSettings | CompressionSettings, Field(discriminator="case")
]
