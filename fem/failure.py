"""Failure load of a bone: the largest force it can take on a path of growing displacement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.caps import CapMotion
from bonekit.fem.constitutive import MaterialLaw
from bonekit.fem.finite_strain import FiniteBricks
from bonekit.fem.model import Model
from bonekit.fem.model_system import Case, Supported
from bonekit.fem.nonlinear import Control, Equilibrium, Point
from bonekit.fem.operator import Lattice
from bonekit.fem.path import walk
from bonekit.fem.steps import Measure, Pace, Progress, Reason, Step, Walk
from bonekit.fem.tangents import NonlinearBricks
from bonekit.fem.tied import Ties

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

_FIRST = 0.02  # of the end: longest first step where geometry makes elasticity nonlinear
_MACHINE = 0.02  # compliance of the testing machine over that of the bone


@dataclass(frozen=True, eq=False)
class Failure:
    """A failure load and how it came about.

    Vectors and tensors are in mesh axes; fields are those at the largest force.

    Parameters
    ----------
    strength_N : float
        Largest force.
    displacement_mm : float
        There.
    stiffness_N_mm : float
        Force over displacement of the first, elastic step.
    above : float
        How far the peak may lie above the strength, relative; see `bonekit.fem.steps.peak_bound`.
    reason : str
        ``"peak"``: the force fell. ``"plateau"``: it rises no more. ``"end"``: the largest
        displacement was reached while it still rose: the strength is that of the displacement.
        ``"stuck"``: no convergence (only in `Unfinished`).
    message : str
    curve_mm, curve_N : ndarray of float, (m,)
        Displacement and force of all steps, from 0, 0.
    steps : tuple of Step
    nodes_mm : ndarray of float, (n_nodes, 3)
        Displacement of the nodes.
    plastic_strain : ndarray of float, (n_elements,)
        Accumulated, mean of the element's points; 0 for damage.
    damage : ndarray of float, (n_elements, 2)
        In tension and compression, mean of the points.
    yielded : ndarray of bool, (n_elements,)
        Whether any point has left its elastic range.
    reaction_N : dict of str to ndarray, (3,)
        Of each constraint, elastic support and cap.
    caps : dict of str to CapMotion
        Motion, reaction and moment of each rigid cap.
    force_balance : float
        As for `bonekit.fem.model.Solution`.
    """

    strength_N: float
    displacement_mm: float
    stiffness_N_mm: float
    above: float
    reason: Reason
    message: str
    curve_mm: Float
    curve_N: Float
    steps: tuple[Step, ...]
    nodes_mm: Float
    plastic_strain: Float
    damage: Float
    yielded: Bool
    reaction_N: dict[str, Float]
    caps: dict[str, CapMotion]
    force_balance: float


class Unfinished(ConvergenceError):  # noqa: N818
    """The path broke off while the force still rose.

    Parameters
    ----------
    failure : Failure
        What was reached: the curve, the log and the fields at the last good step.
    """

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        last = failure.steps[-1]
        course = ", ".join(f"{s.force_N:.0f} N ({s.iterations})" for s in failure.steps[-6:])
        super().__init__(
            f"no equilibrium was found beyond {last.displacement_mm:.3g} mm and {last.force_N:.4g} "
            f"N, while the force still rose: {failure.message}. Last steps (Newton iterations): "
            f"{course}. The last good state is in `failure` of this error; try a finer mesh, "
            "smaller steps (share of the pace), or look for elements that hang by an edge"
        )


def failure_load(
    model: Model,
    law: MaterialLaw,
    *,
    end_mm: float,
    rtol: float = 1e-4,
    tolerance: float = 0.005,
    drop: float = 0.01,
    share: float = 0.15,
    flat: float = 1e-3,
    bbar: bool = True,
    finite: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Failure:
    """Load a bone until its force has peaked.

    With loads in the model, on nodes or caps, their pattern is kept and its size driven by the
    displacement of what is loaded along the forces (weighted by the forces, with moments and
    rotations: conjugate to the sum of the forces), through a testing machine fifty times as stiff
    as the bone. Without loads, the prescribed displacements grow in proportion, with the rotations
    of caps. Springs are linear, and caps turn by small rotations.

    Parameters
    ----------
    model : Model
        On a voxel mesh; its loads or prescribed displacements set the pattern, not the size.
    law : MaterialLaw
        Parameters over the elements of the model, of the same modulus and Poisson's ratio.
    end_mm : float
        Largest displacement, such as 4 for a femur, or 1.9 % of the height of a vertebral body.
    rtol : float
        Bound on the out-of-balance forces over the loads or reactions.
    tolerance : float
        Bound on what the peak may lie above the strength found.
    drop : float
        Part of the largest force that must be lost for it to be a peak.
    share : float
        Largest step over the displacement reached; towards the peak less.
    flat : float
        Slope over the first one at which the force counts as a plateau, and its value there as the
        strength; 0: never.
    bbar : bool
        Average the volumetric strain of each element, against locking; see
        `bonekit.fem.tangents`.
    finite : bool
        Large rotations and strains; see `bonekit.fem.finite_strain`.
    device : str
        A torch device.
    progress : callable, optional
        Called with each accepted `Step`.

    Raises
    ------
    InputError
        If law and model disagree, nothing or only moments and rotations drive the model, a piece
        of it is loose, or the model has several Poisson's ratios, or caps that may turn in finite
        strain.
    Unfinished
        If no equilibrium is found while the force still rises. A `ConvergenceError`.
    """
    if not (np.isfinite(end_mm) and end_mm > 0):
        raise InputError(f"the largest displacement must be positive, got {end_mm} mm")
    problem = Assembly.of(model, law, rtol, bbar=bbar, finite=finite, device=torch.device(device))
    equilibrium = problem.equilibrium
    elastic = equilibrium.elastic()
    control, measure, factor = problem.driven(elastic, end_mm)
    longest = _FIRST if finite else 1.0
    nodes = equilibrium.ties.expand(factor * elastic)
    onset = min(longest, _onset(equilibrium.bricks, nodes)) * factor
    unit = control.of(elastic, 1.0)
    pace = Pace(
        first=onset * unit,
        end=factor * unit,
        share=share,
        tolerance=tolerance,
        drop=drop,
        flat=flat,
    )
    found = problem.failure(walk(equilibrium, control, measure, pace, progress))
    if found.reason == "stuck":
        raise Unfinished(found)
    return found


def _onset(bricks: NonlinearBricks, u: torch.Tensor, few: float = 0.001) -> float:
    """Share of an elastic displacement at which a few of the bricks begin to yield."""
    strain = bricks.strain(u)
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = 0.5 * (low + high)
        calm = bricks.law.surely_elastic(middle * strain).all(-1)
        beyond = int((~calm).sum()) > few * bricks.n
        low, high = (low, middle) if beyond else (middle, high)
    return high


@dataclass(frozen=True, eq=False)
class Assembly:
    """A model on its lattice, with its law: for force control and other paths of one's own.

    Parameters
    ----------
    case : Case
    equilibrium : Equilibrium
        Its fields, (3, size + 2 n_caps), lie on the lattice, beyond it are the motions of caps.
    rows : ndarray of int, (n_nodes + 2 n_caps,)
        Where in those fields the rows of the case are.
    """

    case: Case
    equilibrium: Equilibrium
    rows: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        model: Model,
        law: MaterialLaw,
        rtol: float,
        *,
        bbar: bool,
        device: torch.device,
        finite: bool = False,
    ) -> Self:
        """Put a model and its law together; see `failure_load` for parameters and errors."""
        _check(model, law, finite=finite)
        case, mesh = Case.of(model), model.mesh
        _check_driven(case)
        case.check_support()
        i, j, k = mesh.region.shape
        lattice = Lattice((i, j, k))
        where, cells = lattice.number(mesh.node_ijk), lattice.number(mesh.element_ijk)
        ties = Ties(lattice.size, [replace(t, nodes=where[t.nodes]) for t in case.ties], device)
        rows = np.concatenate([where, np.arange(lattice.size, len(ties.scale))])

        def spread(nodal: NDArray[T], n: int = len(ties.scale)) -> NDArray[T]:
            field = np.zeros((3, n), dtype=nodal.dtype)
            field[:, rows[: len(nodal)]] = nodal.T
            return field

        scale = ties.scale[rows]
        h = np.asarray(mesh.grid.spacing_mm, dtype=np.float64)
        spring = None if case.spring is None else spread(case.spring, lattice.size)
        kind = FiniteBricks if finite else NonlinearBricks
        bricks = kind(lattice, cells, law, h, bbar=bbar, device=device, spring_N_mm=spring)
        equilibrium = Equilibrium(
            bricks,
            ties,
            spread(case.fixed),
            spread(case.values * scale),
            spread(case.force / scale),
            h,
            rtol,
        )
        return cls(case, equilibrium, rows)

    @property
    def where(self) -> NDArray[np.int64]:
        """Lattice number of each node of the mesh, (n_nodes,)."""
        return self.rows[: self.case.model.mesh.n_nodes]

    def driven(self, elastic: torch.Tensor, end_mm: float) -> tuple[Control, Measure, float]:
        """Control, measure of displacement and force, and the elastic factor at the end."""
        at = self.equilibrium
        force, given = (a[self.case.translations] for a in (self.case.force, self.case.values))
        if bool(at.force.any()):
            total = float(np.linalg.norm(force.sum(axis=0))) or float(np.linalg.norm(force))
            weights = at.force / total
            moved = Control(weights).displacement(elastic)
            control = Control(weights, _MACHINE * moved)
            return (
                control,
                lambda p: (control.displacement(p.u_mm), p.factor * total),
                end_mm / moved,
            )
        largest = float(abs(given).max())

        def measure(point: Point) -> tuple[float, float]:
            work = float((at.reaction(point) * at.given).sum())
            return point.factor * largest, work / largest

        return Control(), measure, end_mm / largest

    def nodes_mm(self, point: Point) -> Float:
        """Displacement of the nodes, (n_nodes, 3)."""
        moved = self.equilibrium.ties.expand(point.u_mm).cpu().numpy()
        return np.ascontiguousarray(moved[:, self.where].T)

    def supported(self, point: Point) -> Supported:
        """Find what supports and caps do at an equilibrium."""
        at, scale = self.equilibrium, self.equilibrium.ties.scale[self.rows]
        motion, reaction = (
            field.cpu().numpy()[:, self.rows].T for field in (point.u_mm, at.reaction(point))
        )
        return self.case.supported(
            self.nodes_mm(point), motion / scale, reaction * scale, point.factor
        )

    def failure(self, walked: Walk) -> Failure:
        """Make the result of a path."""
        best, bricks = walked.best, self.equilibrium.bricks
        held = self.supported(best.point)
        state, steps = best.point.at.state, walked.steps
        damage = torch.zeros_like(state.history)
        touched = torch.nonzero(state.history.any(-1).any(-1)).reshape(-1)
        if len(touched):
            law = bricks.law.mapped(lambda a: a[touched])
            damage[touched] = law.damage(state.mapped(lambda a: a[touched]))
        broken = bool(damage.any())
        plastic = state.history[..., 0] * (0.0 if broken else 1.0)
        first = steps[1] if len(steps) > 1 else steps[0]
        return Failure(
            strength_N=best.step.force_N,
            displacement_mm=best.step.displacement_mm,
            stiffness_N_mm=first.force_N / first.displacement_mm if first.displacement_mm else 0.0,
            above=walked.above,
            reason=walked.reason,
            message=walked.message,
            curve_mm=np.array([s.displacement_mm for s in steps]),
            curve_N=np.array([s.force_N for s in steps]),
            steps=steps,
            nodes_mm=self.nodes_mm(best.point),
            plastic_strain=plastic.mean(-1).cpu().numpy(),
            damage=damage.mean(1).cpu().numpy(),
            yielded=state.history.any(-1).any(-1).cpu().numpy(),
            **vars(held),
        )


def _check(model: Model, law: MaterialLaw, *, finite: bool) -> None:
    if np.shape(law.E_MPa) != model.E_MPa.shape or not np.allclose(law.E_MPa, model.E_MPa):
        raise InputError(
            f"the law's moduli, {np.shape(law.E_MPa)}, are not those of the model, "
            f"{model.E_MPa.shape}; make the law from model.E_MPa"
        )
    if law.nu != model.one_nu:
        raise InputError(f"Poisson's ratio is {law.nu} in the law and {model.one_nu} in the model")
    turning = [c.name for c in model.caps if c.rotation_rad != (0.0, 0.0, 0.0)]
    if finite and turning:
        raise InputError(
            f"caps turn by small rotations only, and in finite strain {', '.join(turning)} may "
            "turn: leave finite strain out, prescribe rotations of 0, or hold and load the bone "
            "by nodes"
        )


def _check_driven(case: Case) -> None:
    translations = case.translations
    force, given = case.force * ~case.fixed, case.values
    if case.force.any() and given.any():
        raise InputError(
            "loads and prescribed displacements other than 0 cannot drive one path; keep one"
        )
    if not (force.any() or given.any()):
        raise InputError(
            "nothing drives the model: all displacements are 0, and all forces on what may move"
        )
    if not (force[translations].any() or given[translations].any()):
        raise InputError(
            "only moments or rotations of caps drive the model, and a failure load is a force; "
            "give a force or a displacement beside them"
        )
