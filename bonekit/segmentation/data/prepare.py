"""A subject as the network takes it: canonical, at the plan's spacing, normalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonekit.image import Grid


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a network sees of one subject.

    Parameters
    ----------
    name : str
    image : ndarray of float32, (channels, ni, nj, nk)
        On canonical axes at the plan's spacing, normalised.
    labels : ndarray of uint8, (ni, nj, nk), optional
        Numbers of the task.
    grid : Grid
        Of both.
    native : Grid
        Of the files: predictions go back to it.
    """

    name: str
    image: NDArray[np.float32]
    labels: NDArray[np.uint8] | None
    grid: Grid
    native: Grid
