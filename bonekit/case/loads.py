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
    cement_mm: Annotated[float, Field(ge=0, le=30)] = Field(
        default=0.0,
        description="Thickness of bone cement between the head and what presses it; 0 for none.",
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
    cement_mm: Annotated[float, Field(ge=0, le=30)] = Field(
        default=0.0,
        description="Thickness of bone cement over head and trochanter; 0 for none.",
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
    cement_mm: Annotated[float, Field(ge=0, le=30)] = Field(
        default=0.0,
        description="Thickness of bone cement between plates and endplates; 0 for none.",
    )


class MuscleSettings(Part):
    """Hip contact and muscles: `bonekit.fem.muscles.MuscleLoad`. Needs `patient.mass_kg`."""

    case: Literal["walking", "stair_climbing"]
    cap_deg: Annotated[float, Field(gt=5, le=90)] = Field(
        default=40.0, description="Half angle of the loaded part of the head."
    )
    patch_mm: Annotated[float, Field(ge=3, le=30)] = Field(
        default=12.0, description="Radius of the muscles' patches."
    )
    fixed_mm: Positive = Field(default=10.0, description="Length of distal shaft that is held.")


class TorsionSettings(Part):
    """Torsion of the shaft: `bonekit.fem.shaft.ShaftTorsion`."""

    case: Literal["shaft_torsion"]
    moment_Nmm: float = 10_000.0
    grip_mm: Annotated[float, Field(gt=0, le=50)] = Field(
        default=10.0, description="Length of shaft that is gripped at either end."
    )


class BendingSettings(Part):
    """Four-point bending of the shaft: `bonekit.fem.shaft.FourPointBending`."""

    case: Literal["four_point_bending"]
    force_N: Positive = 1000.0
    toward: Literal["anterior", "posterior", "medial", "lateral"] = Field(
        default="anterior", description="The side that is stretched."
    )
    roller_mm: Annotated[float, Field(ge=1, le=30)] = 8.0
    intrusion_mm: Annotated[float, Field(ge=1, le=15)] = 4.0


class FlexionSettings(Part):
    """Force in front of a vertebral body's middle: `bonekit.fem.flexion.ForwardFlexion`."""

    case: Literal["forward_flexion"]
    force_N: Positive = 1000.0
    offset: Annotated[float, Field(ge=-0.5, le=0.5)] = Field(
        default=0.25, description="In front of the middle, over the body's depth."
    )
    cap_mm: Positive = 3.0


class CombinedSettings(Part):
    """Force and moments on a vertebral body: `bonekit.fem.flexion.CombinedLoad`."""

    case: Literal["combined"]
    force_N: Annotated[float, Field(ge=0)] = 1000.0
    flexion_Nmm: float = 7500.0
    lateral_Nmm: float = 0.0
    torsion_Nmm: float = 0.0
    cap_mm: Positive = 3.0


Axis = Literal["left", "posterior", "superior"]


class HeldSet(Part):
    """A named set of nodes that is held or moved."""

    set: str = Field(description="See `bonekit.meshing.named_sets`.")
    components: tuple[Axis, ...] = ("left", "posterior", "superior")
    displacement_mm: float = 0.0


class LoadedSet(Part):
    """A named set of nodes that bears a force, spread by area."""

    set: str = Field(description="See `bonekit.meshing.named_sets`.")
    force_N: tuple[float, float, float] = Field(description="Left, posterior, superior.")


class SetsSettings(Part):
    """Loads and supports by named sets: `bonekit.fem.named_loads.NamedLoad`."""

    case: Literal["named_sets"]
    held: Annotated[tuple[HeldSet, ...], Field(min_length=1)]
    loaded: tuple[LoadedSet, ...] = ()


LoadSettings = Annotated[
    StanceSettings
    | FallSettings
    | MuscleSettings
    | TorsionSettings
    | BendingSettings
    | CompressionSettings
    | FlexionSettings
    | CombinedSettings
    | SetsSettings,
    Field(discriminator="case"),
]
