"""The conforming engine with a nonlinear material law, loaded step by step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.fem.caps import CapMotion
from bonekit.fem.child import DivergenceError, Progress, run_child
from bonekit.fem.conforming_problem import (
    Arrays,
    NodalProblem,
    check_memory,
    settings,
    work_folder,
)
from bonekit.fem.constitutive import MaterialLaw, State
from bonekit.fem.exchange import LAWS, clear, read_arrays, write_model
from bonekit.fem.interpreters import Interpreter, choose
from bonekit.fem.model import Mesh, Model

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NonlinearSolution:
    """An equilibrium of a nonlinear model and the steps that led to it.

    Fields at the points of quadrature, q of each element, have components xx, yy, zz, xy, yz, xz,
    strains with engineering shear; vectors and tensors are in mesh axes.

    Parameters
    ----------
    displacement_mm : ndarray of float, (n_nodes, 3)
    strain, plastic_strain, stress_MPa : ndarray of float, (n_elements, q, 6)
    history : ndarray of float, (n_elements, q, 2)
        Of the law: accumulated plastic strain first.
    volume_mm3 : ndarray of float, (n_elements, q)
        That a point stands for.
    sed_MPa : ndarray of float, (n_elements, q)
        Strain energy density that can be recovered.
    dissipated_MPa : ndarray of float, (n_elements, q)
        The rest of the work of the stresses, by the trapezoidal rule over the steps.
    stored_Nmm : float
        Strain energy of all elements and elastic supports.
    reaction_N : dict of str to ndarray, (3,)
        Of each constraint, elastic support and cap.
    caps : dict of str to CapMotion
        Motion, reaction and moment of each rigid cap.
    residual, force_balance : float
        As for `bonekit.fem.model.Solution`.
    factors : ndarray of float, (m,)
        Of the load after each step, from 0.
    residuals : ndarray of float, (m,)
    newton : ndarray of int, (m,)
        Newton iterations of each step.
    work_Nmm : ndarray of float, (m,)
        Of loads and supports up to each step.
    iterations : int
        Of linear solves, in all.
    """

    displacement_mm: Float
    strain: Float
    plastic_strain: Float
    stress_MPa: Float
    history: Float
    volume_mm3: Float
    sed_MPa: Float
    dissipated_MPa: Float
    stored_Nmm: float
    reaction_N: dict[str, Float]
    caps: dict[str, CapMotion]
    residual: float
    force_balance: float
    factors: Float
    residuals: Float
    newton: NDArray[np.int64]
    work_Nmm: Float
    iterations: int

    @property
    def dissipated_Nmm(self) -> float:  # noqa: N802
        """Energy that cannot be recovered."""
        return float((self.dissipated_MPa * self.volume_mm3).sum())

    @property
    def energy_balance(self) -> float:
        """Difference of the work and what is stored and dissipated, over the work."""
        work = float(self.work_Nmm[-1])
        return abs(work - self.stored_Nmm - self.dissipated_Nmm) / abs(work) if work else 0.0


class NoEquilibriumError(DivergenceError):
    """A step found no equilibrium however short.

    Parameters
    ----------
    text : str
    history : tuple of float
        Relative residuals of the last try.
    last_good : NonlinearSolution or None
        The last equilibrium.
    """

    def __init__(
        self, text: str, history: tuple[float, ...], last_good: NonlinearSolution | None
    ) -> None:
        super().__init__(text, history)
        self.last_good = last_good


def solve_conforming_nonlinear(
    model: Model[Mesh],
    law: MaterialLaw,
    factors: Sequence[float] = (1.0,),
    rtol: float = 1e-8,
    *,
    bbar: bool = True,
    interpreter: Interpreter | str | Path | None = None,
    processes: int = 1,
    method: Literal["auto", "cg", "direct"] = "auto",
    max_iterations: int = 1000,
    timeout_s: float | None = None,
    progress: Progress | None = None,
    folder: Path | str | None = None,
    petsc_options: Mapping[str, str] | None = None,
) -> NonlinearSolution:
    """Load a model step by step; its points follow a law.

    Newton's method with consistent tangents and a search along each direction; a step that does
    not converge is halved, down to 1e-4 of the load. Under prescribed displacements the force may
    fall, but for a snap-back, which `bonekit.fem.failure.failure_load` follows. Plastic flow keeps
    the volume: elements of four nodes come out too stiff (they lock), and so do bricks without
    ``bbar``; those of ten nodes do not. Softening gathers in one layer of elements, or of points in
    those of ten nodes, so that a law that is stretched for the edge (`bonekit.fem.keyak_law`) holds
    for bricks and four nodes; with ten, breaking costs too little.

    Parameters
    ----------
    model : Model
        Its moduli and Poisson's ratio must be the law's.
    law : MaterialLaw
        Of `bonekit.fem.plastic_laws` (`bonekit.fem.keyak_law` makes one), `strain_yield_law`,
        `damage_law` or `elastic_law`; its arrays have a row for each element, or one.
    factors : sequence of float
        Rising shares of the forces and prescribed displacements to stop at.
    rtol : float
        Bound on the out-of-balance forces of each step over the nodal forces.
    bbar : bool
        Average the volumetric strain over each brick (Hughes, Int J Numer Methods Eng 15 (1980)
        1413), as `bonekit.fem.failure.failure_load` does; tetrahedra stay as they are.
    interpreter, processes, method, max_iterations, timeout_s, progress, folder, petsc_options
        As for `bonekit.fem.conforming.solve_conforming`.

    Raises
    ------
    InputError
        As for `solve_conforming`, or if the law or the factors do not suit.
    ConvergenceError
        As for `solve_conforming`; a `NoEquilibriumError` with the last equilibrium if the load
        cannot be reached.
    """
    problem = NodalProblem.of(model)
    arrays = {
        **problem.arrays(),
        **settings(rtol, max_iterations, method, petsc_options),
        **_law_arrays(law, model),
        "bbar": np.array(bbar and problem.elements.shape[1] == 8),
        **_checked(factors),
    }
    check_memory(problem, processes)
    chosen = interpreter if isinstance(interpreter, Interpreter) else choose(interpreter)
    with work_folder(folder) as place:
        digest = write_model(place, arrays)
        found = read_arrays(place / "result.npz")
        if found is None or str(found["sha256"]) != digest:
            clear(place)
            (place / "last_good.npz").unlink(missing_ok=True)
            try:
                run_child(place, chosen, processes, timeout_s, progress)
            except DivergenceError as error:
                good = read_arrays(place / "last_good.npz")
                last = None if good is None else _solution(model, law, problem, good)
                raise NoEquilibriumError(str(error), error.history, last) from error
            found = read_arrays(place / "result.npz")
        if found is None or str(found["sha256"]) != digest:
            raise InputError(f"{place / 'result.npz'} was changed by another solve in that folder")
    return _solution(model, law, problem, found)


def _checked(factors: Sequence[float]) -> dict[str, Float]:
    f = np.asarray(factors, dtype=np.float64)
    if (
        f.ndim != 1
        or not len(f)
        or not (np.isfinite(f).all() and f[0] > 0 and (np.diff(f) > 0).all())
    ):
        raise InputError(f"the factors of the load must be positive and rise, got {list(factors)}")
    return {"factors": f}


def _law_arrays(law: MaterialLaw, model: Model[Mesh]) -> Arrays:
    """Say where a law's class is, and its parameters, with a row of arrays for each element."""
    place, name = type(law).__module__.removeprefix("bonekit.fem."), type(law).__name__
    if place not in LAWS:
        raise InputError(f"the conforming engine takes laws of {', '.join(LAWS)}, not {name}")
    n = model.mesh.n_elements
    values: dict[str, Any] = {f.name: getattr(law, f.name) for f in fields(law)}  # type: ignore[arg-type]
    arrays = {k: np.asarray(v, np.float64) for k, v in values.items() if np.ndim(v)}
    for key, array in arrays.items():
        if len(array) not in (1, n):
            raise InputError(f"{len(array)} values of {key} in the law for {n} elements")
    if not (np.allclose(law.E_MPa, model.E_MPa) and np.allclose(law.nu, model.nu)):
        raise InputError(
            "the law's moduli or Poisson's ratio are not those of the model; make the law from "
            "model.E_MPa and model.nu"
        )
    numbers = {k: v for k, v in values.items() if k not in arrays}
    told = {"module": f"bonekit.fem.{place}", "name": name, "numbers": numbers}
    rows = {f"law_{k}": np.broadcast_to(a, (n, *a.shape[1:])) for k, a in arrays.items()}
    return {"law": np.array(json.dumps({**told, "arrays": sorted(arrays)}, sort_keys=True)), **rows}


def _solution(
    model: Model[Mesh], law: MaterialLaw, problem: NodalProblem, found: Mapping[str, Any]
) -> NonlinearSolution:
    u, volume = found["displacement_mm"], found["point_volume_mm3"]
    state = State(found["point_strain"], found["point_plastic"], found["point_history"])
    sed = np.asarray(law.mapped(lambda array: array[:, None]).stored_energy(state))
    stored = float((sed * volume).sum() + 0.5 * (problem.spring_N_mm * u * u).sum())
    internal, share = found["internal_N"], float(found["factors"][-1])
    balance = problem.balance(model, u, internal, found["cap_motion"].reshape(-1, 2, 3), share)
    return NonlinearSolution(
        displacement_mm=u,
        strain=state.strain,
        plastic_strain=state.plastic,
        stress_MPa=found["point_stress_MPa"],
        history=state.history,
        volume_mm3=volume,
        sed_MPa=sed,
        dissipated_MPa=found["point_work_MPa"] - sed,
        stored_Nmm=stored,
        reaction_N=balance.reaction_N,
        residual=float(found["residual"]),
        caps=balance.caps,
        force_balance=balance.force_balance,
        factors=found["factors"],
        residuals=found["history"],
        newton=found["newton"],
        work_Nmm=found["work_Nmm"],
        iterations=int(found["iterations"]),
    )
