"""What a scanner shows at a tube voltage."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bonekit.calibration.attenuation import attenuation, equivalent_hu
from bonekit.density import DensityKind
from bonekit.errors import InputError
from bonekit.image import scan_info
from bonekit.phantom import ScannerParameters, vertebra_phantom, write_phantom
from bonekit.phantom.appearance import Appearance, Line, appearance, spectrum

SOFT = ("air", "fat", "muscle", "cartilage", "disc", "canal")
VOLTAGES = (80.0, 100.0, 120.0, 140.0)


def at(kVp: float) -> Appearance:
    return appearance(ScannerParameters(kVp=kVp))


def test_without_a_voltage_all_is_as_given() -> None:
    shown = appearance(ScannerParameters(hu_per_g_cm3=1200, hu_at_zero=-20))
    assert [getattr(shown, name) for name in SOFT] == [-1000, -100, 55, 60, 80, 20]
    assert (shown.bone, shown.apatite) == (Line(1200, -20), None)
    assert shown.rods.hu(0.2) == pytest.approx(-20 + 1200 * (1.06 * 0.2 + 0.0389))


def test_a_spectrum_ends_at_its_voltage_and_hardens() -> None:
    means = []
    for kVp in VOLTAGES:
        energy, share = spectrum(kVp)
        assert energy.max() < kVp
        assert share.min() >= 0
        assert share.sum() == pytest.approx(1)
        means.append(float(energy @ share))
    assert (np.diff(means) > 5).all()


@pytest.mark.parametrize("kVp", VOLTAGES)
def test_tissues_look_like_tissues(kVp: float) -> None:
    shown = at(kVp)
    assert -135 < shown.fat < -85
    assert 30 < shown.muscle < 60
    assert -45 < shown.bone.hu_at_zero < 0
    assert shown.air == pytest.approx(-1000)


def test_bone_fades_with_voltage() -> None:
    """At 80 kVp bone shows half as much again as at 140 kVp, soft tissue nearly the same."""
    assert 1.45 < at(80).bone.hu(1.15) / at(140).bone.hu(1.15) < 1.75
    assert abs(at(80).muscle - at(140).muscle) < 4


@pytest.mark.parametrize("kVp", VOLTAGES)
def test_an_effective_energy_exists(kVp: float) -> None:
    """Absorption and scatter are two functions of energy: their ratio is that of one energy.

    (Alvarez and Macovski, Phys Med Biol 1976.) Fat and mineral find the same.
    """
    energies = np.linspace(40, 110, 1401)
    water, air = attenuation("water", energies), attenuation("air", energies)
    mu = 0.9 * attenuation("lipid", energies) + 0.1 * water
    shown = at(kVp)
    assert shown.apatite is not None
    of_mineral, of_fat = (
        energies[np.abs(single - spectral).argmin()]
        for single, spectral in (
            (equivalent_hu(DensityKind.HA, energies), shown.apatite.hu_per_g_cm3),
            (1000 * (mu - water) / (water - air), shown.fat),
        )
    )
    assert of_fat == pytest.approx(of_mineral, abs=0.7)
    mean = float(np.dot(*spectrum(kVp)))
    assert mean - 15 < of_mineral < mean - 1  # low energies weigh more where bone absorbs


def test_a_phantom_shows_its_voltage(tmp_path: Path) -> None:
    scanner = ScannerParameters(spacing_mm=(1.5, 1.5, 4), supersampling=1, noise_hu=0, kVp=100)
    made = vertebra_phantom(scanner=scanner)
    shown = at(100)
    assert (made.hu_per_g_cm3, made.hu_at_zero) == (
        shown.bone.hu_per_g_cm3,
        shown.bone.hu_at_zero,
    )
    assert shown.apatite is not None
    assert made.truth["hydroxyapatite_line"] == asdict(shown.apatite)
    assert made.truth["parameters"]["scanner"]["kVp"] == 100
    assert scan_info(write_phantom(made, tmp_path, dicom=True)).kVp == 100
    whole = made.labels.mask("trabecular") & (made.density.array > 0.1)
    fitted = np.polyfit(made.density.array[whole], made.ct.array[whole], 1)
    assert_allclose(fitted[0], shown.bone.hu_per_g_cm3, rtol=0.1)
    values, counts = np.unique(made.ct.array[made.labels.array == 0], return_counts=True)
    assert abs(int(values[counts.argmax()]) - shown.muscle) <= 1


def test_bad_voltages_are_refused() -> None:
    with pytest.raises(InputError, match="kVp is 40; allowed: 70 to 150"):
        ScannerParameters(kVp=40)
    with pytest.raises(InputError, match="both kVp 120 and a line"):
        ScannerParameters(kVp=120, hu_per_g_cm3=1200)
    assert replace(ScannerParameters(), kVp=120).kVp == 120
