"""Following equilibrium past its peak, with steps that adapt, and closing in on the peak."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from bonekit.fem.nonlinear import Control, Equilibrium, Point, Stuck
from bonekit.fem.steps import Mark, Measure, Pace, Progress, Reason, Step, Walk, around_top

log = logging.getLogger(__name__)

Rate = tuple[torch.Tensor, float]

_EASY, _HARD = 5, 12  # Newton iterations
_GROWTH = 1.5
_PUSH = 0.02  # of the displacement: first step of the inelastic control
_NEAR = 0.4  # of the largest step, where the force hardly rises


def walk(
    equilibrium: Equilibrium,
    control: Control,
    measure: Measure,
    pace: Pace,
    progress: Progress | None = None,
) -> Walk:
    """Follow the path from rest until the force has peaked, then close in on the peak.

    Parameters
    ----------
    equilibrium : Equilibrium
    control : Control
    measure : callable
        Displacement and force of a point.
    pace : Pace
    progress : callable, optional
        Called with each accepted step.
    """
    walker = _Walker(equilibrium, control, measure, pace, progress)
    rest = equilibrium.rest()
    marks, reason, message = walker.on(Mark(Step(0.0, 0.0, 0.0, 0.0), rest))
    best = max(range(len(marks)), key=lambda i: marks[i].step.force_N)
    if reason != "peak":
        return Walk(tuple(m.step for m in marks), marks[best], 0.0, reason, message)
    return walker.refined(marks)


@dataclass(frozen=True, eq=False)
class _Walker:
    equilibrium: Equilibrium
    control: Control
    measure: Measure
    pace: Pace
    progress: Progress | None = None

    def on(self, start: Mark) -> tuple[list[Mark], Reason, str]:
        """Walk until something ends the path; only marks near the top keep their points."""
        marks, ds, control = [start], self.pace.first, self.control
        while True:
            here = marks[-1]
            room = self.pace.end - here.step.control
            if not here.step.inelastic and room <= 1e-9 * self.pace.end:
                return marks, "end", "the end of the path"
            ds = ds if here.step.inelastic else min(ds, room)
            try:
                there, control, ds = self._step(marks, control, ds)
            except Stuck as reason:
                return marks, self._after_stuck(marks), str(reason)
            marks.append(there)
            self._forget(marks)
            if self._peaked(marks):
                return marks, "peak", "the force fell"
            if self._flat(marks):
                return marks, "plateau", "the force rises no more"

    def _step(self, marks: list[Mark], control: Control, ds: float) -> tuple[Mark, Control, float]:
        """One step, halved as often as it takes; then under control of what does not spring."""
        here = marks[-1]
        for cuts in range(2 * self.pace.cuts):
            rate = self._rate(marks, control) if cuts == 0 else None
            if cuts == self.pace.cuts:
                if len(marks) < 3 or here.step.inelastic:
                    break
                control, ds = inelastic(self.equilibrium, here), _PUSH * here.step.displacement_mm
                log.info("inelastic displacement drives from %.4g mm", here.step.displacement_mm)
            if control is not self.control and not here.step.inelastic:
                # from an elastic state nothing but a push finds what is going to break
                rate = here.point.u_mm * (_PUSH / ds), 0.0
            try:
                point = self._advance(here.point, control, ds, rate)
            except Stuck as reason:
                log.debug("step of %.3g: %s", ds, reason)
                ds /= 2
                continue
            mark = Mark(self._logged(here, point, cuts, control is not self.control), point)
            log.info("%s", mark.step)
            return mark, control, self._next(ds, [*marks, mark])
        raise Stuck(f"no equilibrium beyond {here.step.displacement_mm:.4g} mm")

    def _advance(self, point: Point, control: Control, ds: float, rate: Rate | None) -> Point:
        s = control.of(point.u_mm, point.factor) + ds
        return self.equilibrium.advance(point, control, s, rate)

    def _rate(self, marks: list[Mark], control: Control) -> Rate | None:
        """Go on as in the last step, if its load was beyond the elastic range."""
        if len(marks) < 3:
            return None
        a, b = marks[-2].point, marks[-1].point
        ds = control.of(b.u_mm, b.factor) - control.of(a.u_mm, a.factor)
        return ((b.u_mm - a.u_mm) / ds, (b.factor - a.factor) / ds) if ds > 0 else None

    def _next(self, ds: float, marks: list[Mark]) -> float:
        """Next step: longer where Newton's method has it easy, shorter towards the peak."""
        last = marks[-1].step
        if last.cuts:
            return ds
        if last.iterations >= _HARD:
            return ds / _GROWTH
        grown = ds * _GROWTH if last.iterations <= _EASY else ds
        if last.inelastic:
            return grown
        bent = _slope(marks[-2].step, last) / _slope(marks[0].step, marks[1].step)
        return min(grown, self.pace.share * max(_NEAR, min(bent, 1.0)) * last.control)

    def _logged(self, here: Mark, point: Point, cuts: int, snapped: bool) -> Step:
        displacement, force = self.measure(point)
        du = point.u_mm - here.point.u_mm
        work = 0.5 * float(((here.point.at.force_N + point.at.force_N) * du).sum())
        before = here.step
        outside = 0.5 * (before.force_N + force) * (displacement - before.displacement_mm)
        step = Step(
            self.control.of(point.u_mm, point.factor),
            displacement,
            force,
            point.factor,
            point.iterations,
            point.linear_iterations,
            cuts,
            point.residual,
            before.external_Nmm + outside,
            before.internal_Nmm + work,
            self.equilibrium.stored_energy(point),
            snapped,
        )
        if self.progress is not None:
            self.progress(step)
        return step

    def _forget(self, marks: list[Mark]) -> None:
        """Keep the points around the top and the last two; the others' memory is freed."""
        top = max(range(len(marks)), key=lambda i: marks[i].step.force_N)
        kept = {top - 1, top, top + 1, len(marks) - 1, len(marks) - 2}
        i = len(marks) - 3
        if i >= 0 and i not in kept:
            marks[i] = replace(marks[i], point=marks[0].point)

    def _peaked(self, marks: list[Mark]) -> bool:
        top = max(m.step.force_N for m in marks)
        return marks[-1].step.force_N < (1 - self.pace.drop) * top

    def _after_stuck(self, marks: list[Mark]) -> Reason:
        """See a peak in a path that broke off while it fell by more than its tolerance."""
        top = max(m.step.force_N for m in marks)
        fell = marks[-1].step.force_N < (1 - self.pace.tolerance) * top
        return "peak" if len(marks) > 3 and fell else "stuck"

    def _flat(self, marks: list[Mark]) -> bool:
        if len(marks) < 4:
            return False
        slopes = [_slope(a.step, b.step) for a, b in pairwise(marks)]
        return all(0 <= s < self.pace.flat * slopes[0] for s in slopes[-2:])

    def refined(self, marks: list[Mark]) -> Walk:
        """Halve the steps on both sides of the top until its bound is tight enough."""
        steps, message = [m.step for m in marks], "the force fell"
        near, above = around_top(marks)
        for _ in range(10):
            if above <= self.pace.tolerance:
                break
            between = self._halves(near[-3:])
            if len(between) < 2:
                message = "the force fell; the peak could not be narrowed further"
                break
            steps += [m.step for m in between]
            before, left, top, right = near if len(near) == 4 else (near[0], *near)
            near, above = around_top([before, left, between[0], top, between[1], right])
        ordered = sorted(steps, key=lambda s: (s.inelastic, s.control))
        return Walk(tuple(ordered), near[-2], above, "peak", message)

    def _halves(self, near: list[Mark]) -> list[Mark]:
        """Equilibria half-way between three marks; fewer where there is none."""
        found = []
        for a, b in pairwise(near):
            ds = b.step.control - a.step.control
            rate = (b.point.u_mm - a.point.u_mm) / ds, (b.point.factor - a.point.factor) / ds
            try:
                point = self._advance(a.point, self.control, ds / 2, rate)
            except Stuck as reason:
                log.debug("no equilibrium between: %s", reason)
                continue
            found.append(Mark(self._logged(a, point, 0, snapped=False), point))
        return found


def _slope(a: Step, b: Step) -> float:
    dx = b.displacement_mm - a.displacement_mm
    return (b.force_N - a.force_N) / dx if dx else 0.0


def inelastic(equilibrium: Equilibrium, here: Mark) -> Control:
    """Control of the displacement that would stay if the force were taken off.

    ``displacement - C * force`` grows along any path on which something yields or breaks, snap-back
    included, while elastic unloading leaves it as it is: a control of dissipation that is linear.
    C is the compliance of unloading from here, ``2 * stored energy / force ** 2``. Where
    displacements are prescribed, the force is that of elastic bricks at the supports.

    References
    ----------
    After Gutierrez, Commun Numer Methods Eng 20 (2004) 19, and Verhoosel, Remmers and Gutierrez,
    Int J Numer Methods Eng 77 (2009) 1290 (unverified: quoted from memory).
    """
    step = here.step
    compliance = 2 * step.stored_Nmm / step.force_N**2
    if bool(equilibrium.force.any()):
        per_factor = step.force_N / step.factor
        return Control(equilibrium.force / per_factor, -compliance * per_factor)
    given, per_factor = equilibrium.given, step.displacement_mm / step.factor
    elastic = equilibrium.stiff(given) * (compliance / per_factor)
    return Control(-elastic * equilibrium.mask, per_factor - float((given * elastic).sum()))
