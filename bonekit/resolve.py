"""From the entries of a case to what the library takes: lines, laws and loadings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bonekit.case import Case
from bonekit.case.calibration import LineSettings
from bonekit.case.loads import LoadSettings, MuscleSettings, SetsSettings, StanceSettings
from bonekit.case.material import LawSettings, TreatmentSettings
from bonekit.density import Calibration, DensityKind
from bonekit.errors import CalibrationError, InputError
from bonekit.fem.catalogue import LAWS
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.flexion import CombinedLoad, ForwardFlexion
from bonekit.fem.laws import Law, Power, fixed_modulus
from bonekit.fem.loadcases import Loading
from bonekit.fem.muscles import MuscleLoad
from bonekit.fem.named_loads import NamedLoad
from bonekit.fem.shaft import FourPointBending, ShaftTorsion
from bonekit.fem.simulation import standard_law, standard_loading
from bonekit.fem.stance import CONVENTIONS, SingleLegStance
from bonekit.fem.tissue import VOID, LesionPolicy, Tissue, Treatment
from bonekit.lesions import LesionKind


def line_of(given: LineSettings) -> Calibration:
    """Make the calibration that a case states.

    Raises
    ------
    InputError
        If it is not plausible.
    """
    try:
        return Calibration(
            given.slope,
            given.intercept,
            DensityKind(given.kind),
            given.source,
            covariance=given.covariance,
            range_HU=given.range_HU,
            kVp=given.kVp,
            kernel=given.kernel,
        )
    except CalibrationError as error:
        raise InputError(f"calibration of the case: {error}") from error


def laws_of(case: Case) -> Mapping[str, Law]:
    """Return all laws that a case may name: the known ones and its own."""
    laws = dict(LAWS)
    for given in case.material.laws:
        if given.name in laws:
            raise InputError(f"two laws are named {given.name!r}: choose another for your own")
        laws[given.name] = _law(given)
    return laws


def tissue_of(case: Case, bone: str) -> Tissue:
    """Return the laws of a bone's regions and what its lesions are made of.

    Raises
    ------
    InputError
        If a law is unknown, or one of the case is not a law.
    """
    laws, given = laws_of(case), case.material
    kinds: dict[LesionKind, TreatmentSettings | None] = {
        "lytic": given.lesions.lytic,
        "blastic": given.lesions.blastic,
        "mixed": given.lesions.mixed,
    }
    policy = LesionPolicy(
        _treatment(given.lesions.default, laws),
        {kind: _treatment(entry, laws) for kind, entry in kinds.items() if entry is not None},
        {number: _treatment(entry, laws) for number, entry in given.lesions.each.items()},
    )
    regions: dict[str, Law] = {region: _named(laws, name) for region, name in given.regions.items()}
    law = standard_law(bone) if given.law is None else _named(laws, given.law)
    return Tissue(law, regions, policy)


def loading_of(given: LoadSettings | None, bone: str, mass_kg: float | None = None) -> Loading:
    """Return how a bone is loaded.

    Raises
    ------
    InputError
        If the numbers don't go together, or a load needs the patient's mass and there is none.
    """
    if given is None:
        return standard_loading(bone)
    stated = {k: v for k, v in given.model_dump().items() if k not in ("case", "convention")}
    match given:
        case StanceSettings(convention=str(convention)):
            own = {k: v for k, v in stated.items() if k in given.model_fields_set}
            return replace(CONVENTIONS[convention], **own)
        case MuscleSettings():
            return MuscleLoad(given.case, mass_kg, **stated)
        case SetsSettings():
            return NamedLoad(
                tuple((s.set, s.components, s.displacement_mm) for s in given.held),
                tuple((s.set, s.force_N) for s in given.loaded),
            )
    return LOADINGS[given.case](**stated)


LOADINGS: Mapping[str, Callable[..., Loading]] = {
    "single_leg_stance": SingleLegStance,
    "sideways_fall": SidewaysFall,
    "shaft_torsion": ShaftTorsion,
    "four_point_bending": FourPointBending,
    "endplate_compression": EndplateCompression,
    "forward_flexion": ForwardFlexion,
    "combined": CombinedLoad,
}


def _treatment(given: TreatmentSettings, laws: Mapping[str, Law]) -> Treatment:
    if given.treatment == "void":
        return VOID
    if given.law is not None:
        return _named(laws, given.law)
    return "density" if given.E_MPa is None else fixed_modulus(given.E_MPa)


def _named(laws: Mapping[str, Law], name: str) -> Law:
    if name not in laws:
        raise InputError(f"law {name!r} is unknown; known: {', '.join(laws)}")
    return laws[name]


def _law(given: LawSettings) -> Law:
    first, *others = given.pieces
    if first.from_g_cm3:
        raise InputError(
            f"law {given.name}: its first piece starts at {first.from_g_cm3:g} g/cm3; leave "
            "from_g_cm3 out there, low_g_cm3 is the lower limit"
        )
    return Law(
        given.name,
        DensityKind(given.kind),
        tuple(Power(piece.factor, piece.exponent, piece.offset) for piece in given.pieces),
        given.low_g_cm3,
        given.high_g_cm3,
        given.source,
        given.site,
        bounds=tuple(piece.from_g_cm3 for piece in others),
        valid=given.valid_g_cm3,
    )
