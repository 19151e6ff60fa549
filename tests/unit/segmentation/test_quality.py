"""Findings of the quality control on made-up masks and anatomies."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.anatomy.femur import FemurAnatomy
from bonekit.image.volume import Grid, Image
from bonekit.segmentation.quality import (
    check_femur,
    check_head,
    check_metal,
    check_pieces,
    head_visible,
)

HEAD = np.array([0.0, 0.0, 0.0])
UP = np.array([0.0, 0.0, 1.0])
NECK = np.array([0.8, 0.0, -0.6])
ANATOMY = FemurAnatomy("left", HEAD, 24.0, NECK, np.array([43, 0, -150.0]), UP, 0.0, 80.0, 700.0)
GRID = Grid.of((60, 40, 100), 2.0, (-40.0, -40.0, -160.0))


def femur(ml: float = 200.0) -> np.ndarray:
    """Box of a given volume that touches only the lower border."""
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[20:45, 10:35, : round(ml * 1000 / 8 / 625)] = True
    return mask


def codes(findings) -> list[tuple[str, str]]:
    return [(f.severity, f.code) for f in findings]


def test_a_sound_femur_has_only_its_shaft_noted() -> None:
    quality = check_femur(femur(), GRID, ANATOMY)
    assert codes(quality.findings) == [("note", "shaft-length")]
    assert "80 mm of shaft" in quality.findings[0].message
    assert quality.measures["volume_ml"] == pytest.approx(200.0, abs=2.5)
    assert quality.measures["neck_shaft_angle_deg"] == pytest.approx(126.87, abs=0.01)
    assert quality.measures["offset_mm"] == pytest.approx(43.0)
    assert quality.measures["head_visible"] == 1.0


@pytest.mark.parametrize("cut_mm", [-24.0, -12.0, 0.0, 12.0, 24.0])
def test_the_visible_share_of_the_head_is_that_of_a_cut_ball(cut_mm: float) -> None:
    """Field of view that ends at x = cut_mm: volume of a spherical segment."""
    grid = Grid.of((200, 80, 80), 1.0, (cut_mm - 199.5, -40, -40))
    h = cut_mm + 24.0
    expected = h**2 * (3 * 24.0 - h) / (4 * 24.0**3)
    assert head_visible(ANATOMY, grid) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("cut_mm", "severity"), [(23.5, None), (12.0, "warning"), (6.0, "warning"), (1.0, "error")]
)
def test_a_cut_head(cut_mm: float, severity: str | None) -> None:
    grid = Grid.of((200, 80, 250), 1.0, (cut_mm - 199.5, -40, -200))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[10:60, 10:60, 10:90] = True
    found = dict(reversed(pair) for pair in codes(check_femur(mask, grid, ANATOMY).findings))
    assert found.get("head-cut") == severity


@pytest.mark.parametrize(("cells", "severity"), [(5, None), (40, "warning"), (120, "error")])
def test_a_cut_trochanter(cells: int, severity: str | None) -> None:
    mask = femur()
    j, k = np.divmod(np.arange(cells), 12)
    mask[-1, 5 + j, 70 + k] = True  # 4 mm2 each, at the height of the trochanters
    findings = check_femur(mask, GRID, ANATOMY).findings
    assert dict(reversed(p) for p in codes(findings)).get("trochanter-cut") == severity


def test_bone_cut_at_the_shaft_or_the_head_is_no_cut_trochanter() -> None:
    grid = Grid.of((45, 40, 100), 2.0, (-10.0, -40.0, -160.0))
    head = np.linalg.norm(grid.points() - HEAD, axis=-1) < 26.0  # cut over 14 cm2
    assert np.count_nonzero(head[0]) * 4.0 > 1000.0
    head[10:40, 10:35, :50] = True
    head[-1, 5:25, 5:15] = True  # the shaft leaves the field of view sideways
    found = [f.code for f in check_femur(head, grid, ANATOMY).findings]
    assert "trochanter-cut" not in found
    assert "head-cut" in found


def test_a_short_shaft_is_warned_of() -> None:
    findings = check_femur(femur(), GRID, replace(ANATOMY, flare_mm=29.0)).findings
    assert codes(findings) == [("warning", "shaft-short")]


@pytest.mark.parametrize(
    ("ml", "severity"), [(25.0, "error"), (45.0, "warning"), (70.0, None), (480.0, "warning")]
)
def test_an_odd_volume(ml: float, severity: str | None) -> None:
    findings = check_femur(femur(ml), GRID, ANATOMY).findings
    assert dict(reversed(p) for p in codes(findings)).get("volume") == severity


@pytest.mark.parametrize(("angle_deg", "odd"), [(100, True), (110, False), (155, True)])
def test_an_odd_neck_shaft_angle(angle_deg: float, odd: bool) -> None:
    angle = np.radians(angle_deg)
    turned = replace(ANATOMY, neck_axis=np.array([np.sin(angle), 0, np.cos(angle)]))
    findings = check_femur(femur(), GRID, turned).findings
    assert (("warning", "neck-shaft-angle") in codes(findings)) is odd


@pytest.mark.parametrize(
    ("roundness", "severity"), [(0.9, []), (0.7, ["warning"]), (0.5, ["error"])]
)
def test_a_head_that_is_not_round(roundness: float, severity: list[str]) -> None:
    assert codes(check_head(roundness)) == [(s, "head-not-round") for s in severity]


@pytest.mark.parametrize(
    ("voxels", "severity"), [(0, []), (3, []), (50, ["warning"]), (400, ["error"])]
)
def test_a_mask_in_pieces(voxels: int, severity: list[str]) -> None:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[5:15, 5:15, 5:15] = True
    mask.ravel()[-voxels:] |= voxels > 0
    assert codes(check_pieces(mask, GRID)) == [(s, "pieces") for s in severity]


@pytest.mark.parametrize(("gap_mm", "near"), [(0.0, True), (8.0, True), (14.0, False)])
def test_metal_in_or_near_the_bone(gap_mm: float, near: bool) -> None:
    mask = femur()
    hu = np.where(mask, 400, 50).astype(np.int16)
    right = 44 + int(gap_mm / 2) + (1 if gap_mm else 0)
    hu[right : right + 3, 20:23, 20:23] = 3000  # 0.2 ml
    ct = Image(hu, GRID)
    assert codes(check_metal(ct, mask, allowed=False)) == ([("error", "metal")] if near else [])
    assert codes(check_metal(ct, mask, allowed=True)) == ([("warning", "metal")] if near else [])


def test_a_saturated_speck_is_no_metal() -> None:
    mask = femur()
    hu = np.where(mask, 400, 50).astype(np.int16)
    hu[30, 20, 20:25] = 3000  # 0.04 ml
    assert check_metal(Image(hu, GRID), mask, allowed=False) == []
