"""The objects of a run on disk, and back: plain JSON and numpy files without pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.landmark import Landmark
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.fem.caps import CapMotion
from bonekit.fem.model import Solution
from bonekit.image import read_labels, write
from bonekit.image.volume import Grid
from bonekit.image.writing import replacing
from bonekit.meshing.voxel import VoxelMesh
from bonekit.runfolder import write_json
from bonekit.segmentation.base import Finding, Segmentation

Float = NDArray[np.float64]


def plain(value: Any) -> Any:
    """Turn arrays and numpy numbers into what JSON can hold."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def save_segmentation(folder: Path, segmentation: Segmentation, field: Grid) -> None:
    """Write labels.nii.gz with its table, and segmentation.json."""
    write(segmentation.labels, folder / "labels.nii.gz")
    content = {
        "bone": segmentation.bone,
        "anatomy": plain(asdict(segmentation.anatomy)),
        "findings": [asdict(f) for f in segmentation.findings],
        "measures": plain(dict(segmentation.measures)),
        "method": segmentation.method,
        "field": {"shape": list(field.shape), "affine": field.affine.tolist()},
    }
    write_json(folder / "segmentation.json", content)


def load_segmentation(folder: Path) -> tuple[Segmentation, Grid]:
    """Read what `save_segmentation` wrote: the segmentation and the scan's field of view.

    Raises
    ------
    InputError
        For a folder of an earlier bonekit, whose landmarks were stored otherwise.
    """
    content = json.loads((folder / "segmentation.json").read_text(encoding="utf-8"))
    if "landmarks" not in content["anatomy"]:
        raise InputError(
            f"{folder / 'segmentation.json'} names no landmarks: an earlier bonekit wrote it. "
            "Run the scan again into a new folder"
        )
    kind = FemurAnatomy if content["bone"].startswith("femur") else VertebraAnatomy
    parts: dict[str, Any] = {
        k: np.array(v) if isinstance(v, list) else v
        for k, v in content["anatomy"].items()
        if k != "landmarks"
    }
    anatomy = kind(**parts, landmarks=_landmarks(content["anatomy"]["landmarks"]))
    segmentation = Segmentation(
        content["bone"],
        read_labels(folder / "labels.nii.gz"),
        anatomy,
        tuple(Finding(**f) for f in content["findings"]),
        content["measures"],
        content["method"],
    )
    field = Grid(tuple(content["field"]["shape"]), np.array(content["field"]["affine"]))
    return segmentation, field


def _landmarks(stored: list[dict[str, Any]]) -> tuple[Landmark, ...]:
    points = [None if one["point_mm"] is None else np.array(one["point_mm"]) for one in stored]
    return tuple(
        Landmark(**{**one, "point_mm": point}) for one, point in zip(stored, points, strict=True)
    )


def save_mesh(path: Path, mesh: VoxelMesh) -> None:
    """Write a voxel mesh as .npz."""
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            region=mesh.region,
            affine=mesh.grid.affine,
            values=np.array(list(mesh.names), dtype=np.int64),
            names=np.array(list(mesh.names.values()), dtype=np.str_),
            n_removed=mesh.n_removed,
        )


def load_mesh(path: Path) -> VoxelMesh:
    """Read what `save_mesh` wrote."""
    with np.load(path, allow_pickle=False) as file:
        names = dict(zip(file["values"].tolist(), file["names"].tolist(), strict=True))
        region = file["region"]
        grid = Grid(region.shape, file["affine"])
        return VoxelMesh(region, grid, names, int(file["n_removed"]))


def save_solution(path: Path, solution: Solution) -> None:
    """Write a solution as .npz."""
    apart = ("reaction_N", "caps")
    arrays: dict[str, Any] = {k: v for k, v in vars(solution).items() if k not in apart}
    arrays |= {f"reaction_N/{name}": force for name, force in solution.reaction_N.items()}
    for name, motion in solution.caps.items():
        arrays |= {f"caps/{name}/{part}": value for part, value in vars(motion).items()}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_solution(path: Path) -> Solution:
    """Read what `save_solution` wrote."""
    with np.load(path, allow_pickle=False) as file:
        plainly = {k: v if v.ndim else v.item() for k, v in file.items() if "/" not in k}
        reactions = {
            k.removeprefix("reaction_N/"): v for k, v in file.items() if k.startswith("reaction_N/")
        }
        moved: dict[str, dict[str, Float]] = {}
        for key in (k for k in file.files if k.startswith("caps/")):
            _, name, part = key.split("/")
            moved.setdefault(name, {})[part] = file[key]
    caps = {name: CapMotion(**parts) for name, parts in moved.items()}
    plainly["history"] = tuple(plainly["history"].tolist())
    return Solution(**plainly, reaction_N=reactions, caps=caps)
