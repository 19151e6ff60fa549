"""Plans and fingerprints as files, and a plan in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from bonekit.errors import InputError
from bonekit.image.writing import replacing
from bonekit.segmentation.planning.fingerprint import Fingerprint
from bonekit.segmentation.planning.plan import Plan, Steps
from bonekit.segmentation.task_files import validated

Model = TypeVar("Model", bound=BaseModel)


def load_plan(path: str | Path) -> Plan:
    """Read a plan; `InputError` if it is missing, no JSON, or has a wrong entry."""
    return _load(Plan, path, "plan")


def load_fingerprint(path: str | Path) -> Fingerprint:
    """Read a fingerprint; `InputError` if it is missing, no JSON, or has a wrong entry."""
    return _load(Fingerprint, path, "fingerprint")


def save(model: Plan | Fingerprint, path: str | Path) -> None:
    """Write a plan or a fingerprint as JSON."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(model.model_dump_json(indent=1) + "\n", encoding="utf-8")


def describe(plan: Plan) -> str:
    """Say in a few lines what a plan is, for the command line."""
    share = 1.0
    if len(plan.patch) == 3:
        for edge, whole in zip(plan.patch, plan.median_shape, strict=True):
            share *= min(1.0, edge / whole)
    seen = f", {_percent(share)} of a volume" if len(plan.patch) == 3 else " of a slice"
    lines = [
        f"spacing   {_by(plan.spacing_mm)} mm; median volume {_by(plan.median_shape)} voxels",
        f"patch     {_by(plan.patch)} voxels{seen}; batch {plan.batch} ({plan.memory_GB:g} GB)",
        f"stages    {len(plan.strides)}, of {', '.join(map(str, plan.features))} channels",
        f"kernels   {', '.join(map(_by, plan.kernels))}",
        f"strides   {', '.join(map(_by, plan.strides))}",
    ]
    for number, one in enumerate(plan.statistics):
        lines.append(
            f"channel {number} mean {one.mean:.4g}, deviation {one.std:.4g}, "
            f"{one.low:.4g} to {one.high:.4g} (foreground)"
        )
    if plan.inside_nonzero:
        lines.append("z-scores inside the nonzero voxels: the crop takes away over a quarter")
    if plan.low_resolution is not None:
        low = plan.low_resolution
        lines.append(
            f"cascade   nnU-Net would put a network at {_by(low.spacing_mm)} mm (patch "
            f"{_by(low.patch)}) before it; bonekit trains this one alone"
        )
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share > 0.02 else f"{100 * share:.1f} %"


def _by(steps: Steps | tuple[float, ...]) -> str:
    return "x".join(f"{s:.4g}" for s in steps)


def _load(model: type[Model], path: str | Path, what: str) -> Model:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"the {what} {path} can't be read: {error}") from error
    return validated(model, content, f"the {what} {path}")
