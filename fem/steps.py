"""What a path of equilibria is made of: its steps, its pace, its end, and the bound of its peak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bonekit.fem.nonlinear import Point

Reason = Literal["peak", "plateau", "end", "stuck"]
Measure = Callable[[Point], tuple[float, float]]  # displacement in mm and force in N


@dataclass(frozen=True)
class Step:
    """One accepted step.

    Parameters
    ----------
    control : float
        Value s of the control.
    displacement_mm, force_N : float
        Conjugate: the work is the integral of one over the other.
    factor : float
        Of the loads.
    iterations, linear_iterations, cuts : int
        Newton iterations, those of the linear solver, and how often the step was halved before.
    residual : float
        Norm of the out-of-balance forces over that of the loads or reactions.
    external_Nmm, internal_Nmm : float
        Work of the loads since the start and of the internal forces, both by the trapezoidal rule.
    stored_Nmm : float
        Recoverable energy; the internal work less this is dissipated.
    inelastic : bool
        Found under control of the inelastic displacement; see `inelastic`.
    """

    control: float
    displacement_mm: float
    force_N: float
    factor: float
    iterations: int = 0
    linear_iterations: int = 0
    cuts: int = 0
    residual: float = 0.0
    external_Nmm: float = 0.0
    internal_Nmm: float = 0.0
    stored_Nmm: float = 0.0
    inelastic: bool = False

    @property
    def energy_balance(self) -> float:
        """Difference of external and internal work over the work."""
        work = abs(self.external_Nmm)
        return abs(self.external_Nmm - self.internal_Nmm) / work if work else 0.0

    @property
    def dissipated(self) -> float:
        """Energy that cannot be recovered, in Nmm."""
        return self.internal_Nmm - self.stored_Nmm


Progress = Callable[[Step], None]


@dataclass(frozen=True)
class Pace:
    """How fast and how far a path is followed.

    Parameters
    ----------
    first : float
        First step of the control.
    end : float
        Value of the control to stop at.
    share : float
        Largest step, of the control's value.
    drop : float
        Part of the largest force that must be lost for it to be a peak: smaller dips are those of
        single elements.
    flat : float
        Slope over the first step's slope that counts as a plateau, in two steps running.
    tolerance : float
        Bound on what the peak may lie above the largest force found, relative.
    cuts : int
        Halvings of a step before the control is changed to `inelastic`, and before giving up.
    """

    first: float
    end: float
    share: float = 0.15
    drop: float = 0.01
    flat: float = 1e-3
    tolerance: float = 0.005
    cuts: int = 6


@dataclass(frozen=True, eq=False)
class Mark:
    """A step and its equilibrium."""

    step: Step
    point: Point


@dataclass(frozen=True, eq=False)
class Walk:
    """A path that was followed.

    Parameters
    ----------
    steps : tuple of Step
        In order of the control, the refined ones around the peak among them.
    best : Mark
        Of the largest force.
    above : float
        How far the peak may lie above, relative, if force over displacement is concave there;
        0 where there is no peak.
    reason : str
        ``"peak"``, ``"plateau"``, ``"end"`` of the control, or ``"stuck"``: no convergence.
    message : str
        What stopped it.
    """

    steps: tuple[Step, ...]
    best: Mark
    above: float
    reason: Reason
    message: str = ""


def around_top(marks: list[Mark]) -> tuple[list[Mark], float]:
    """Pick the marks around the largest force, which is the last but one, and `peak_bound`."""
    top = max(range(1, len(marks) - 1), key=lambda i: marks[i].step.force_N)
    near = marks[max(top - 2, 0) : top + 2]
    return near, peak_bound([m.step for m in near])


def peak_bound(steps: list[Step]) -> float:
    """How far a concave curve can rise above the last but one of its points, relative.

    A secant, extended, lies above a concave curve. To the right of the top that is the one from
    the left; to the left that of the two points before, or that from the right, whichever is
    lower: past a sudden drop the latter says nothing.

    Parameters
    ----------
    steps : list of Step
        Three or four, the largest force in the last but one.
    """
    *earlier, left, top, right = ((s.control, s.force_N) for s in steps)
    rise = (top[1] - left[1]) / (top[0] - left[0])
    fall = (top[1] - right[1]) / (right[0] - top[0])
    over_left = fall * (top[0] - left[0])
    if earlier and left[0] > earlier[0][0]:
        slope = (left[1] - earlier[0][1]) / (left[0] - earlier[0][0])
        over_left = min(over_left, left[1] + slope * (top[0] - left[0]) - top[1])
    return max(rise * (right[0] - top[0]), over_left, 0.0) / top[1]
