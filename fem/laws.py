"""What a law from density to elasticity is: its formula, its limits, what follows after yield."""

from __future__ import annotations

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
        MPa at 1 g/cm3; 0 for a constant.
    exponent : float
    offset : float
        MPa.
    """

    factor: float
    exponent: float = 1.0
    offset: float = 0.0

    def __call__(self, density: Float) -> Float:
        """Evaluate at densities in g/cm3."""
        if self.factor == 0.0:
            return np.full(np.shape(density), self.offset)
        return np.asarray(self.offset + self.factor * density**self.exponent)

    def __str__(self) -> str:
        """Short, for tables."""
        if self.factor == 0.0:
            return f"{self.offset:g}"
        power = f"{self.factor:g} rho" + (f"^{self.exponent:g}" if self.exponent != 1.0 else "")
        return f"{self.offset:g} + {power}" if self.offset else power

    def formula(self, density: str) -> str:
        """Write the law out, for a density of that name."""
        if self.factor == 0.0:
            return f"{self.offset:g} MPa"
        power = f"{self.factor:g} MPa * ({density} density in g/cm3)"
        if self.exponent != 1.0:
            power += f" ^ {self.exponent:g}"
        return f"{self.offset:g} MPa + {power}" if self.offset else power


@dataclass(frozen=True)
class PostYield:
    """Plateau, softening and residual stress of bone, as Keyak et al. 2005 describe it.

    Stress rises to the strength S, stays there over a plastic strain `plateau`, falls with the
    modulus `softening` and stays at `minimum`. The first two were measured over specimens of
    `specimen_mm`, in which failure is localised; for an element of edge h they are rescaled so that
    a specimen with one yielding slice of thickness h, and the rest elastic, gives what was
    measured.

    Parameters
    ----------
    region : "trabecular" or "cortical"
    plateau : Power
        Plastic strain of a specimen at constant stress, of the density.
    softening : Power
        Negative slope in MPa of stress over strain of a specimen, of the density.
    minimum : Power
        Stress in MPa that remains, of the density.
    specimen_mm : float
        Length of the specimens.
    source : str
    """

    region: Literal["trabecular", "cortical"]
    plateau: Power
    softening: Power
    minimum: Power
    specimen_mm: float
    source: str

    def plateau_strain(self, density: Float, edge_mm: float) -> Float:
        """Plastic strain at the strength, epsilon_AB, in elements of an edge length.

        ``epsilon_AB = plateau * L / h``: one element takes the deformation of the specimen.

        Parameters
        ----------
        density : ndarray of float
            g/cm3, of the kind of the law.
        edge_mm : float

        Raises
        ------
        InputError
            If the edge length is not positive.
        """
        return self.plateau(density) * self.specimen_mm / _edge(edge_mm)

    def softening_modulus(self, density: Float, E_MPa: Float, edge_mm: float) -> Float:
        """Slope in MPa, negative, after the plateau in elements of an edge length.

        ``L / Ep = h / Ep_h + (L - h) / E`` gives ``Ep_h = h E Ep / (L E - (L - h) Ep)``; with
        h = 3 mm ``3 E Ep / (15 E - 12 Ep)`` for L = 15 mm and ``3 E Ep / (5 E - 2 Ep)`` for 5 mm.

        Parameters
        ----------
        density, E_MPa : ndarray of float
        edge_mm : float

        Raises
        ------
        InputError
            If the edge length is not positive, or so much longer than a specimen that the slope
            of an element is no longer negative.
        """
        h, L = _edge(edge_mm), self.specimen_mm
        slope = self.softening(density)
        below = L * E_MPa - (L - h) * slope
        if (below <= 0).any():
            raise InputError(
                f"elements of {edge_mm:g} mm are too long for the softening of {self.region} bone, "
                f"measured over {L:g} mm; use a finer mesh"
            )
        return np.asarray(h * E_MPa * slope / below)

    def minimum_stress(self, density: Float) -> Float:
        """Stress in MPa that remains after softening, sigma_min; does not depend on the mesh."""
        return self.minimum(density)


def _edge(edge_mm: float) -> float:
    if not (np.isfinite(edge_mm) and edge_mm > 0):
        raise InputError(f"an element edge of {edge_mm} mm; it must be positive")
    return edge_mm


@dataclass(frozen=True)
class YieldStrain:
    """Strains at yield, the same at all densities of a site.

    Parameters
    ----------
    compression, tension : float
        Positive, as fractions.
    source : str
    """

    compression: float
    tension: float
    source: str


@dataclass(frozen=True)
class Law:
    """A law from density to Young's modulus: a power law, or several side by side, or a constant.

    Parameters
    ----------
    name : str
    kind : DensityKind
        The density the law asks for. A constant takes any; it is given ash density.
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
    tensile_strength : Power, optional
        MPa; of the same source as the strength.
    valid_source : str
        Empty: that of the modulus.
    post_yield : tuple of PostYield
        What follows after the strength, for each kind of bone.
    yield_strain : YieldStrain, optional

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
    tensile_strength: Power | None = None
    valid_source: str = ""
    post_yield: tuple[PostYield, ...] = ()
    yield_strain: YieldStrain | None = None

    def __post_init__(self) -> None:
        if len(self.bounds) != len(self.pieces) - 1:
            raise InputError(
                f"law {self.name}: {len(self.pieces)} pieces need {len(self.pieces) - 1} bounds "
                f"between them, got {len(self.bounds)}"
            )
        limits = (self.low, *self.bounds, self.high)
        if not ((self.low >= 0 or self.constant) and (np.diff(limits) > 0).all()):
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

    @property
    def constant(self) -> bool:
        """Whether the modulus is the same at every density."""
        return len(self.pieces) == 1 and self.pieces[0].factor == 0.0

    def after_yield(self, region: Literal["trabecular", "cortical"]) -> PostYield:
        """Look up what follows after the strength in a kind of bone.

        Raises
        ------
        InputError
            If the law does not say.
        """
        for found in self.post_yield:
            if found.region == region:
                return found
        raise InputError(
            f"law {self.name} does not say how {region} bone behaves after yield; keyak_2005 does"
        )


def fixed_modulus(E_MPa: float, name: str = "", source: str = "given by the user") -> Law:
    """Law of a modulus that does not depend on density.

    Parameters
    ----------
    E_MPa : float
    name : str
        By default ``fixed_<E>_MPa``.
    source : str

    Raises
    ------
    InputError
        If the modulus is not positive; for tissue that is gone there is `bonekit.fem.tissue.VOID`.
    """
    if not (np.isfinite(E_MPa) and E_MPa > 0):
        raise InputError(
            f"a fixed modulus of {E_MPa} MPa; it must be positive. For tissue that is gone take "
            "the treatment void"
        )
    pieces = (Power(0.0, offset=float(E_MPa)),)
    label = name or f"fixed_{E_MPa:g}_MPa"
    return Law(label, DensityKind.ASH, pieces, -np.inf, np.inf, source, "any tissue")


_SITES = {
    "femur": ("femur", "femoral", "trochanter"),
    "vertebra": ("vertebra", "spine"),
    "tibia": ("tibia",),
}


SITE_GROUPS = ("femur", "vertebra", "several and other bones", "tissue")


def site_group(law: Law) -> str:
    """Name the group of `SITE_GROUPS` a law belongs to, for lists and pictures."""
    if "tissue" in law.site:
        return "tissue"
    measured = _measured_on(law)
    return measured[0] if measured in (["femur"], ["vertebra"]) else SITE_GROUPS[2]


def _measured_on(law: Law) -> list[str]:
    site = law.site.lower()
    return [bone for bone, words in _SITES.items() if any(word in site for word in words)]


def site_mismatch(law: Law, bone: str) -> str | None:
    """Remark on a law that was measured on another bone; None where it fits or names no bone.

    Parameters
    ----------
    law : Law
    bone : str
        Such as ``femur_left`` or ``vertebra_L3``.
    """
    measured = _measured_on(law)
    if not measured or bone.split("_")[0] in measured:
        return None
    return (
        f"law {law.name} was measured on another bone ({law.site}) than {bone}: moduli at equal "
        "density differ between sites by up to 50 % (Morgan et al. 2003)"
    )
