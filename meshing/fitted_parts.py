"""The loading parts that somebody wants on a bone, fitted one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.anatomy.vertebra import VertebraAnatomy
from bonekit.errors import InputError
from bonekit.image.volume import LabelMap
from bonekit.meshing.columns import WithParts
from bonekit.meshing.loading_parts import (
    along,
    with_endplate_caps,
    with_head_cup,
    with_trochanter_pad,
)

Float = NDArray[np.float64]
Part = Literal["cup", "caps", "pad"]


def fitted_parts(
    labels: LabelMap,
    anatomy: FemurAnatomy | VertebraAnatomy,
    wanted: Sequence[Part],
    direction: ArrayLike | None = None,
    ground: ArrayLike | None = None,
) -> WithParts:
    """Put parts on a bone, with voxels along their faces.

    The label map is resampled to cubes of its shortest spacing along the axis of the cup or the
    caps (without those, of the bone), so that flat faces are flat: see `along`.

    Parameters
    ----------
    labels : LabelMap
    anatomy : FemurAnatomy or VertebraAnatomy
    wanted : sequence of str
        ``cup`` and ``pad`` of a femur, ``caps`` of a vertebra; each once.
    direction : array_like, (3,), optional
        World direction of the force on the cup; by default down the shaft axis.
    ground : array_like, (3,), optional
        World direction of the force on the pad; by default medially, square to the shaft axis.

    Returns
    -------
    WithParts
        Without any part wanted, `labels` as they are.

    Raises
    ------
    InputError
        If the bone has no place for a part, or see `with_head_cup`, `with_endplate_caps`,
        `with_trochanter_pad`.
    """
    _check(wanted, anatomy)
    made = WithParts(labels, (), np.zeros((2, 3), dtype=np.int64))
    if not wanted:
        return made
    turned = along(labels, _axes(anatomy, direction), float(labels.spacing_mm.min()))
    made = WithParts(turned, (), np.zeros((2, 3), dtype=np.int64))
    for name in wanted:
        if isinstance(anatomy, VertebraAnatomy):
            one = with_endplate_caps(made.labels, anatomy)
        elif name == "cup":
            one = with_head_cup(made.labels, anatomy, direction=direction)
        else:
            one = with_trochanter_pad(made.labels, anatomy, direction=ground)
        made = WithParts(one.labels, (*made.parts, *one.parts), made.n_padded + one.n_padded)
    return made


def _check(wanted: Sequence[Part], anatomy: FemurAnatomy | VertebraAnatomy) -> None:
    allowed = ("cup", "pad") if isinstance(anatomy, FemurAnatomy) else ("caps",)
    wrong = [name for name in wanted if name not in allowed]
    if wrong or len(set(wanted)) < len(wanted):
        bone = "femur" if isinstance(anatomy, FemurAnatomy) else "vertebra"
        raise InputError(
            f"a {bone} takes {' and '.join(allowed)}, each once; asked for {', '.join(wanted)} "
            f"(there are {', '.join(get_args(Part))})"
        )


def _axes(anatomy: FemurAnatomy | VertebraAnatomy, direction: ArrayLike | None) -> Float:
    """Axes as columns, the third against the force."""
    frame = anatomy.frame
    if direction is None:
        return frame
    up = -np.asarray(direction, dtype=np.float64)
    left = np.cross(frame[:, 1], up)
    length = float(np.linalg.norm(left))
    if not length > 1e-6:
        raise InputError(
            "the force on a cup must not run from back to front, got "
            f"{np.round(-up, 3).tolist()}: load the head from above"
        )
    left, up = left / length, up / np.linalg.norm(up)
    return np.column_stack([left, np.cross(up, left), up])
