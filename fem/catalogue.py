"""The laws that bonekit knows by name, each with its source.

"unverified" marks numbers that were quoted from memory; all others were seen in the open code of
Bonelab (Ogo), of Sas et al. 2020, of parosol-py or of py-bmd-abaqus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bonekit.density import DensityKind
from bonekit.errors import InputError
from bonekit.fem.laws import Law, PostYield, Power, YieldStrain, fixed_modulus

# Lower limits: 6 mg/cm3 of ash, as Ogo and parosol-py clamp, or as much apparent density. Laws for
# K2HPO4 are negative or zero there: theirs give about the same 13.8 MPa, the softest element of
# both; so does that of Mulder. The cube of Carter & Hayes vanishes sooner: its limit gives 2.9 MPa.
# Upper limits: denser than any human bone, 1.4 g/cm3 of ash in the density of the law.
_ASH = (0.006, 1.4)
_APPARENT = (0.01, 2.3333)
_K2HPO4_HIGH, _HA_HIGH = 1.284, 1.5064
_UNVERIFIED = "unverified: quoted from memory"
_KEYAK = "Keyak et al., Clin Orthop Relat Res 2005"
_KELLER = "Keller, J Biomech 1994"
_MORGAN = "Morgan, Bayraktar & Keaveny, J Biomech 2003"
_MORGAN_RANGE = f"{_MORGAN} ({_UNVERIFIED})"
_MORGAN_YIELD = "Morgan & Keaveny, J Biomech 2001, as parosol-py uses it"
_KOPPERDAHL = "Kopperdahl, Morgan & Keaveny, J Orthop Res 2002"
_CARTER = f"Carter & Hayes, J Bone Joint Surg 1977, at a strain rate of 0.01/s ({_UNVERIFIED})"
_BAYRAKTAR = "Bayraktar et al., J Biomech 2004, rounded as Ogo does"
_SLOW = 0.01**0.06  # factor of Carter & Hayes at 0.01/s: a quasi-static test

_SAS = f"{_KEYAK}, as Sas et al. 2020 code it"
_KEYAK_AFTER_YIELD = (
    PostYield(
        "trabecular",
        plateau=Power(0.0241, 1.0, 0.00189),
        softening=Power(-2080.0, 1.45),
        minimum=Power(43.1, 1.81),
        specimen_mm=15.0,
        source=_SAS,
    ),
    PostYield(
        "cortical",
        plateau=Power(-0.0100, 1.0, 0.0184),
        softening=Power(0.0, offset=-1000.0),
        minimum=Power(43.1, 1.81),
        specimen_mm=5.0,
        source=_SAS,
    ),
)


def homminga(E_MPa: float, density_g_cm3: float, kind: DensityKind, source: str) -> Law:
    """Law ``E = E_max (rho / rho_max) ^ 1.7`` of Homminga et al., for a scanner's own scale.

    Parameters
    ----------
    E_MPa : float
        Modulus of fully mineralised tissue, E_max.
    density_g_cm3 : float
        Its density, rho_max; also the upper limit of the law.
    kind : DensityKind
    source : str
        Of the two numbers.

    Raises
    ------
    InputError
        If one of the numbers is not positive.
    """
    if not (E_MPa > 0 and density_g_cm3 > 0):
        raise InputError(
            f"E_max of {E_MPa} MPa at rho_max of {density_g_cm3} g/cm3; both must be positive"
        )
    return Law(
        "homminga_2003",
        kind,
        (Power(E_MPa * density_g_cm3**-1.7, 1.7),),
        0.02 * density_g_cm3,  # 0.13 % of E_max
        density_g_cm3,
        f"exponent of Homminga et al. 2003, as FAIM offers it; {source}",
        "tissue of trabecular bone, micro-CT",
    )


LAWS: Mapping[str, Law] = {
    law.name: law
    for law in (
        Law(
            "keyak_2005",
            DensityKind.ASH,
            (Power(14900.0, 1.86),),
            *_ASH,
            f"{_KEYAK} (femur)",
            "femur",
            strength=Power(102.0, 1.80),
            post_yield=_KEYAK_AFTER_YIELD,
        ),
        Law(
            "keller_1994",
            DensityKind.ASH,
            (Power(10500.0, 2.29),),
            *_ASH,
            f"{_KELLER} (femur and spine)",
            "femur and vertebra",
            strength=Power(117.0, 1.93),
            strength_source=f"{_KELLER} ({_UNVERIFIED})",
        ),
        Law(
            "morgan_2003_vertebra",
            DensityKind.APPARENT,
            (Power(4730.0, 1.56),),
            *_APPARENT,
            f"{_MORGAN} (vertebra)",
            "vertebra, trabecular",
            valid=(0.11, 0.35),
            valid_source=_MORGAN_RANGE,
        ),
        Law(
            "morgan_2003_proximal_tibia",
            DensityKind.APPARENT,
            (Power(15520.0, 1.93),),
            *_APPARENT,
            f"{_MORGAN} (proximal tibia; {_UNVERIFIED})",
            "proximal tibia, trabecular",
            valid=(0.09, 0.41),
            valid_source=_MORGAN_RANGE,
        ),
        Law(
            "morgan_2003_greater_trochanter",
            DensityKind.APPARENT,
            (Power(15010.0, 2.18),),
            *_APPARENT,
            f"{_MORGAN} (greater trochanter)",
            "greater trochanter, trabecular",
            valid=(0.14, 0.28),
            valid_source=_MORGAN_RANGE,
            yield_strain=YieldStrain(0.0070, 0.0061, _MORGAN_YIELD),
        ),
        Law(
            "morgan_2003_femoral_neck",
            DensityKind.APPARENT,
            (Power(6850.0, 1.49),),
            *_APPARENT,
            f"{_MORGAN} (femoral neck)",
            "femoral neck, trabecular",
            valid=(0.26, 0.75),
            valid_source=_MORGAN_RANGE,
            yield_strain=YieldStrain(0.0085, 0.0061, _MORGAN_YIELD),
        ),
        Law(
            "morgan_2003_pooled",
            DensityKind.APPARENT,
            (Power(8920.0, 1.83),),
            *_APPARENT,
            f"{_MORGAN} (all four sites pooled, as py-bmd-abaqus codes it)",
            "vertebra, tibia and femur, trabecular",
            valid=(0.09, 0.75),
            valid_source=_MORGAN_RANGE,
        ),
        Law(
            "kopperdahl_2002_power",
            DensityKind.K2HPO4,
            (Power(2980.0, 1.05),),
            0.006,
            _K2HPO4_HIGH,
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
            _K2HPO4_HIGH,
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
        Law(
            "mulder_2007",
            DensityKind.HA,
            (Power(25000.0, 1.0, -5830.0),),
            0.23375,
            _HA_HIGH,
            "Mulder et al. 2007, as parosol-py offers it",
            "tissue of a developing mandible, micro-CT",
        ),
        homminga(10000.0, 1.0, DensityKind.HA, f"10 GPa at 1 g/cm3 ({_UNVERIFIED})"),
        replace(
            fixed_modulus(18000.0, "bayraktar_2004_trabecular_tissue", _BAYRAKTAR),
            site="tissue of trabecular bone",
            strength=Power(0.0, offset=134.0),
            strength_source=f"{_BAYRAKTAR}, yield stress",
            tensile_strength=Power(0.0, offset=83.0),
        ),
        replace(
            fixed_modulus(20000.0, "bayraktar_2004_cortical_tissue", _BAYRAKTAR),
            site="tissue of cortical bone",
            strength=Power(0.0, offset=134.0),
            strength_source=f"{_BAYRAKTAR}, yield stress, that of trabecular tissue",
            tensile_strength=Power(0.0, offset=83.0),
        ),
    )
}


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
