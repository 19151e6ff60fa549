"""What the scanner shows of each tissue: fixed typical HU, or those of a tube voltage.

With a tube voltage, HU are averages over a whole spectrum, and tissues are mixtures of their own
(lipid, protein, water, mineral), so that a calibration on tabulated tissues at one photon energy is
not tested on its own assumptions. The spectrum is the same everywhere: bone and fat do not shade
each other (no cupping, no streaks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bonekit.calibration.attenuation import (
    APATITE_G_CM3,
    MATERIALS,
    attenuation,
    mineral_attenuation,
)
from bonekit.density import DensityKind, conversion
from bonekit.phantom.parameters import ScannerParameters

Float = NDArray[np.float64]

# Filter of tube, bow tie and body; typical values, not of a certain scanner.
ALUMINIUM_CM, WATER_CM = 1.0, 25.0
LOWEST_KEV, STEP_KEV = 25.0, 1.0

# Parts by volume.
_TISSUES: Mapping[str, Mapping[str, float]] = {
    "fat": {"lipid": 0.9, "water": 0.1},
    "muscle": {"muscle": 0.96, "lipid": 0.04},
    "cartilage": {"cartilage": 0.8, "water": 0.2},
    "disc": {"cartilage": 0.6, "water": 0.4},
    "canal": {"muscle": 0.5, "water": 0.5},
    "marrow": {"red_marrow": 0.5, "yellow_marrow": 0.5},
}
# Compact bone of 1.9 g/cm3: by mass 60 % ash and 30 % collagen (textbook figures), per cm3, and
# water. Ash is 5 % more than stoichiometric apatite, for the carbonate and the other salts in it.
COMPACT_ASH_G_CM3, _APATITE_G, _COLLAGEN_G = 1.15, 1.09, 0.56


@dataclass(frozen=True)
class Line:
    """``HU = hu_at_zero + hu_per_g_cm3 * density``."""

    hu_per_g_cm3: float
    hu_at_zero: float

    def hu(self, density_g_cm3: float) -> float:
        """HU of a density."""
        return self.hu_at_zero + self.hu_per_g_cm3 * density_g_cm3


@dataclass(frozen=True)
class Appearance:
    """HU of what is not bone, and the lines of what holds mineral.

    Parameters
    ----------
    bone : Line
        Of ash density.
    rods : Line
        Of the K2HPO4 density of calibration rods.
    apatite : Line, optional
        What a phantom of hydroxyapatite in water would show; None without a tube voltage.
    air, fat, muscle, cartilage, disc, canal : float
        HU; by default typical adult values at 120 kV.
    """

    bone: Line
    rods: Line
    apatite: Line | None = None
    air: float = -1000.0
    fat: float = -100.0
    muscle: float = 55.0
    cartilage: float = 60.0
    disc: float = 80.0
    canal: float = 20.0


def appearance(scanner: ScannerParameters) -> Appearance:
    """Tell what a scanner shows.

    Without a tube voltage: the scanner's line from ash density to HU; a rod shows the HU of the
    bone with the ash density ``1.06 rho + 0.0389`` (Keyak et al. 1994). With one: averages over
    `spectrum`, see `_at_voltage`.
    """
    if scanner.kVp is not None:
        return _at_voltage(scanner.kVp)
    bone = Line(scanner.hu_per_g_cm3, scanner.hu_at_zero)
    ash = conversion(DensityKind.K2HPO4, DensityKind.ASH)
    return Appearance(bone, Line(bone.hu_per_g_cm3 * ash.slope, bone.hu(ash.intercept)))


def spectrum(kVp: float) -> tuple[Float, Float]:
    """Energies in keV and their shares of the signal, (n,) each.

    Kramers' law (Phil Mag 1923), photons per energy ~ kVp / E - 1, behind 1 cm of aluminium and
    25 cm of water, in a detector that sums energy.
    """
    import xraydb  # opens a data base

    energy = np.arange(LOWEST_KEV, kVp, STEP_KEV)
    aluminium = np.asarray(xraydb.material_mu("aluminum", 1000.0 * energy), dtype=np.float64)
    depth = aluminium * ALUMINIUM_CM + attenuation("water", energy) * WATER_CM
    signal = energy * (kVp / energy - 1) * np.exp(-depth)
    return energy, signal / signal.sum()


@lru_cache(maxsize=16)
def _at_voltage(kVp: float) -> Appearance:
    """Average attenuation over the spectrum; bone is compact bone with marrow in its pores.

    That mixes by volume, so that HU rise on a line with the ash density; likewise the phantoms'
    minerals in water.
    """
    energy, share = spectrum(kVp)
    water = float(share @ attenuation("water", energy))
    scale = 1000.0 / (water - float(share @ attenuation("air", energy)))

    def hu(mixture: Mapping[str, float]) -> float:
        mu = sum(part * attenuation(name, energy) for name, part in mixture.items())
        return scale * (float(share @ mu) - water)

    def mineral(kind: DensityKind) -> Line:
        return Line(scale * float(share @ mineral_attenuation(kind, energy)), 0.0)

    soft = {name: hu(mixture) for name, mixture in _TISSUES.items()}
    marrow = soft.pop("marrow")
    bone = Line((hu(_compact()) - marrow) / COMPACT_ASH_G_CM3, marrow)
    return Appearance(bone, mineral(DensityKind.K2HPO4), mineral(DensityKind.HA), **soft)


def _compact() -> dict[str, float]:
    """Parts by volume of compact bone."""
    apatite = _APATITE_G / APATITE_G_CM3
    collagen = _COLLAGEN_G / MATERIALS["protein"].density_g_cm3
    return {"hydroxyapatite": apatite, "protein": collagen, "water": 1 - apatite - collagen}
