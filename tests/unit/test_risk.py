"""The figures of clinical papers: numbers as published, nothing guessed, no verdict."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.risk import FRAGILE, UNVERIFIED, Figure, Patient, fall_impact_force, risk_figures

PATIENT = Patient(mass_kg=70.0, height_m=1.70)


def figure(name: str, *args: object, **kwargs: object) -> Figure:
    (found,) = (it for it in risk_figures(*args, **kwargs) if it.name.startswith(name))  # type: ignore[arg-type]
    return found


def test_the_impact_force_of_a_fall_by_hand() -> None:
    """sqrt(2 g h k m) of 70 kg and 1.70 m: 0.867 m, 24.5 kg, 71 kN/m."""
    assert fall_impact_force(PATIENT) == pytest.approx(5438.8, abs=0.5)
    padded = replace(PATIENT, soft_tissue_mm=20.0)
    assert fall_impact_force(padded) == pytest.approx(5438.8 - 20 * 71, abs=0.5)


def test_so_much_soft_tissue_that_nothing_is_left_is_an_answer() -> None:
    """An impact of 0 N is known; it is not "missing"."""
    soft = replace(PATIENT, soft_tissue_mm=150.0)
    assert fall_impact_force(soft) == 0.0
    found = figure("load to strength", {"sideways_fall": 3000.0}, soft)
    assert found.value == 0.0
    assert found.missing == ""


@pytest.mark.parametrize("known", [{}, {"mass_kg": 70.0}, {"height_m": 1.7}])
def test_without_mass_or_height_there_is_no_impact_force(known: dict[str, float]) -> None:
    assert fall_impact_force(Patient(**known)) is None
    found = figure("load to strength", {"sideways_fall": 3000.0}, Patient(**known))
    assert found.value is None
    assert found.sides() == ("",)
    assert "mass" in found.missing


def test_without_mass_there_is_no_load_over_body_weight() -> None:
    found = figure("fracture load over body weight", {"single_leg_stance": 6000.0})
    assert found.value is None
    assert "mass" in found.missing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mass_kg", 7.0),
        ("mass_kg", 700.0),
        ("mass_kg", float("nan")),
        ("height_m", 170.0),
        ("height_m", 0.17),
        ("soft_tissue_mm", -1.0),
    ],
)
def test_an_absurd_patient_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must lie between"):
        Patient(**{name: value})


def test_figures_of_one_bone() -> None:
    strengths = {"single_leg_stance": 6000.0, "sideways_fall": 3200.0, "shaft_torsion": 90e3}
    found = {it.name: it for it in risk_figures(strengths, PATIENT)}
    over = found["fracture load over body weight, single leg stance"]
    assert over.value == pytest.approx(6000 / (70 * 9.80665))
    assert over.sides() == ("above",)
    ratio = found["load to strength in a fall"]
    assert ratio.value == pytest.approx(5438.8 / 3200, rel=1e-4)
    assert ratio.sides() == ("above",)
    assert found["strength, sideways fall"].sides() == ("above", "below")  # women 3000, men 3500
    assert not any("torsion" in name for name in found)


def test_thresholds_are_those_of_the_notes() -> None:
    """Sternheim 2020 and Keaveny 2008 were seen; all others are marked as quoted from memory."""
    assert [t.value for t in FRAGILE["sideways_fall"]] == [3000.0, 3500.0]
    assert [t.value for t in FRAGILE["endplate_compression"]] == [4500.0, 6500.0]
    strengths = {"sideways_fall": 3e3, "single_leg_stance": 6e3, "endplate_compression": 5e3}
    figures = risk_figures(strengths, PATIENT, strain_fold=1.6, cortical_mm=31.0)
    seen = {it.name: (it.thresholds[0].value, it.thresholds[0].at_risk) for it in figures}
    assert seen["strain fold ratio"] == (1.48, "above")
    assert seen["axial cortical involvement"] == (30.0, "above")
    assert seen["load to strength in a fall"] == (1.0, "above")
    assert seen["fracture load over body weight, single leg stance"] == (7.5, "below")
    studies = [t.study for it in figures for t in it.thresholds]
    assert {s.source for s in studies if s.verified} == {
        "Keaveny et al. 2008: transition within 20 % of 1",
        "Sternheim et al. 2020",
    }
    assert all(UNVERIFIED in s.source for s in studies if not s.verified)
    (sternheim,) = (s for s in studies if s.source.startswith("Sternheim"))
    assert (sternheim.sensitivity, sternheim.specificity) == (100.0, 67.0)
    assert "24" in sternheim.size
    assert "9" in sternheim.size


@pytest.mark.parametrize("strength", [0.0, -5.0, np.nan, np.inf])
def test_a_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        risk_figures({"sideways_fall": strength}, PATIENT)
