"""Which way triangles face: consistent within a shell, outward in bone, inward in cavities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bonekit.meshing.triangles import components, neighbours, shells, volume

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]


class NoInsideError(ValueError):
    """A shell has one side only; `where_mm` is a point of it."""

    def __init__(self, where_mm: Float) -> None:
        super().__init__("a shell has one side only")
        self.where_mm = where_mm


def outward(points: Float, triangles: Int) -> Int:
    """Turn triangles so that the normals of outer shells point outward and of cavities inward.

    Parameters
    ----------
    points : ndarray, (n, 3)
    triangles : ndarray of int, (m, 3)
        Closed; at most two triangles at an edge.

    Raises
    ------
    NoInsideError
        If a shell has one side only.
    """
    triangles = np.where(_turned(points, triangles)[:, None], triangles[:, ::-1], triangles)
    piece = shells(triangles)
    out = triangles.copy()
    for one in range(piece.max() + 1):
        own = triangles[piece == one]
        cavity = _depth(points, triangles, piece, one) % 2
        if (volume(points, own) < 0) != bool(cavity):
            out[piece == one] = own[:, ::-1]
    return out


def _turned(points: Float, triangles: Int) -> Mask:
    """Fewest triangles to turn in each shell so that all of it agrees, (m,).

    Each triangle stands for two, itself and its back; fronts are joined with what agrees with
    them. If a front hangs together with its own back, the shell has one side only.
    """
    m = len(triangles)
    first, second, agree = neighbours(triangles)
    other = np.where(agree, second, second + m)
    back = np.where(agree, second + m, second)
    side = components(2 * m, np.concatenate([first, first + m]), np.concatenate([other, back]))
    one_sided = np.flatnonzero(side[:m] == side[m:])
    if len(one_sided):
        raise NoInsideError(points[triangles[one_sided[0]]].mean(axis=0))
    count = np.bincount(side[:m], minlength=int(side.max()) + 1)
    return np.asarray(count[side[:m]] < count[side[m:]])


def _depth(points: Float, triangles: Int, piece: Int, one: int) -> int:
    """Within how many of the other shells a shell lies."""
    place = points[triangles[piece == one][0, 0]]
    others = (triangles[piece == n] for n in range(piece.max() + 1) if n != one)
    return sum(abs(winding(place, points[own])) > 0.5 for own in others)


def winding(place: Float, corners: Float) -> float:
    """How often triangles, (m, 3, 3), wind round a place: 0 outside, 1 inside, -1 if turned.

    Sum of their solid angles (van Oosterom and Strackee, IEEE Trans Biomed Eng 1983;30:125-126).
    """
    a, b, c = np.moveaxis(corners - place, 1, 0)
    x, y, z = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    across = np.einsum("ij,ij->i", a, np.cross(b, c))
    ab, bc, ca = (np.einsum("ij,ij->i", v, w) for v, w in ((a, b), (b, c), (c, a)))
    angle = 2 * np.arctan2(across, x * y * z + ab * z + bc * x + ca * y)
    return float(angle.sum() / (4 * np.pi))
