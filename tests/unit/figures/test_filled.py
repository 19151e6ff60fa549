import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.figures.filled import filled_drawing
from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import REGIONS

GRID = Grid.of((40, 36, 60), 1.0)
X, Y, Z = np.moveaxis(GRID.points(), -1, 0)
BONE = np.hypot(X - 20, Y - 18) < 12
LESION = BONE & (np.abs(Z - 30) < 8)
LABELS = LabelMap(np.where(LESION, 3, BONE).astype(np.uint8), GRID, dict(REGIONS))


def density(lesion_g_cm3: float) -> DensityImage:
    array = np.where(LESION, lesion_g_cm3, 0.8 * BONE)
    return DensityImage(array, GRID, DensityKind.ASH)


def drawn(after_g_cm3: float) -> np.ndarray:
    return imread(io.BytesIO(filled_drawing(density(0.0), density(after_g_cm3), LABELS, LESION)))


def test_only_the_panels_after_change_with_the_fill() -> None:
    """Coronal before and after, axial before and after: the second and fourth differ."""
    low, high = drawn(0.1), drawn(1.1)
    assert low.shape[1] == 1600
    columns = np.flatnonzero(np.abs(low - high).max(axis=(0, 2)) > 0.1)
    gaps = np.flatnonzero(np.diff(columns) > 20)
    assert len(gaps) == 1
    first, second = np.split(columns, gaps + 1)
    assert 250 < first.min() < first.max() < 800 < second.min() < second.max() < 1500


def test_nothing_filled_and_other_grids_are_refused() -> None:
    with pytest.raises(InputError, match="nothing was filled"):
        filled_drawing(density(0.0), density(0.5), LABELS, np.zeros_like(LESION))
    moved = replace(density(0.5), grid=Grid.of(GRID.shape, 2.0))
    with pytest.raises(InputError, match="different grids"):
        filled_drawing(density(0.0), moved, LABELS, LESION)
