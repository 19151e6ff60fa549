"""What an image can give of Mirels' score, and the location score by strength of Damron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from bonekit.errors import InputError
from bonekit.lesions.find import LesionKind
from bonekit.risk import Pain

Points = Literal[1, 2, 3]

# Mirels, Clin Orthop 1989 (unverified: quoted from memory). He does not bound "peritrochanteric";
# that neck and subtrochanteric region belong to it is bonekit's reading.
PERITROCHANTERIC = (
    "neck",
    "greater_trochanter",
    "lesser_trochanter",
    "intertrochanteric",
    "subtrochanteric",
)
LOWER_LIMB = ("head", "shaft")
KIND_POINTS: dict[str, Points] = {"blastic": 1, "mixed": 2, "lytic": 3}
PAIN_POINTS: dict[str, Points] = {"mild": 1, "moderate": 2, "functional": 3}


@dataclass(frozen=True)
class Mirels:
    """Parts of Mirels' score of a femoral lesion, 1 to 3 points each.

    Parameters
    ----------
    site : int
        Lower limb 2, peritrochanteric 3.
    kind : int
        Blastic 1, mixed 2, lytic 3; by density, not as seen in a radiograph.
    size : int
        Of the bone's width: up to a third 1, up to two thirds 2, more 3.
    pain : int or None
        Mild 1, moderate 2, functional 3; None: not given, no image knows it.
    """

    site: Points
    kind: Points
    size: Points
    pain: Points | None

    @property
    def score(self) -> int | None:
        """Sum of the four parts, 4 to 12; None while the pain is not known."""
        return None if self.pain is None else self.site + self.kind + self.size + self.pain


def mirels(region: str, kind: LesionKind, width: float, pain: Pain | None = None) -> Mirels | None:
    """Give the parts of Mirels' score that are known.

    Parameters
    ----------
    region : str
        Of `bonekit.lesions.location.Location`.
    kind : "lytic", "blastic" or "mixed"
    width : float
        Of `bonekit.lesions.cortical.Cortical`.
    pain : "mild", "moderate" or "functional", optional

    Returns
    -------
    Mirels or None
        None for a region that is not of a long bone: the score is not for vertebrae.

    Raises
    ------
    InputError
        If the width is no share or the pain is unknown.
    """
    if not 0.0 <= width <= 1.0:
        raise InputError(f"width must be a share between 0 and 1, got {width}")
    if pain is not None and pain not in get_args(Pain):
        raise InputError(f"pain {pain!r} is unknown; allowed: {', '.join(get_args(Pain))}")
    if region not in PERITROCHANTERIC + LOWER_LIMB:
        return None
    size: Points = 1 if width <= 1 / 3 else 2 if width <= 2 / 3 else 3
    return Mirels(
        3 if region in PERITROCHANTERIC else 2,
        KIND_POINTS[kind],
        size,
        None if pain is None else PAIN_POINTS[pain],
    )


def location_score(strength_left: float) -> Points:
    """Score a lesion's site by the share of strength that is left with it, 1 to 3 points.

    Over 75 % one, over 50 % two, else three: the location part that Damron et al. (2023) propose
    for Mirels' score, from 32 virtual lesions of the femur.

    Raises
    ------
    InputError
        If the share is negative or not a number.
    """
    if not strength_left >= 0.0:
        raise InputError(f"the share of strength left must be 0 or more, got {strength_left}")
    return 1 if strength_left > 0.75 else 2 if strength_left > 0.5 else 3
