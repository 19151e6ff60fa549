"""Strength over a cone of load directions, and the weakest of them.

Three solves of one system, one for each axis of the world: whatever the direction of the force on
the head, the answer is a combination of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import CapMotion, RigidCap
from bonekit.fem.fields import strain_energy_density
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Load, Solution
from bonekit.fem.simulation import Problem, judge
from bonekit.fem.solve import solve_cases
from bonekit.fem.stance import SingleLegStance

Float = NDArray[np.float64]
Tell = Callable[[float, str], None]

SOLVING = 0.7  # of the progress; the rest is judging
SOURCE = (
    "lowest strength over many load directions as the minimum physiological strength of CT2S "
    "(Qasim et al. 2016); the cone is bonekit's choice"
)


@dataclass(frozen=True)
class Cone:
    """Directions round that of a stance or of a fall.

    The default of 12 degrees to each side is bonekit's choice.

    Parameters
    ----------
    adduction_half_deg, flexion_half_deg : float
        Half angles of an elliptic cone, in the frontal plane and out of it. Of a fall the second
        is the internal rotation, see `bonekit.fem.fall_sweep`.
    step_deg : float
        Between neighbouring directions.

    Raises
    ------
    InputError
        If an angle is out of range, or the step is larger than both.
    """

    adduction_half_deg: float = 12.0
    flexion_half_deg: float = 12.0
    step_deg: float = 4.0

    def __post_init__(self) -> None:
        halves = (self.adduction_half_deg, self.flexion_half_deg)
        if not all(0.0 <= half <= 30.0 for half in halves) or not 1.0 <= self.step_deg <= 15.0:
            raise InputError(
                "the half angles of a sweep must lie between 0 and 30 degrees and its step between "
                f"1 and 15, got {halves[0]:g}, {halves[1]:g} and {self.step_deg:g}"
            )
        if self.step_deg > max(halves):
            raise InputError(
                f"a step of {self.step_deg:g} degrees leaves one direction only in a cone of "
                f"{max(halves):g}: make the step smaller"
            )

    def offsets_deg(self) -> Float:
        """Adduction and flexion from those of the stance, (n, 2); zero among them."""
        halves = np.array([self.adduction_half_deg, self.flexion_half_deg])
        counts = (halves / self.step_deg + 1e-9).astype(int)
        axes = (self.step_deg * np.arange(-n, n + 1.0) for n in counts)
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        share = np.divide(grid, halves, out=np.zeros_like(grid), where=halves > 0)
        return np.asarray(grid[np.linalg.norm(share, axis=1) <= 1.0 + 1e-9])


@dataclass(frozen=True, eq=False)
class Sweep:
    """Strength by direction.

    Parameters
    ----------
    directions_deg : ndarray, (n, 2)
        Adduction and flexion of the force, see `SingleLegStance`; or see `angles`.
    strengths_N : ndarray, (n,)
    centre_deg : tuple of float
        Of the stance or the fall itself.
    criterion : str
    angles : tuple of str
        Names of the two angles: adduction, and flexion of a stance or rotation of a fall.
    """

    directions_deg: Float
    strengths_N: Float
    centre_deg: tuple[float, float]
    criterion: str
    angles: tuple[str, str] = ("adduction", "flexion")

    @property
    def minimum(self) -> float:
        """Lowest strength in N."""
        return float(self.strengths_N.min())

    @property
    def weakest_deg(self) -> tuple[float, float]:
        """Both angles of the lowest strength."""
        adduction, out_of_plane = self.directions_deg[int(self.strengths_N.argmin())]
        return float(adduction), float(out_of_plane)

    @property
    def central(self) -> float:
        """Strength in N in the middle of the cone."""
        away = np.linalg.norm(self.directions_deg - self.centre_deg, axis=1)
        return float(self.strengths_N[int(away.argmin())])


def sweep(
    problem: Problem,
    loading: SingleLegStance,
    anatomy: FemurAnatomy,
    cone: Cone | None = None,
    criterion: str | None = None,
    *,
    rtol: float = 1e-8,
    max_iterations: int = 1000,
    device: str = "cpu",
    threads: int | None = None,
    start: Solution | None = None,
    progress: Tell | None = None,
) -> Sweep:
    """Find the strength of a femur in stance under every direction of a cone.

    The loaded patch of the head stays that of the stance, only the force turns; see `pushed`.

    Parameters
    ----------
    problem : Problem
        Of that stance.
    loading : SingleLegStance
    anatomy : FemurAnatomy
    cone : Cone, optional
    criterion : str, optional
        See `bonekit.fem.criteria`.
    rtol, max_iterations, device, threads, start
        See `bonekit.fem.solve.solve_cases`.
    progress : callable, optional
        Called with the share that is done and words.

    Raises
    ------
    InputError
        If the head is guided along one line, a direction is out of the range of a stance, or as
        for `judge`.
    ConvergenceError
        If a solve does not reach the tolerance.
    """
    refuse_guided(loading)
    centre = (loading.adduction_deg, loading.flexion_deg)
    angles = (cone or Cone()).offsets_deg() + centre
    towards = [
        replace(loading, adduction_deg=float(a), flexion_deg=float(f)).direction(anatomy)
        for a, f in angles
    ]
    tell = progress or (lambda share, words: None)
    cases = [pushed(problem, anatomy, axis, loading.force_N) for axis in np.eye(3)]
    parts = solve_cases(
        [case.model for case in cases],
        rtol,
        max_iterations=max_iterations,
        device=device,
        threads=threads,
        start=start,
        progress=lambda n, residual: tell(0.0, f"unit forces, iteration {n}, {residual:.0e}"),
    )
    strengths = []
    for n, towards_one in enumerate(towards, start=1):
        case = pushed(problem, anatomy, towards_one, loading.force_N)
        strength = judge(case, combined(case, parts, towards_one), criterion)
        strengths.append(strength.strength_N)
        tell(SOLVING + (1 - SOLVING) * n / len(towards), f"direction {n} of {len(towards)}")
    return Sweep(angles, np.array(strengths), centre, strength.name)


def refuse_guided(loading: SingleLegStance) -> None:
    """Refuse a stance whose supports turn with the force.

    Raises
    ------
    InputError
    """
    if loading.head == "guided":
        raise InputError(
            "a guided head keeps to the line of one force, so its directions can't be swept: use "
            "head spread or cup"
        )


def pushed(problem: Problem, anatomy: FemurAnatomy, direction: Float, force_N: float) -> Problem:
    """Turn the force on the head, over the same nodes.

    The force keeps its line through the head's centre, as a joint without friction has it: where
    the patch lies to the side of that line, small forces round the head take away the moment.

    Parameters
    ----------
    problem : Problem
        Of a stance.
    anatomy : FemurAnatomy
    direction : ndarray, (3,)
        World unit vector.
    force_N : float
    """
    load, mesh = problem.load, problem.model.mesh
    axes = mesh.grid.direction
    force, before = force_N * (axes.T @ direction), axes.T @ load.direction

    def turned(part: Load) -> Load:
        arm = (mesh.nodes_mm[part.nodes] - anatomy.head_centre_mm) @ axes
        return replace(part, force_N=_shared(part.force_N, arm, before, force))

    case: LoadCase = replace(
        load,
        direction=direction,
        loads=tuple(turned(part) if part.name == load.acting else part for part in load.loads),
        caps=tuple(_on_pivot(cap, force) if cap.name == load.acting else cap for cap in load.caps),
    )
    model = case.model(mesh, problem.model.E_MPa, problem.model.nu)
    return replace(problem, load=case, model=model)


def _shared(known: Float, arm_mm: Float, before: Float, force: Float) -> Float:
    """Share a force over nodes as a known one along `before` is, (n, 3); linear in the force.

    What of the force is across `before` leaves no moment about the head's centre.
    """
    size = np.linalg.norm(known, axis=1)
    share = size / size.sum()
    across = force - (force @ before) * before
    middle = share @ arm_mm
    around = arm_mm - middle
    inertia = np.einsum("n,nij->ij", share, _turning(around))
    turn = np.linalg.solve(inertia, np.cross(middle, across))
    return np.asarray(share[:, None] * (force - np.cross(turn, around)))


def _turning(arm: Float) -> Float:
    """R x (w x r) as matrices on w, (n, 3, 3)."""
    square = np.einsum("ni,ni->n", arm, arm)
    return np.asarray(square[:, None, None] * np.eye(3) - np.einsum("ni,nj->nij", arm, arm))


def _on_pivot(cap: RigidCap, force: Float) -> RigidCap:
    return replace(cap, force_N=(float(force[0]), float(force[1]), float(force[2])))


def combined(problem: Problem, parts: Sequence[Solution], shares: Float) -> Solution:
    """Superpose solutions of one system, each by its share.

    Parameters
    ----------
    problem : Problem
        The combination.
    parts : sequence of Solution
    shares : ndarray, (n,)
    """

    def add(values: Sequence[Float]) -> Float:
        return np.asarray(sum(s * v for s, v in zip(shares, values, strict=True)))

    model = problem.model
    strain = add([part.strain for part in parts])
    sed = strain_energy_density(strain, model.E_MPa, model.nu)
    caps = {
        name: CapMotion(
            **{
                field: add([getattr(part.caps[name], field) for part in parts])
                for field in vars(cap)
            }
        )
        for name, cap in parts[0].caps.items()
    }
    found = Solution(
        displacement_mm=add([part.displacement_mm for part in parts]),
        strain=strain,
        sed_MPa=sed,
        reaction_N={
            name: add([part.reaction_N[name] for part in parts]) for name in parts[0].reaction_N
        },
        energy_Nmm=0.0,
        residual=max(part.residual for part in parts),
        force_balance=max(part.force_balance for part in parts),
        energy_balance=max(part.energy_balance for part in parts),
        iterations=sum(part.iterations for part in parts),
        caps=caps,
    )
    return replace(found, energy_Nmm=0.5 * _work(problem.load, found))


def _work(load: LoadCase, solution: Solution) -> float:
    """Force on the head times its displacement, N mm."""
    work = sum(float((p.force_N * solution.displacement_mm[p.nodes]).sum()) for p in load.loads)
    for cap in load.caps:
        work += float(np.array(cap.force_N) @ solution.caps[cap.name].displacement_mm)
    return work
