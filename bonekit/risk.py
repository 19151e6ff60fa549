"""The figures that clinical papers report, each beside its published threshold; no verdict.

Which way a figure lies from a threshold is stated, with the size of the study behind it. What that
means for a patient is not bonekit's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bonekit.errors import InputError

G_M_S2 = 9.80665
MASS_KG, HEIGHT_M = (25.0, 300.0), (1.0, 2.3)
Side = Literal["above", "below", ""]
Pain = Literal["mild", "moderate", "functional"]  # of a lesion, as Mirels scores it

UNVERIFIED = "quoted from memory: unverified"


@dataclass(frozen=True)
class Patient:
    """What of a patient goes into the risk figures.

    Parameters
    ----------
    mass_kg : float, optional
    height_m : float, optional
    soft_tissue_mm : float, optional
        Over the greater trochanter.
    pain : "mild", "moderate" or "functional", optional
        Of the lesion.

    Raises
    ------
    InputError
        If a number is absurd, such as a height in centimetres.
    """

    mass_kg: float | None = None
    height_m: float | None = None
    soft_tissue_mm: float | None = None
    pain: Pain | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in (
            ("mass_kg", MASS_KG),
            ("height_m", HEIGHT_M),
            ("soft_tissue_mm", (0.0, 200.0)),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(
                    f"patient {name} must lie between {low:g} and {high:g}, got {value:g}"
                )

    @property
    def weight(self) -> float | None:
        """Body weight in N."""
        return None if self.mass_kg is None else self.mass_kg * G_M_S2


@dataclass(frozen=True)
class Study:
    """Where a threshold comes from.

    Parameters
    ----------
    source : str
    size : str
        Patients and fractures.
    sensitivity, specificity : float or None
        Of the threshold, in percent.
    verified : bool
        Whether the numbers were seen in the paper or its abstract.
    """

    source: str
    size: str
    sensitivity: float | None = None
    specificity: float | None = None
    verified: bool = True


@dataclass(frozen=True)
class Threshold:
    """A published limit of a figure.

    Parameters
    ----------
    value : float
    at_risk : {"above", "below"}
        The side of it on which the study's bones broke.
    study : Study
    """

    value: float
    at_risk: Literal["above", "below"]
    study: Study


@dataclass(frozen=True)
class Figure:
    """A figure of a bone beside its thresholds.

    Parameters
    ----------
    name, unit : str
    value : float or None
        None: something is missing.
    thresholds : tuple of Threshold
    missing : str
        What would be needed.
    definition : str
    """

    name: str
    unit: str
    value: float | None
    thresholds: tuple[Threshold, ...]
    missing: str = ""
    definition: str = ""

    def sides(self) -> tuple[Side, ...]:
        """Say for each threshold on which side of it the figure lies."""
        if self.value is None:
            return tuple("" for _ in self.thresholds)
        return tuple("above" if self.value > t.value else "below" for t in self.thresholds)


KEAVENY = Study("Keaveny et al. 2008: transition within 20 % of 1", "size not quoted")
STERNHEIM = Study("Sternheim et al. 2020", "24 patients, 9 fractures", 100.0, 67.0)
BOSTON = Study(
    f"Eggermont et al. 2020, BOSTON ({UNVERIFIED})", "size not quoted", 100.0, 74.0, verified=False
)
VAN_DER_LINDEN = Study(
    f"axial cortical involvement, as compared in Eggermont et al. 2020 ({UNVERIFIED})",
    "size not quoted",
    86.0,
    42.0,
    verified=False,
)


def _bct(group: str) -> Study:
    return Study(
        f"biomechanical CT, fragile bone strength, {group} ({UNVERIFIED})",
        "size not quoted",
        verified=False,
    )


FRAGILE: Mapping[str, tuple[Threshold, ...]] = {
    "sideways_fall": (
        Threshold(3000.0, "below", _bct("women")),
        Threshold(3500.0, "below", _bct("men")),
    ),
    "endplate_compression": (
        Threshold(4500.0, "below", _bct("women")),
        Threshold(6500.0, "below", _bct("men")),
    ),
}


def fall_impact_force(patient: Patient) -> float | None:
    """Peak force in N on the hip in a fall from standing, or None if mass or height is missing.

    ``F = sqrt(2 g h_c k m_e)`` with the centre of mass at 0.51 of the height, an effective mass of
    0.35 of the body's and a stiffness of 71 kN/m, less 71 N for each mm of soft tissue over the
    trochanter if that is known: Robinovitch et al. 1991 and 1995, Bouxsein et al. 2007 (numbers
    quoted from memory: unverified).
    """
    if patient.mass_kg is None or patient.height_m is None:
        return None
    fall_m, mass_kg, stiffness_N_m = 0.51 * patient.height_m, 0.35 * patient.mass_kg, 71e3
    peak = float(np.sqrt(2.0 * G_M_S2 * fall_m * stiffness_N_m * mass_kg))
    return max(peak - 71.0 * (patient.soft_tissue_mm or 0.0), 0.0)


def risk_figures(
    strengths_N: Mapping[str, float],
    patient: Patient | None = None,
    *,
    strain_fold: float | None = None,
    cortical_mm: float | None = None,
) -> tuple[Figure, ...]:
    """Give the figures that clinical papers report of a bone.

    Parameters
    ----------
    strengths_N : mapping of str to float
        By the name of the load case.
    patient : Patient, optional
    strain_fold : float, optional
        Strain at the lesion over that of the intact bone.
    cortical_mm : float, optional
        Axial length of cortex that lesions destroyed.

    Returns
    -------
    tuple of Figure
        Only those that the load cases can answer; what is missing is named.

    Raises
    ------
    InputError
        If a strength is not a positive number.
    """
    for name, strength in strengths_N.items():
        if not (np.isfinite(strength) and strength > 0):
            raise InputError(f"the strength under {name} must be positive, got {strength}")
    patient = patient or Patient()
    figures: list[Figure] = []
    for name, strength in strengths_N.items():
        if name in FRAGILE:
            figures.append(_strength(name, strength))
        if name == "sideways_fall":
            figures.append(_load_to_strength(strength, patient))
        if name in ("single_leg_stance", "stair_climbing"):
            figures.append(_over_weight(name, strength, patient))
    if strain_fold is not None:
        threshold = Threshold(1.48, "above", STERNHEIM)
        words = "largest strain at the lesion over that of the intact bone at the same place"
        figures.append(Figure("strain fold ratio", "", strain_fold, (threshold,), "", words))
    if cortical_mm is not None:
        threshold = Threshold(30.0, "above", VAN_DER_LINDEN)
        words = "length of cortex along the shaft that lesions destroyed"
        name = "axial cortical involvement"
        figures.append(Figure(name, "mm", cortical_mm, (threshold,), "", words))
    return tuple(figures)


def _strength(name: str, strength: float) -> Figure:
    words = f"strength under {name.replace('_', ' ')}"
    return Figure(f"strength, {name.replace('_', ' ')}", "N", strength, FRAGILE[name], "", words)


def _load_to_strength(strength: float, patient: Patient) -> Figure:
    impact = fall_impact_force(patient)
    ratio = None if impact is None else impact / strength
    known = "" if impact is None else f" ({impact:.0f} N)"
    return Figure(
        "load to strength in a fall",
        "",
        ratio,
        (Threshold(1.0, "above", KEAVENY),),
        "the patient's mass and height" if ratio is None else "",
        f"impact force of a fall from standing{known}, by Robinovitch et al. 1991 ({UNVERIFIED}), "
        "over the strength in a sideways fall",
    )


def _over_weight(name: str, strength: float, patient: Patient) -> Figure:
    weight = patient.weight
    return Figure(
        f"fracture load over body weight, {name.replace('_', ' ')}",
        "",
        None if weight is None else strength / weight,
        (Threshold(7.5, "below", BOSTON),),
        "" if weight else "the patient's mass",
        "strength over body weight; the threshold is of another model and does not carry over",
    )
