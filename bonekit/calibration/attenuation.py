"""Mass attenuation coefficients of tissues, from their composition by xraydb.

Coefficients are the sum of photoelectric absorption, coherent and incoherent scattering of the
elements (Elam, Ravel and Sieber, Radiat Phys Chem 2002, as kept by xraydb), weighted by mass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from bonekit.density import DensityKind
from bonekit.errors import InputError

Float = NDArray[np.float64]
ENERGIES_KEV = (20.0, 200.0)  # no absorption edge of these elements lies between
APATITE_G_CM3 = 3.16  # crystal density of hydroxyapatite


@dataclass(frozen=True)
class Material:
    """A tissue or a substance.

    Parameters
    ----------
    density_g_cm3 : float
    mass_fractions : mapping of str to float
        Of the elements.
    source : str
    """

    density_g_cm3: float
    mass_fractions: Mapping[str, float]
    source: str


_NIST = "ICRU Report 44 (1989), as listed by NIST, X-Ray Mass Attenuation Coefficients, table 2"
_ADIPOSE = (
    "adipose tissue 3 of Woodard and White, Br J Radiol 1986, as in Schneider et al., "
    "Phys Med Biol 2000"
)
_MARROW = "ICRU Report 44 (1989); Woodard and White, Br J Radiol 1986 (unverified: from memory)"
_PARTS = "ICRU Report 46 (1992) (unverified: quoted from memory)"
_FORMULA = "chemical formula"


def _of(density_g_cm3: float, source: str, symbols: str, percents: tuple[float, ...]) -> Material:
    fractions = dict(zip(symbols.split(), percents, strict=True))
    total = sum(fractions.values())  # printed tables are rounded to 0.1 %
    return Material(density_g_cm3, {s: w / total for s, w in fractions.items()}, source)


MATERIALS: Mapping[str, Material] = {
    "air": _of(0.001205, _NIST, "C N O Ar", (0.0124, 75.5268, 23.1781, 1.2827)),
    "water": _of(1.0, _FORMULA, "H O", (11.1894, 88.8106)),
    # adult fat, as between the mode of a scan's fat (-100 HU) and its density in cadavers (0.925
    # to 0.970 g/cm3: Martin et al., Int J Obes 1994); ICRU-44's is leaner, and shows -77 HU
    "adipose": _of(0.93, _ADIPOSE, "H C N O Na S Cl", (11.6, 68.1, 0.2, 19.8, 0.1, 0.1, 0.1)),
    "adipose_icru44": _of(0.95, _NIST, "H C N O Na S Cl", (11.4, 59.8, 0.7, 27.8, 0.1, 0.1, 0.1)),
    "muscle": _of(
        1.05, _NIST, "H C N O Na P S Cl K", (10.2, 14.3, 3.4, 71.0, 0.1, 0.2, 0.3, 0.1, 0.4)
    ),
    "blood": _of(
        1.06, _NIST, "H C N O Na P S Cl K Fe",
        (10.2, 11.0, 3.3, 74.5, 0.1, 0.1, 0.2, 0.3, 0.2, 0.1),
    ),
    "cortical_bone": _of(
        1.92, _NIST, "H C N O Na Mg P S Ca",
        (3.4, 15.5, 4.2, 43.5, 0.1, 0.2, 10.3, 0.3, 22.5),
    ),
    "red_marrow": _of(
        1.03, _MARROW, "H C N O P S Cl K Fe",
        (10.5, 41.4, 3.4, 43.9, 0.1, 0.2, 0.2, 0.2, 0.1),
    ),
    "yellow_marrow": _of(
        0.98, _MARROW, "H C N O Na S Cl", (11.5, 64.4, 0.7, 23.1, 0.1, 0.1, 0.1)
    ),
    "cartilage": _of(
        1.10, _MARROW, "H C N O Na P S Cl", (9.6, 9.9, 2.2, 74.4, 0.5, 2.2, 0.9, 0.3)
    ),
    "lipid": _of(0.92, _PARTS, "H C O", (11.8, 77.3, 10.9)),
    "protein": _of(1.35, _PARTS, "H C N O S", (6.6, 53.4, 17.0, 22.0, 1.0)),
    # Ca5(PO4)3OH
    "hydroxyapatite": _of(APATITE_G_CM3, _FORMULA, "H O P Ca", (0.2007, 41.4069, 18.4987, 39.8937)),
    # the density is that of the salt; as a phantom it is dissolved, see `equivalent_hu`
    "k2hpo4": _of(2.44, _FORMULA, "H O P K", (0.5787, 36.7427, 17.7833, 44.8953)),
}  # fmt: skip

# What 1 g of the mineral displaces of water, g. Hydroxyapatite: its own volume. K2HPO4 in
# solution: 0.2174 (Mindways QCT PRO User Guide 5.0, as documented by ogo.readthedocs.io).
_DISPLACED = {
    DensityKind.HA: ("hydroxyapatite", 1.0 / APATITE_G_CM3),
    DensityKind.K2HPO4: ("k2hpo4", 0.2174),
}


def mass_attenuation(name: str, energy_keV: ArrayLike) -> Float:
    """Mass attenuation coefficient of a material in cm2/g.

    Parameters
    ----------
    name : str
        Of `MATERIALS`.
    energy_keV : array_like
        20 to 200.

    Raises
    ------
    InputError
        If the material is unknown or an energy lies outside.
    """
    if name not in MATERIALS:
        raise InputError(f"no material named {name!r}; there are: {', '.join(MATERIALS)}")
    energy = np.asarray(energy_keV, dtype=np.float64)
    low, high = ENERGIES_KEV
    if not ((energy >= low) & (energy <= high)).all():
        raise InputError(
            f"photon energies from {energy.min():g} to {energy.max():g} keV; allowed: {low:g} to "
            f"{high:g}"
        )
    return np.asarray(np.exp(_spline(name)(np.log(energy))))


def attenuation(name: str, energy_keV: ArrayLike) -> Float:
    """Linear attenuation coefficient of a material in 1/cm; see `mass_attenuation`."""
    return MATERIALS[name].density_g_cm3 * mass_attenuation(name, energy_keV)


def hounsfield(mu_per_cm: ArrayLike, energy_keV: ArrayLike) -> Float:
    """HU of a linear attenuation coefficient for photons of one energy.

    ``1000 (mu - mu_water) / (mu_water - mu_air)``: water shows 0, air -1000.
    """
    water, air = attenuation("water", energy_keV), attenuation("air", energy_keV)
    return np.asarray(1000.0 * (np.asarray(mu_per_cm) - water) / (water - air))


def tissue_hu(name: str, energy_keV: ArrayLike) -> Float:
    """HU of a material for photons of one energy; see `mass_attenuation`."""
    return hounsfield(attenuation(name, energy_keV), energy_keV)


def mineral_attenuation(kind: DensityKind, energy_keV: ArrayLike) -> Float:
    """Linear attenuation that 1 g/cm3 of a phantom's mineral in water adds to that of water, 1/cm.

    Hydroxyapatite displaces its own volume of water (crystal density 3.16 g/cm3); 1 g of K2HPO4
    in solution displaces 0.2174 g of it.

    Raises
    ------
    InputError
        If `kind` is no phantom's mineral.
    """
    if kind not in _DISPLACED:
        allowed = ", ".join(_DISPLACED)
        raise InputError(f"no calibration phantom is made of {kind} density; allowed: {allowed}")
    name, displaced_g = _DISPLACED[kind]
    water = mass_attenuation("water", energy_keV)
    return np.asarray(mass_attenuation(name, energy_keV) - displaced_g * water)


def equivalent_hu(kind: DensityKind, energy_keV: ArrayLike) -> Float:
    """HU per g/cm3 of a phantom's mineral in water, for photons of one energy.

    See `mineral_attenuation`. Water itself shows 0 HU, so this is the whole line.
    """
    added = mineral_attenuation(kind, energy_keV)
    return hounsfield(attenuation("water", energy_keV) + added, energy_keV)


@cache
def _spline(name: str) -> CubicSpline:
    """Logarithm of the mass attenuation over that of the energy in keV."""
    import xraydb  # opens a data base, which no other command needs

    energy = np.geomspace(*ENERGIES_KEV, 120)
    energy[[0, -1]] = ENERGIES_KEV
    total = np.zeros_like(energy)
    for element, weight in MATERIALS[name].mass_fractions.items():
        total += weight * np.asarray(xraydb.mu_elam(element, 1000.0 * energy), dtype=np.float64)
    return CubicSpline(np.log(energy), np.log(total))
