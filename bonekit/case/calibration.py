"""Where the line from HU to density comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from bonekit.case.part import Kind, Part, Positive

PhantomKind = Literal["k2hpo4", "hydroxyapatite"]


class LineSettings(Part):
    """A line known for the scanner: density = slope * HU + intercept."""

    method: Literal["line"] = "line"
    slope: Positive = Field(description="g/cm3 per HU.")
    intercept: float = Field(description="g/cm3 at 0 HU.")
    kind: Kind = Field(description="What the phantom's densities are densities of.")
    source: str = Field(description="Where the line comes from: phantom, scanner, date.")
    covariance: tuple[tuple[float, float], tuple[float, float]] | None = Field(
        default=None, description="Of slope and intercept; without it the strength has no error."
    )
    range_HU: tuple[float, float] | None = Field(
        default=None, description="Lowest and highest HU the line was measured at."
    )
    kVp: Positive | None = Field(
        default=None, description="Tube voltage it was measured at; compared with the scan's."
    )
    kernel: str | None = Field(
        default=None, description="Reconstruction kernel it was measured with; compared too."
    )


class RodSettings(Part):
    """A phantom with calibration rods in the scan itself."""

    method: Literal["rods"] = "rods"
    table: str | None = Field(
        default=None, description="A known phantom, see `bonekit calibrate --help`."
    )
    densities_g_cm3: tuple[float, ...] | None = Field(
        default=None, description="Densities of the rods in their order, by their certificate."
    )
    kind: Kind | None = Field(default=None, description="What they are densities of.")
    diameter_mm: Positive | None = Field(
        default=None, description="Of the rods; measured by default."
    )

    @model_validator(mode="after")
    def _one_table(self) -> RodSettings:
        if (self.table is None) == (self.densities_g_cm3 is None):
            raise ValueError("give either a table or densities_g_cm3")
        if (self.densities_g_cm3 is None) != (self.kind is None):
            raise ValueError("give kind with densities_g_cm3, and only with them")
        return self


class InternalSettings(Part):
    """The patient's own tissues: air, fat, muscle, cortical bone."""

    method: Literal["internal"] = "internal"
    kind: PhantomKind = Field(
        default="hydroxyapatite", description="The phantom that is stood in for."
    )
    masks: str | None = Field(
        default=None,
        description="Label map of tissues by name (air, adipose, muscle, blood, cortical_bone); "
        "those that it lacks are found.",
    )


def _method(given: Any) -> str:
    """Name the way of calibration; a bare slope and intercept are a line."""
    if isinstance(given, dict):
        return str(given.get("method", "line"))
    return str(getattr(given, "method", ""))


CalibrationSettings = Annotated[
    Annotated[LineSettings, Tag("line")]
    | Annotated[RodSettings, Tag("rods")]
    | Annotated[InternalSettings, Tag("internal")],
    Discriminator(_method),
]
