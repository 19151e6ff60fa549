"""What a finished run has to say of its lesions and of the bone without them."""

from __future__ import annotations

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.finished import Finished
from bonekit.lesions import Described, Vertebral, location_score
from bonekit.result import (
    CorticalResult,
    IntactResult,
    LesionResult,
    MirelsResult,
    VertebralResult,
)


def lesion_results(finished: Finished) -> tuple[LesionResult, ...]:
    """Put the lesions into the form of result.json."""
    return tuple(_lesion(described) for described in finished.lesions)


def intact_result(finished: Finished) -> IntactResult | None:
    """Say what the lesions cost; None if the bone was not solved without them."""
    if finished.intact is None:
        return None
    # both linear: a path for the filled bone would cost as much as the answer itself
    lost = 1.0 - finished.linear.strength_N / finished.intact["strength_N"]
    femur = isinstance(finished.segmentation.anatomy, FemurAnatomy)
    score = location_score(1.0 - lost) if femur else None
    return IntactResult(lost=lost, location_score=score, **finished.intact)


def level_result(finished: Finished) -> VertebralResult | None:
    """Say what all lesions of a vertebra together took."""
    return None if finished.level is None else _vertebral(finished.level)


def _lesion(described: Described) -> LesionResult:
    lesion, location, score = described.lesion, described.location, described.mirels
    cortical = None if described.cortical is None else CorticalResult(**vars(described.cortical))
    it = described.vertebral
    vertebral = None if it is None else _vertebral(it)
    return LesionResult(
        number=lesion.number,
        kind=lesion.kind,
        volume_ml=lesion.volume_ml,
        centre_mm=lesion.centre_mm,
        ash_density_g_cm3=lesion.ash_g_cm3,
        healthy_g_cm3=lesion.healthy_g_cm3,
        region=location.region,
        regions=dict(location.regions),
        axial_mm=location.axial_mm,
        sector=location.sector,
        sectors=dict(location.sectors),
        cortical=cortical,
        vertebral=vertebral,
        mirels=None if score is None else MirelsResult(score=score.score, **vars(score)),
    )


def _vertebral(it: Vertebral) -> VertebralResult:
    return VertebralResult(**{name: getattr(it, name) for name in VertebralResult.model_fields})
