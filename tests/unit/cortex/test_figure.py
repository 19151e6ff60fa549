"""The picture of the cortex: thin and thick in their colours, grey where nothing was measured."""

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray
from PIL import Image as Pillow

from bonekit.cortex import CorticalMap
from bonekit.density import DensityImage, DensityKind
from bonekit.figures.cortex import COLOURS, UNKNOWN, _outside, _tint, cortex_figure
from bonekit.image.volume import Grid, LabelMap
from bonekit.segmentation.base import REGIONS

GRID = Grid.of((40, 40, 40), 1.0, (-19.5, -19.5, -19.5))


@pytest.fixture(scope="module")
def labels() -> LabelMap:
    depth = 14.0 - np.linalg.norm(GRID.points(), axis=-1)
    return LabelMap((depth > 0).astype(np.uint8), GRID, dict(REGIONS))


@pytest.fixture(scope="module")
def cortex() -> CorticalMap:
    """Ball: 1 mm thick on the right, 5 mm on the left, nothing measured at the top."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(1500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    one = np.ones(len(normals))
    return CorticalMap(
        points_mm=14.0 * normals,
        normals=normals,
        thickness_mm=np.where(normals[:, 0] < 0, 1.0, 5.0),
        density_g_cm3=1.1 * one,
        outer_mm=0 * one,
        outside_g_cm3=0.05 * one,
        inside_g_cm3=0.2 * one,
        residual_g_cm3=0.02 * one,
        ok=normals[:, 2] < 0.7,
        failures={"too thick": int((normals[:, 2] >= 0.7).sum())},
        psf_fwhm_mm=1.2,
        cortical_density_g_cm3=1.1,
        slice_mm=1.0,
        kind="ash",
    )


def pixels(data: bytes) -> NDArray[np.float64]:
    return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"), dtype=np.float64) / 255


def test_faces_have_the_colour_of_their_thickness(labels: LabelMap, cortex: CorticalMap) -> None:
    outer = _outside(labels)
    colours = ScalarMappable(norm=Normalize(0, 5), cmap=COLOURS)
    tint = _tint(outer, cortex, colours)
    middle = outer.points_mm[outer.quads[:, :3]].mean(axis=1)
    outward = (outer.flat_normals * middle).sum(axis=1)
    assert outward.min() > 0
    for rows, expected in (
        ((middle[:, 0] < -4) & (middle[:, 2] < 6), colours.to_rgba(1.0)[:3]),
        ((middle[:, 0] > 4) & (middle[:, 2] < 6), colours.to_rgba(5.0)[:3]),
        (middle[:, 2] > 12.5, UNKNOWN),
    ):
        assert rows.sum() > 50
        assert np.abs(tint[rows] - expected).max() < 0.01


def test_a_bone_that_is_cut_is_closed(labels: LabelMap) -> None:
    outer = _outside(labels.crop((0, 0, 0), (40, 40, 20)))
    area = outer.flat_normals / 2
    assert np.abs(area.sum(axis=0)).max() < 1e-6 * np.abs(area).sum()


def test_a_picture_with_and_without_a_fit(labels: LabelMap, cortex: CorticalMap) -> None:
    array = np.where(labels.array > 0, 0.6, 0.05).astype(np.float32)
    density = DensityImage(array, GRID, DensityKind.ASH)
    shown = pixels(cortex_figure(density, labels, cortex))
    assert shown.shape == (800, 1600, 3)
    purple = np.abs(shown - COLOURS(0.999)[:3]).max(axis=2) < 0.1
    # seen from the front the patient's left, which is thick, is to the right; behind, the left
    front, behind = purple[50:680, :432], purple[50:680, 448:872]
    assert front[:, 216:].sum() > 20 * max(front[:, :216].sum(), 1)
    assert behind[:, :212].sum() > 20 * max(behind[:, 212:].sum(), 1)
    none = replace(cortex, ok=np.zeros(len(cortex.ok), bool))
    assert not (np.abs(pixels(cortex_figure(density, labels, none)) - shown) < 0.01).all()
