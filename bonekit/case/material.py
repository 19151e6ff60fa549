"""From density to elasticity: laws, mapping, lesions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bonekit.case.part import Kind, Part, Positive

Region = Literal["cortex", "trabecular"]


class PieceSettings(Part):
    """E = offset + factor * density ^ exponent, in MPa and g/cm3, from a density on."""

    from_g_cm3: Annotated[float, Field(ge=0)] = 0.0
    factor: Positive = Field(description="MPa at 1 g/cm3.")
    exponent: Positive = 1.0
    offset: float = Field(default=0.0, description="MPa.")


class LawSettings(Part):
    """A law of your own: one piece or several, from the least dense to the densest."""

    name: Annotated[str, Field(min_length=1)] = Field(description="A name that bonekit lacks.")
    kind: Kind = Field(description="The density that the law asks for.")
    pieces: Annotated[tuple[PieceSettings, ...], Field(min_length=1)]
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


class TreatmentSettings(Part):
    """What is made of the tissue of a lesion."""

    treatment: Literal["density", "law", "modulus", "void"] = Field(
        default="density",
        description="density: the law of the bone around it, the default of the literature; "
        "law: a law of its own; modulus: one Young's modulus; void: no stiffness to speak of.",
    )
    law: str | None = Field(default=None, description="With `treatment: law`.")
    E_MPa: Positive | None = Field(default=None, description="With `treatment: modulus`.")

    @model_validator(mode="after")
    def _complete(self) -> TreatmentSettings:
        for name, value, needs in (("law", self.law, "law"), ("E_MPa", self.E_MPa, "modulus")):
            if (value is not None) != (self.treatment == needs):
                raise ValueError(f"`{name}` goes with `treatment: {needs}`, and only with it")
        return self


class LesionSettings(Part):
    """What is made of lesions: by their number, else by their kind, else by default."""

    default: TreatmentSettings = TreatmentSettings()
    lytic: TreatmentSettings | None = None
    blastic: TreatmentSettings | None = None
    mixed: TreatmentSettings | None = None
    each: dict[Annotated[int, Field(ge=1)], TreatmentSettings] = Field(
        default_factory=dict, description="By the number of the lesion in the report."
    )


class MaterialSettings(Part):
    """From density to elasticity."""

    conversion: str | None = Field(
        default=None,
        description="Line from the phantom's density to ash: schileo_2008, kaneko_2004, "
        "keyak_2005 (hydroxyapatite), keyak_1994 (k2hpo4); the first of its kind by default.",
    )
    law: str | None = Field(
        default=None,
        description="Name of a density-modulus law, of `bonekit laws` or of `laws` below; by "
        "default keyak_2005 for a femur and morgan_2003_vertebra for a vertebra.",
    )
    regions: dict[Region, str] = Field(
        default_factory=dict, description="Names of other laws for cortex and trabecular bone."
    )
    laws: tuple[LawSettings, ...] = Field(default=(), description="Laws of your own.")
    mapping: Literal["modulus", "density", "centroid", "nodal"] = Field(
        default="modulus",
        description="modulus: the mean of the law over each element (BoneMat V3); density: the "
        "law at the mean density of each element (BoneMat V2); centroid: at the density of its "
        "middle; nodal: the mean of the law at its corners.",
    )
    cortex: Literal["as_seen", "peel", "profile"] = Field(
        default="as_seen",
        description="Correction of the cortex for partial volume. peel: the outermost voxels get "
        "the density beneath them; profile: density and thickness fitted along the normals.",
    )
    lesions: LesionSettings = LesionSettings()
    nu: Annotated[float, Field(gt=0, lt=0.5)] = Field(default=0.3, description="Poisson's ratio.")
