"""From density to elasticity: named laws with their source, unit, site and range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.density import DensityKind
from bonekit.errors import InputError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Power:
    """``offset + factor * density ** exponent`` in MPa.

    Parameters
    ----------
    factor : float
        MPa at 1 g/cm3.
    exponent : float
    offset : float
        MPa.
    """

    factor: float
    exponent: float = 1.0
    offset: float = 0.0

    def __call__(self, density: Float) -> Float:
        """Evaluate at densities in g/cm3."""
        return np.asarray(self.offset + self.factor * density**self.exponent)

    def __str__(self) -> str:
        """Short, for tables."""
        power = f"{self.factor:g} rho" + (f"^{self.exponent:g}" if self.exponent != 1.0 else "")
        return f"{self.offset:g} + {power}" if self.offset else power

    def formula(self, density: str) -> str:
        """Write the law out, for a density of that name."""
        power = f"{self.factor:g} MPa * ({density} density in g/cm3)"
        if self.exponent != 1.0:
            power += f" ^ {self.exponent:g}"
        return f"{self.offset:g} MPa + {power}" if self.offset else power


@dataclass(frozen=True)
class Law:
    """A law from density to Young's modulus: a power law, or several side by side.

    Parameters
    ----------
    name : str
    kind : DensityKind
        The density the law asks for.
    pieces : tuple of Power
        From the least dense to the densest.
    low, high : float
        g/cm3; densities outside are moved to these limits, and counted.
    source : str
        With "unverified" where the numbers have not been compared with a copy of the source.
    site : str
        Bone that the law was measured on.
    bounds : tuple of float
        g/cm3 where one piece ends and the next begins; one fewer than the pieces.
    valid : (float, float), optional
        g/cm3 that the law was measured on; elements outside are counted and left as they are.
    strength : Power, optional
        Compressive strength in MPa, of the same density.
    strength_source : str
        Empty: that of the modulus.

    Raises
    ------
    InputError
        If the limits are not in order, or the modulus is not positive at one of them.
    """

    name: str
    kind: DensityKind
    pieces: tuple[Power, ...]
    low: float
    high: float
    source: str
    site: str
    bounds: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    strength: Power | None = None
    strength_source: str = ""

    def __post_init__(self) -> None:
        if len(self.bounds) != len(self.pieces) - 1:
            raise InputError(
                f"law {self.name}: {len(self.pieces)} pieces need {len(self.pieces) - 1} bounds "
                f"between them, got {len(self.bounds)}"
            )
        limits = (self.low, *self.bounds, self.high)
        if not (self.low >= 0 and (np.diff(limits) > 0).all()):
            raise InputError(
                f"law {self.name}: densities must be 0 or more and rise from its lower to its "
                f"upper limit, got {', '.join(f'{d:g}' for d in limits)} g/cm3"
            )
        if self.valid is not None and not self.valid[0] < self.valid[1]:
            raise InputError(f"law {self.name}: the valid range {self.valid} is empty")
        E = self.modulus(np.array(limits))
        if not (np.isfinite(E).all() and (E > 0).all()):
            raise InputError(
                f"law {self.name}: the modulus must be positive from its lower to its upper limit; "
                f"it is {', '.join(f'{e:g}' for e in E)} MPa at "
                f"{', '.join(f'{d:g}' for d in limits)} g/cm3. Raise the lower limit"
            )

    def modulus(self, density: Float) -> Float:
        """Young's modulus in MPa at densities in g/cm3, which are moved to the law's limits."""
        clamped = np.clip(density, self.low, self.high)
        if not self.bounds:
            return self.pieces[0](clamped)
        each = np.stack([piece(clamped) for piece in self.pieces])
        which = np.searchsorted(self.bounds, clamped, side="right")
        return np.asarray(np.take_along_axis(each, which[None], axis=0)[0])

    @property
    def description(self) -> str:
        """The law as a formula."""
        if not self.bounds:
            return f"E = {self.pieces[0].formula(self.kind)}"
        ends = [f"below {bound:g} g/cm3" for bound in self.bounds]
        ends.append(f"from {self.bounds[-1]:g} g/cm3")
        parts = zip(self.pieces, ends, strict=True)
        return "E = " + "; ".join(f"{piece.formula(self.kind)} {end}" for piece, end in parts)

    @property
    def verified(self) -> bool:
        """Whether the numbers were seen in a source."""
        return "unverified" not in self.source


# Lower limits: 6 mg/cm3 of ash, as Ogo and parosol-py clamp, or as much apparent density. Laws for
# K2HPO4 are negative or zero there: theirs give about the same 13.8 MPa, the softest element of
# both. The cube of Carter & Hayes vanishes sooner: its limit gives 2.9 MPa. Upper limits: denser
# than any human bone, 1.4 g/cm3 of ash in the density of the law.
_ASH = (0.006, 1.4)
_APPARENT = (0.01, 2.3333)
_UNVERIFIED = "unverified: quoted from memory"
_MORGAN = "Morgan, Bayraktar & Keaveny, J Biomech 2003"
_KOPPERDAHL = "Kopperdahl, Morgan & Keaveny, J Orthop Res 2002"
_CARTER = f"Carter & Hayes, J Bone Joint Surg 1977, at a strain rate of 0.01/s ({_UNVERIFIED})"
_SLOW = 0.01**0.06  # factor of Carter & Hayes at 0.01/s: a quasi-static test

LAWS: Mapping[str, Law] = {
    law.name: law
    for law in (
        Law(
            "keyak_2005",
            DensityKind.ASH,
            (Power(14900.0, 1.86),),
            *_ASH,
            "Keyak et al., Clin Orthop Relat Res 2005 (femur)",
            "femur",
            strength=Power(102.0, 1.80),
        ),
        Law(
            "keller_1994",
            DensityKind.ASH,
            (Power(10500.0, 2.29),),
            *_ASH,
            "Keller, J Biomech 1994 (femur and spine)",
            "femur and vertebra",
            strength=Power(117.0, 1.93),
            strength_source=f"Keller, J Biomech 1994 ({_UNVERIFIED})",
        ),
        Law(
            "morgan_2003_vertebra",
            DensityKind.APPARENT,
            (Power(4730.0, 1.56),),
            *_APPARENT,
            f"{_MORGAN} (vertebra)",
            "vertebra, trabecular",
        ),
        Law(
            "morgan_2003_femoral_neck",
            DensityKind.APPARENT,
            (Power(6850.0, 1.49),),
            *_APPARENT,
            f"{_MORGAN} (femoral neck)",
            "femoral neck, trabecular",
        ),
        Law(
            "morgan_2003_greater_trochanter",
            DensityKind.APPARENT,
            (Power(15010.0, 2.18),),
            *_APPARENT,
            f"{_MORGAN} (greater trochanter)",
            "greater trochanter, trabecular",
        ),
        Law(
            "kopperdahl_2002_power",
            DensityKind.K2HPO4,
            (Power(2980.0, 1.05),),
            0.006,
            1.284,
            f"{_KOPPERDAHL} (vertebra, QCT density)",
            "vertebra, trabecular",
            strength=Power(37.4, 1.39),
            strength_source=f"{_KOPPERDAHL}, yield stress",
        ),
        Law(
            "kopperdahl_2002_linear",
            DensityKind.K2HPO4,
            (Power(3230.0, 1.0, -34.7),),
            0.015,
            1.284,
            f"{_KOPPERDAHL} (vertebra, QCT density)",
            "vertebra, trabecular",
            strength=Power(37.4, 1.39),
            strength_source=f"{_KOPPERDAHL}, yield stress",
        ),
        Law(
            "carter_hayes_1977",
            DensityKind.APPARENT,
            (Power(3790.0 * _SLOW, 3.0),),
            0.1,
            2.3333,
            _CARTER,
            "several bones, human and bovine",
            strength=Power(68.0 * _SLOW, 2.0),
            strength_source=_CARTER,
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Elasticity:
    """Young's moduli of elements, and what was clamped on the way.

    Parameters
    ----------
    E_MPa : ndarray of float, (n_elements,)
    n_floor, n_ceiling : int
        Elements whose density lay below or above the law's limits and was moved there.
    n_extrapolated : int, optional
        Elements outside the densities that the law was measured on; None where those are not
        known.
    mapping : str
        "density": the law at the mean density of the element, which is what is counted;
        "modulus": the mean of the law over the element, which is counted if any point of it is.
    """

    E_MPa: Float
    n_floor: int
    n_ceiling: int
    n_extrapolated: int | None = None
    mapping: Literal["density", "modulus"] = "density"


def law_named(name: str) -> Law:
    """Look up a law.

    Raises
    ------
    InputError
        If there is none of that name; the message lists those that exist.
    """
    if name not in LAWS:
        raise InputError(f"law {name!r} is unknown; known: {', '.join(LAWS)}")
    return LAWS[name]


def elasticity(density: Float, kind: DensityKind, law: Law) -> Elasticity:
    """Apply a law to element densities.

    Parameters
    ----------
    density : ndarray of float, (n_elements,)
        g/cm3.
    kind : DensityKind
        What the densities are densities of.
    law : Law

    Raises
    ------
    InputError
        If the law asks for another kind of density, or a density is not finite.
    """
    if kind is not law.kind:
        raise InputError(
            f"law {law.name} asks for {law.kind} density, got {kind} density; see "
            "bonekit.density.conversion"
        )
    if not np.isfinite(density).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(density))} element densities are NaN")
    n_floor = int(np.count_nonzero(density < law.low))
    n_ceiling = int(np.count_nonzero(density > law.high))
    return Elasticity(law.modulus(density), n_floor, n_ceiling, _extrapolated(density, law))


def _extrapolated(density: Float, law: Law) -> int | None:
    if law.valid is None:
        return None
    low, high = law.valid
    return int(np.count_nonzero((density < low) | (density > high)))
