"""The stage of a run that loads the bone until its force has peaked."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from bonekit.case import Case
from bonekit.case.loads import LoadSettings
from bonekit.errors import ConvergenceError, InputError
from bonekit.fem.failure import Failure, Unfinished
from bonekit.fem.peak import obstacle, peak_load, standard_end_mm
from bonekit.fem.simulation import Problem
from bonekit.fem.steps import Step
from bonekit.fem.strength import Strength
from bonekit.figures.failure_curve import failure_curve
from bonekit.finished import PathEnd
from bonekit.image.writing import replacing
from bonekit.pipeline.progress import Progress
from bonekit.resolve import loading_of
from bonekit.runfolder import RunFolder, write_json

PEAK = "peak"  # the criterion


def linear_criterion(case: Case) -> str | None:
    """Criterion of linear solutions: what stands in for the peak where a path would cost too much.

    None is the standard one of the load case.
    """
    return None if case.criterion == PEAK else case.criterion


def obstacle_of(case: Case, load: LoadSettings | None) -> str | None:
    """Say what keeps the path from its peak under a load, or None."""
    loading = loading_of(load, case.bone or "femur", case.patient.mass_kg)
    return obstacle(loading, finite=case.peak.finite_strain)


def check_peak(case: Case) -> None:
    """Refuse a path under a load that it can't be walked under.

    Raises
    ------
    InputError
    """
    if case.criterion == PEAK and case.solver.engine == "conforming":
        raise InputError(
            "criterion peak follows its path by the voxel engine: leave out engine conforming, or "
            "take a linear criterion"
        )
    if case.criterion == PEAK and (why := obstacle_of(case, case.load)):
        assert case.load is not None  # nothing stands in the way of the standard loads
        raise InputError(f"criterion peak can't be asked of load {case.load.case}: it {why}")


def walk_to_the_peak(
    folder: RunFolder, case: Case, problem: Problem, progress: Progress
) -> dict[str, Any]:
    """Walk the path; leave peak.npz and peak.png, return what peak.json holds."""
    settings = case.peak
    end_mm = settings.end_mm or standard_end_mm(problem)

    def tell(step: Step) -> None:
        words = f"{step.displacement_mm:.2f} mm, {step.force_N / 1000:.2f} kN"
        progress("peak", min(step.displacement_mm / end_mm, 1.0), words)

    try:
        made = peak_load(
            problem,
            after=settings.after,
            end_mm=end_mm,
            finite=settings.finite_strain,
            device=case.solver.device,
            threads=case.solver.threads,
            progress=tell,
        )
    except Unfinished as error:
        _keep(folder, "unfinished", error.failure)
        raise ConvergenceError(
            f"{error} It is kept in unfinished.npz and unfinished.png."
        ) from error
    _keep(folder, "peak", made.failure, made.strength)
    strength = {k: v for k, v in asdict(made.strength).items() if k != "utilisation"}
    return {
        "strength": strength | {"parameters": dict(made.strength.parameters)},
        "reason": made.failure.reason,
        "curve_mm": made.failure.curve_mm.tolist(),
        "curve_N": made.failure.curve_N.tolist(),
    }


def _keep(folder: RunFolder, name: str, found: Failure, strength: Strength | None = None) -> None:
    """Write the fields and the curve of a path."""
    fields: dict[str, Any] = {
        "displacement_mm": found.nodes_mm,
        "plastic_strain": found.plastic_strain,
        "damage": found.damage,
        "yielded": found.yielded,
        "curve_mm": found.curve_mm,
        "curve_N": found.curve_N,
    }
    if strength is not None:
        fields["utilisation"] = strength.utilisation
    with replacing(folder.path / f"{name}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **fields)
    fell = found.reason in ("peak", "plateau")
    picture = failure_curve(found.curve_mm, found.curve_N, found.stiffness_N_mm, fell)
    with replacing(folder.path / f"{name}.png") as temporary:
        temporary.write_bytes(picture)


def stored_peak(folder: RunFolder) -> PathEnd | None:
    """Read the peak of a run; None if it was not asked for."""
    told = json.loads((folder.path / "peak.json").read_text(encoding="utf-8"))
    if told is None:
        return None
    with np.load(folder.path / "peak.npz", allow_pickle=False) as fields:
        strength = Strength(**told["strength"], utilisation=fields["utilisation"])
        rest = (fields[name] for name in ("displacement_mm", "plastic_strain", "damage"))
        return PathEnd(strength, told["reason"], *rest)


def write_peak(folder: RunFolder, told: dict[str, Any] | None) -> None:
    """Write peak.json; None says that no peak was asked for."""
    write_json(folder.path / "peak.json", told)
