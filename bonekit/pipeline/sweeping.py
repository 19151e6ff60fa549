"""The stage of a run that turns the force of a stance over a cone of directions."""

from __future__ import annotations

from bonekit.case import Case
from bonekit.errors import InputError
from bonekit.fem.stance import SingleLegStance, femur_only
from bonekit.fem.sweep import SOURCE, Cone, Sweep, refuse_guided, sweep
from bonekit.figures.directions import strength_by_direction
from bonekit.image.writing import replacing
from bonekit.pipeline.kept import entry, problem_of
from bonekit.pipeline.peak import linear_criterion
from bonekit.pipeline.progress import Progress
from bonekit.resolve import loading_of
from bonekit.runfolder import RunFolder, write_json
from bonekit.storage import load_segmentation


def check_sweep(case: Case) -> None:
    """Refuse a sweep that no load of the case can answer.

    Raises
    ------
    InputError
    """
    if case.sweep is None:
        return
    Cone(**case.sweep.model_dump())
    loads = (case.load, *case.more_loads)
    found = [loading_of(load, case.bone or "femur", case.patient.mass_kg) for load in loads]
    stances = [loading for loading in found if isinstance(loading, SingleLegStance)]
    if not stances:
        raise InputError(
            f"a sweep turns the force of a single_leg_stance; the loads of the case are "
            f"{', '.join(loading.name for loading in found)}. Leave the sweep out, or add the load"
        )
    for loading in stances:
        refuse_guided(loading)


def sweep_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """model.npz -> sweep.json, sweep.png: strength over a cone of directions, if asked for."""
    segmentation, _ = load_segmentation(folder.path)
    loading = loading_of(case.load, segmentation.bone, case.patient.mass_kg)
    wanted = case.sweep is not None and isinstance(loading, SingleLegStance)
    progress("sweep", 0.0, "three unit forces" if wanted else "not asked for")

    def work() -> None:
        if case.sweep is None or not isinstance(loading, SingleLegStance):
            write_json(folder.path / "sweep.json", None)
            return
        found = sweep(
            problem_of(folder, case),
            loading,
            femur_only(segmentation.anatomy, loading.name),
            Cone(**case.sweep.model_dump()),
            linear_criterion(case),
            **case.solver.model_dump(),
            progress=lambda share, words: progress("sweep", share, words),
        )
        _write(folder, found)

    inputs = {"settings": entry(case.sweep), "criterion": case.criterion} if wanted else None
    folder.stage("sweep", inputs, work)


def _write(folder: RunFolder, found: Sweep) -> None:
    picture = strength_by_direction(found.directions_deg, found.strengths_N, found.centre_deg)
    with replacing(folder.path / "sweep.png") as temporary:
        temporary.write_bytes(picture)
    adduction, flexion = found.weakest_deg
    told = {
        "adduction_deg": found.directions_deg[:, 0].tolist(),
        "flexion_deg": found.directions_deg[:, 1].tolist(),
        "strengths_N": found.strengths_N.tolist(),
        "minimum_N": found.minimum,
        "weakest_adduction_deg": adduction,
        "weakest_flexion_deg": flexion,
        "central_N": found.central,
        "criterion": found.criterion,
        "source": SOURCE,
    }
    write_json(folder.path / "sweep.json", told)
