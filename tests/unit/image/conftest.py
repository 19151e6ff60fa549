from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonekit.image import Grid, Image, LabelMap, write_dicom


def oblique_grid(flip: bool) -> Grid:
    axes = Rotation.from_euler("zyx", [25, -14, 33], degrees=True).as_matrix()
    if flip:
        axes = axes[:, [1, 0, 2]] * [1, -1, -1]
    assert np.isclose(np.linalg.det(axes), 1 if not flip else -1)
    return Grid.of((9, 7, 5), (0.7, 0.9765625, 2.5), (-123.4, 56.7, -890.1), axes)


@pytest.fixture(params=[False, True], ids=["oblique", "oblique-flipped"])
def ct(request: pytest.FixtureRequest) -> Image:
    """Random HU on an oblique grid, right-handed or left-handed."""
    grid = oblique_grid(request.param)
    values = np.random.default_rng(1).integers(-1000, 1500, grid.shape)
    return Image(values.astype(np.int16), grid)


@pytest.fixture
def labels(ct: Image) -> LabelMap:
    """Three labels, one of them empty, on the grid of the CT."""
    array = np.random.default_rng(2).choice([0, 1, 5], ct.shape).astype(np.uint8)
    names = {1: "cortex", 5: "lesion", 9: "metal"}
    colours = {1: (241, 214, 145), 5: (128, 48, 160), 9: (0, 160, 220)}
    return LabelMap(array, ct.grid, names, colours)


@pytest.fixture
def series(ct: Image, tmp_path: Path) -> Path:
    """The CT as a DICOM folder."""
    write_dicom(ct, tmp_path / "series", kVp=120, kernel="B30f")
    return tmp_path / "series"


@pytest.fixture
def same_world() -> Callable[..., None]:
    """Assert that two volumes have the same value at the same world point."""

    def check(a: Image | LabelMap, b: Image | LabelMap, atol: float = 0.0) -> None:
        assert sorted(a.shape) == sorted(b.shape)
        index = b.grid.index(a.grid.points())
        nearest = np.rint(index).astype(int)
        assert np.abs((index - nearest) * b.spacing_mm).max() < 1e-3
        values = b.array[tuple(np.moveaxis(nearest, -1, 0))]
        np.testing.assert_allclose(values, a.array, rtol=0, atol=atol)

    return check
