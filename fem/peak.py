"""From a bone with its load to a nonlinear failure load: its laws after yield, and its peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.brick import strain_displacement
from bonekit.fem.compression import EndplateCompression
from bonekit.fem.constitutive import MaterialLaw
from bonekit.fem.failure import Failure, failure_load
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.flexion import CombinedLoad, ForwardFlexion
from bonekit.fem.keyak_law import keyak_law
from bonekit.fem.laws import Law
from bonekit.fem.loadcases import Loading
from bonekit.fem.model import Model
from bonekit.fem.shaft import FourPointBending, ShaftTorsion
from bonekit.fem.simulation import Problem
from bonekit.fem.stance import SingleLegStance
from bonekit.fem.steps import Progress
from bonekit.fem.strain_yield_law import SCHILEO, strain_yield
from bonekit.fem.strength import Strength, utilisation
from bonekit.fem.threads import within_operations
from bonekit.fem.tissue import Part

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
After = Literal["auto", "keyak", "strain"]

FEMUR_END_MM = 6.0  # a choice of bonekit: femora peak at 1 to 4 mm of head displacement
VERTEBRA_END = 0.019  # of the height: Costa et al. 2019 (notes say; not seen in the paper)
CORTEX = "cortex"
_POINTS = 20_001  # of the table from modulus to density
_NEVER = 1e3  # strain of tissue that does not break


@dataclass(frozen=True, eq=False)
class Peak:
    """A nonlinear strength.

    Parameters
    ----------
    strength : Strength
        Named "peak"; its utilisation is that of the total strain at the largest force.
    failure : Failure
        Curve, steps, plastic strain, damage, and how the path ended: "end" says that the force
        still rose, so that the strength is that of the largest displacement.
    """

    strength: Strength
    failure: Failure


@dataclass(frozen=True, eq=False)
class AfterYield:
    """A material law for every element, with its words.

    Parameters
    ----------
    law : MaterialLaw
    name : {"keyak", "strain"}
    description, source : str
    """

    law: MaterialLaw
    name: str
    description: str
    source: str


def after_yield(problem: Problem, after: After = "auto") -> AfterYield:
    """Give each element what follows its elastic range.

    ``"keyak"``: plateau, softening and residual stress of Keyak et al. 2005, at the density that
    belongs to the modulus; elements of the region "cortex" are cortical, the others trabecular.
    ``"strain"``: perfect plasticity at principal strains, those of the law of the part, or
    Schileo's 0.73 and 1.04 % where it names none. ``"auto"``: Keyak's where the laws of all parts
    go on after yield, or else strains. Parts of constant modulus (cement, void) stay elastic, and
    so do the elements under a force that is spread over nodes: one that stands out of the surface,
    all its nodes loaded, would give way by itself, long before the bone.

    Parameters
    ----------
    problem : Problem
    after : {"auto", "keyak", "strain"}

    Raises
    ------
    InputError
        If Keyak's law is asked for and a part has a law that does not go on after yield, or parts
        with different laws do; or if nothing can yield.
    """
    if after not in ("auto", "keyak", "strain"):
        raise InputError(f"after yield comes 'auto', 'keyak' or 'strain', got {after!r}")
    bone = [part for part in problem.assigned.parts if not part.law.constant]
    if not bone:
        raise InputError("no part of the model can yield: all have a constant modulus")
    laws = {part.law.name: part.law for part in bone}
    (first, *others) = laws.values()
    fits = bool(first.post_yield) and not others
    if after == "keyak" and not fits:
        raise InputError(
            f"Keyak's law after yield needs one law that goes on after yield in all parts, such as "
            f"keyak_2005; the parts have {', '.join(laws)}. Ask for 'strain', or for keyak_2005"
        )
    if after == "strain" or not fits:
        return _by_strain(problem.model, bone)
    return _by_keyak(problem, first, bone)


def _by_keyak(problem: Problem, law: Law, bone: list[Part]) -> AfterYield:
    model, mesh = problem.model, problem.model.mesh
    breaks = np.zeros(mesh.n_elements, dtype=bool)
    for part in bone:
        breaks[part.elements] = True
    breaks &= ~under_a_force(model)
    cortex = [value for value, name in mesh.names.items() if name == CORTEX]
    cortical = np.isin(mesh.element_region, cortex)
    edge_mm = float(np.prod(mesh.grid.spacing_mm)) ** (1 / 3)
    density = density_of(law, model.E_MPa)
    made = keyak_law(law, density, model.E_MPa, cortical, edge_mm, model.one_nu, breaks)
    return AfterYield(
        made,
        "keyak",
        f"von Mises plasticity with plateau and softening of {law.name} for elements of "
        f"{edge_mm:.3g} mm, {100 * cortical.mean():.0f} % of them cortical",
        law.after_yield("trabecular").source,
    )


def _by_strain(model: Model, bone: list[Part]) -> AfterYield:
    tension, compression = (np.full(len(model.E_MPa), _NEVER) for _ in range(2))
    words, sources = [], []
    for part in bone:
        known = part.law.yield_strain
        limits = (known.tension, known.compression) if known else SCHILEO
        tension[part.elements], compression[part.elements] = limits
        words.append(f"{part.name} {100 * limits[0]:g} / {100 * limits[1]:g} %")
        sources.append(known.source if known else "Schileo et al., J Biomech 2014 (femora)")
    loaded = under_a_force(model)
    tension[loaded] = compression[loaded] = _NEVER
    return AfterYield(
        strain_yield(model.E_MPa, model.one_nu, tension, compression),
        "strain",
        f"perfect plasticity at principal strains in tension / compression: {', '.join(words)}",
        "; ".join(dict.fromkeys(sources)),
    )


def under_a_force(model: Model) -> Bool:
    """Elements that have a node with a force of a load, (n_elements,)."""
    loaded = np.zeros(model.mesh.n_nodes, dtype=bool)
    for load in model.loads:
        loaded[load.nodes[np.any(load.force_N != 0, axis=-1)]] = True
    return np.asarray(loaded[model.mesh.elements].any(axis=1))


def density_of(law: Law, E_MPa: Float) -> Float:
    """Density in g/cm3 at which a law gives a modulus, (n,); its limits beyond them.

    Raises
    ------
    InputError
        If the modulus of the law does not rise with density everywhere.
    """
    high = law.high if np.isfinite(law.high) else max(3.0, 2 * law.low)
    density = np.geomspace(max(law.low, 1e-6), high, _POINTS)
    modulus = law.modulus(density)
    if (np.diff(modulus) <= 0).any():
        raise InputError(
            f"the modulus of law {law.name} does not rise with density everywhere: no density "
            "belongs to a modulus"
        )
    return np.interp(E_MPa, modulus, density)


def obstacle(loading: Loading, *, finite: bool = False) -> str | None:
    """Say what keeps a path from its peak under a load, or None.

    Parameters
    ----------
    loading : Loading
    finite : bool
        Large rotations and strains; rigid caps turn by small rotations only.
    """
    match loading:
        case ShaftTorsion() | CombinedLoad(force_N=0.0):
            return "is a moment, and a peak is that of a force: take a linear criterion"
        case SingleLegStance():
            turns = loading.head != "spread" or loading.distal == "pivot"
        case SidewaysFall():
            turns = loading.distal == "pivot"
        case _:
            turns = isinstance(loading, ForwardFlexion | CombinedLoad | FourPointBending)
    if finite and turns:
        return (
            "has a rigid cap that may turn, by small rotations only: leave out finite_strain, or "
            "hold and load the bone by nodes (distal: clamped; in a stance head: spread)"
        )
    return None


def standard_end_mm(problem: Problem) -> float:
    """Largest displacement of a path unless another is asked: see the constants above."""
    load, nodes_mm = problem.load, problem.model.mesh.nodes_mm
    if load.name == EndplateCompression.name:
        return VERTEBRA_END * float(load.parameters["height_mm"])
    if load.name in (ForwardFlexion.name, CombinedLoad.name):
        (plate,), (held,) = load.caps, load.constraints
        apart = nodes_mm[plate.nodes].mean(axis=0) - nodes_mm[held.nodes].mean(axis=0)
        return VERTEBRA_END * abs(float(apart @ load.direction))
    return FEMUR_END_MM


def peak_load(
    problem: Problem,
    *,
    after: After = "auto",
    end_mm: float | None = None,
    finite: bool = False,
    rtol: float = 1e-4,
    tolerance: float = 0.005,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Peak:
    """Load a bone until its force has peaked.

    The peak depends on the edge of the elements, by 23 % between 4 and 2 mm on a synthetic femur.
    Half of that is what coarse bricks are filled with, cortex mixed with what lies beside it; half
    is Keyak's regularisation, which keeps the energy of one broken section where many elements flow
    at once. Compare bones at one edge; see docs/verification.md and benchmarks/keyak_edges.py.

    Parameters
    ----------
    problem : Problem
        Of a load without an `obstacle`.
    after : {"auto", "keyak", "strain"}
        See `after_yield`.
    end_mm : float, optional
        Largest displacement of the load; by default `standard_end_mm`.
    finite : bool
        Large rotations and strains.
    rtol, tolerance, device, progress
        See `bonekit.fem.failure.failure_load`.
    threads : int, optional
        Threads of the processor, restored afterwards; by default torch's own number.

    Raises
    ------
    InputError
        See `after_yield` and `failure_load`; a moment has no failure load.
    Unfinished
        If no equilibrium is found while the force still rises.
    """
    if problem.load.measure != "force":
        raise InputError(f"load case {problem.load.name} is a moment; a peak is that of a force")
    law = after_yield(problem, after)
    end = standard_end_mm(problem) if end_mm is None else end_mm
    with within_operations(threads):
        found = failure_load(
            problem.model,
            law.law,
            end_mm=end,
            finite=finite,
            rtol=rtol,
            tolerance=tolerance,
            device=device,
            progress=progress,
        )
    return Peak(_strength(problem.model, law, found, end, finite), found)


def _strength(model: Model, law: AfterYield, found: Failure, end: float, finite: bool) -> Strength:
    mesh = model.mesh
    moved = found.nodes_mm[mesh.elements].reshape(mesh.n_elements, 24)
    strain = moved @ strain_displacement(mesh.grid.spacing_mm).T
    ended = {
        "peak": "after which it fell",
        "plateau": "where it rose no more",
        "end": f"reached at {end:.3g} mm, where it still rose",
    }[found.reason]
    kinematics = "large rotations and strains" if finite else "small strains"
    return Strength(
        found.strength_N,
        found.stiffness_N_mm,
        found.strength_N,
        utilisation(strain),
        "peak",
        f"Largest force of a nonlinear path, {ended}: {law.description}; {kinematics}.",
        law.source,
        {
            "displacement_mm": found.displacement_mm,
            "above": found.above,
            "end_mm": end,
            "finite": float(finite),
            "steps": float(len(found.steps)),
        },
    )
