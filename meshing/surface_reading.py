"""Surfaces made elsewhere: STL, PLY, OBJ and VTP files in millimetres and LPS."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from bonekit.errors import InputError
from bonekit.meshing.surface import FORMATS, Surface

logger = logging.getLogger(__name__)
Float = NDArray[np.float64]
Unit = Literal["mm", "cm", "m"]
Space = Literal["LPS", "RAS"]

MM_PER: dict[Unit, float] = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
# diagonal of the box of a bone: from a phalanx to both hip bones of a tall patient
BONE_MM = (12.0, 1000.0)
METRES = 2.0  # a larger number can be no bone in metres


def read_surface(path: Path | str, unit: Unit = "mm", space: Space | None = None) -> Surface:
    """Read the triangles of a bone as they are: see `bonekit.meshing.repair.repair` for the rest.

    Parameters
    ----------
    path : Path or str
        .stl, .ply, .obj or .vtp; polygons are cut into triangles.
    unit : "mm", "cm" or "m"
        Of the coordinates in the file: none of the formats says it.
    space : "LPS" or "RAS", optional
        World frame of the file. Without it the one that the file's header names (``SPACE=LPS``, as
        3D Slicer and `write_surface` write it), or else LPS.

    Returns
    -------
    Surface
        In LPS millimetres. Regions are those of a .vtp file of `write_surface`, else 1, "bone".

    Raises
    ------
    InputError
        If the file is missing, of another format, has no triangle or a coordinate that is not
        finite, or if its size is not that of a bone in this unit.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"can't read a surface from {path.name!r}; allowed: {', '.join(FORMATS)}")
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty")
    mesh = _load(path)
    points = np.asarray(mesh.points, dtype=np.float64) * MM_PER[unit]
    triangles = np.asarray(mesh.regular_faces, dtype=np.int64).reshape(-1, 3)
    _check(points, triangles, unit, path)
    if (space or _space_of(path, mesh)) == "RAS":
        points = points * (-1.0, -1.0, 1.0)  # half a turn: triangles still face outward
    region = np.asarray(mesh.cell_data.get("region", np.ones(len(triangles))), dtype=np.uint8)
    names = {int(v): "bone" if v == 1 else f"region_{v}" for v in np.unique(region)}
    return Surface(points, triangles, region, names)


def _load(path: Path) -> pv.PolyData:
    try:
        read = pv.read(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} can't be read as {path.suffix}: {error}") from error
    if not isinstance(read, pv.PolyData):
        raise InputError(f"{path} holds no surface but a {type(read).__name__}")
    mesh: pv.PolyData = read.triangulate()
    if not mesh.n_cells or not mesh.n_points:
        raise InputError(f"{path} has no triangle: is it empty or damaged?")
    return mesh


def _check(points: Float, triangles: NDArray[np.int64], unit: Unit, path: Path) -> None:
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        raise InputError(f"{path}: {np.sum(~finite)} points are not finite (first: {first})")
    used = points[triangles.ravel()]
    diagonal = float(np.linalg.norm(np.ptp(used, axis=0)))
    if BONE_MM[0] <= diagonal <= BONE_MM[1]:
        return
    number = diagonal / MM_PER[unit]
    size = " x ".join(f"{s:.3g}" for s in np.ptp(used, axis=0) / MM_PER[unit])
    raise InputError(
        f"{path} measures {size}; taken as {unit} that is no bone, whose box has a diagonal of "
        f"{BONE_MM[0]:g} to {BONE_MM[1]:g} mm. {_advice(number)}"
    )


def _advice(number: float) -> str:
    """Guess the unit of a box with this diagonal."""
    fitting = [u for u, mm in MM_PER.items() if BONE_MM[0] <= number * mm <= BONE_MM[1]]
    if number <= METRES and "m" in fitting:
        return 'It looks like metres: read it with unit="m" (--unit m)'
    if fitting:
        return f"It would fit as {' or '.join(fitting)}: say which with unit="
    return "It fits no unit: scale the file to millimetres first"


def _space_of(path: Path, mesh: pv.PolyData) -> Space:
    """World frame that the header names, LPS if it names none."""
    if "SPACE" in mesh.field_data:
        text = f"SPACE={mesh.field_data['SPACE'][0]}"
    else:
        with path.open("rb") as file:
            text = file.read(2048).decode("ascii", errors="ignore")
    said = re.search(r"SPACE=(LPS|RAS)", text)
    if not said:
        logger.info("%s names no world frame: taken as LPS", path.name)
        return "LPS"
    return "RAS" if said[1] == "RAS" else "LPS"
