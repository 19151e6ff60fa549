"""The stage of a run that turns a stance's force, or a fall, through a cone of directions."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

from bonekit.case import Case
from bonekit.errors import InputError
from bonekit.fem.fall import SidewaysFall
from bonekit.fem.fall_sweep import FALL_CONE, FALL_SOURCE, falls_of, sweep_falls
from bonekit.fem.stance import SingleLegStance, femur_only
from bonekit.fem.sweep import SOURCE, Cone, Sweep, refuse_guided, sweep
from bonekit.figures.directions import FALL, STANCE, strength_by_direction
from bonekit.image.writing import replacing
from bonekit.lesions import find_lesions
from bonekit.pipeline.kept import ash_of, entry, problem_of
from bonekit.pipeline.peak import linear_criterion
from bonekit.pipeline.progress import Progress
from bonekit.resolve import loading_of, tissue_of
from bonekit.runfolder import RunFolder, write_json
from bonekit.storage import load_segmentation

Swept = SingleLegStance | SidewaysFall


def check_sweep(case: Case) -> None:
    """Refuse a sweep that no load of the case can answer.

    Raises
    ------
    InputError
    """
    if case.sweep is None:
        return
    if case.solver.engine == "conforming":
        raise InputError(
            "a sweep is solved by the voxel engine: leave out engine conforming, or the sweep"
        )
    loads = (case.load, *case.more_loads)
    found = [loading_of(load, case.bone or "femur", case.patient.mass_kg) for load in loads]
    swept = [loading for loading in found if _can_be_swept(loading)]
    if not swept:
        raise InputError(
            "a sweep turns a single_leg_stance or a sideways_fall; the loads of the case are "
            f"{', '.join(loading.name for loading in found)}. Leave the sweep out, or add such a "
            "load"
        )
    for loading in swept:
        cone = cone_of(case, loading)
        if isinstance(loading, SingleLegStance):
            refuse_guided(loading)
        else:
            falls_of(loading, cone)


def cone_of(case: Case, loading: Swept) -> Cone:
    """Directions of the case; what it leaves open is the load's own."""
    usual = FALL_CONE if isinstance(loading, SidewaysFall) else Cone()
    given = {} if case.sweep is None else case.sweep.model_dump(exclude_none=True)
    return replace(usual, **given)


def sweep_stage(folder: RunFolder, case: Case, progress: Progress) -> None:
    """model.npz -> sweep.json, sweep.png: strength over a cone of directions, if asked for."""
    segmentation, _ = load_segmentation(folder.path)
    loading = loading_of(case.load, segmentation.bone, case.patient.mass_kg)
    wanted = case.sweep is not None and _can_be_swept(loading)
    progress("sweep", 0.0, "over a cone of directions" if wanted else "not asked for")

    def work() -> None:
        if case.sweep is None or not _can_be_swept(loading):
            write_json(folder.path / "sweep.json", None)
            return
        swept = _stance if isinstance(loading, SingleLegStance) else _fall
        _write(folder, swept(folder, case, progress))

    inputs = {"settings": entry(case.sweep), "criterion": case.criterion} if wanted else None
    folder.stage("sweep", inputs, work)


def _can_be_swept(loading: object) -> TypeGuard[Swept]:
    return isinstance(loading, SingleLegStance | SidewaysFall)


def _stance(folder: RunFolder, case: Case, progress: Progress) -> Sweep:
    """Three unit forces, joined for each direction."""
    segmentation, _ = load_segmentation(folder.path)
    loading = loading_of(case.load, segmentation.bone, case.patient.mass_kg)
    assert isinstance(loading, SingleLegStance)
    return sweep(
        problem_of(folder, case),
        loading,
        femur_only(segmentation.anatomy, loading.name),
        cone_of(case, loading),
        linear_criterion(case),
        **case.solver.model_dump(exclude={"engine"}),
        progress=lambda share, words: progress("sweep", share, words),
    )


def _fall(folder: RunFolder, case: Case, progress: Progress) -> Sweep:
    """Mesh and solve each direction: other plates meet other patches."""
    segmentation, field = load_segmentation(folder.path)
    loading = loading_of(case.load, segmentation.bone, case.patient.mass_kg)
    assert isinstance(loading, SidewaysFall)
    ash = ash_of(folder)
    return sweep_falls(
        segmentation,
        ash,
        loading,
        cone_of(case, loading),
        linear_criterion(case),
        edge_mm=case.mesh.edge_mm,
        field=field,
        tissue=tissue_of(case, segmentation.bone),
        mapping=case.material.mapping,
        lesions=find_lesions(segmentation.labels.resample(ash.grid), ash),
        nu=case.material.nu,
        **case.solver.model_dump(exclude={"engine"}),
        progress=lambda share, words: progress("sweep", share, words),
    )


def _write(folder: RunFolder, found: Sweep) -> None:
    _, other = found.angles
    words = FALL if other == "rotation" else STANCE
    picture = strength_by_direction(
        found.directions_deg, found.strengths_N, found.centre_deg, words=words
    )
    with replacing(folder.path / "sweep.png") as temporary:
        temporary.write_bytes(picture)
    adduction, out_of_plane = found.weakest_deg
    told = {
        "adduction_deg": found.directions_deg[:, 0].tolist(),
        f"{other}_deg": found.directions_deg[:, 1].tolist(),
        "strengths_N": found.strengths_N.tolist(),
        "minimum_N": found.minimum,
        "weakest_adduction_deg": adduction,
        f"weakest_{other}_deg": out_of_plane,
        "central_N": found.central,
        "criterion": found.criterion,
        "source": FALL_SOURCE if other == "rotation" else SOURCE,
    }
    write_json(folder.path / "sweep.json", told)
