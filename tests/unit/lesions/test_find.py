"""Lesions found in labels: on boxes whose numbers are known, and on phantoms."""

import numpy as np
import pytest

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.image.volume import Grid, LabelMap
from bonekit.lesions import Lesion, find_lesions, lesion_map, numbers_at
from bonekit.phantom import (
    FemurParameters,
    LesionParameters,
    Phantom,
    ScannerParameters,
    VertebraParameters,
    femur_phantom,
    vertebra_phantom,
)
from bonekit.segmentation.base import REGIONS

TURN = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
GRID = Grid.of((40, 36, 30), (1.0, 1.25, 1.5), (-10.0, 20.0, 300.0), TURN)
HEALTHY_G_CM3 = 0.2


def block(*lesions: tuple[tuple[slice, ...], float]) -> tuple[LabelMap, DensityImage]:
    """Trabecular bone in a shell of cortex, with boxes of another density."""
    region, ash = np.ones(GRID.shape, np.uint8), np.full(GRID.shape, 1.0)
    region[2:-2, 2:-2, 2:-2], ash[2:-2, 2:-2, 2:-2] = 2, HEALTHY_G_CM3
    for box, g_cm3 in lesions:
        region[box], ash[box] = 3, g_cm3
    return LabelMap(region, GRID, dict(REGIONS)), DensityImage(ash, GRID, DensityKind.ASH)


def box(i: int, j: int, k: int, size: int = 8) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start in (i, j, k))


SMALL, LARGE = box(5, 5, 5, 6), box(22, 20, 14, 10)


def test_lesions_are_numbered_by_volume_and_placed_in_the_world() -> None:
    large, small = find_lesions(*block((SMALL, 0.05), (LARGE, 0.7)))
    assert (large.number, large.kind, small.number, small.kind) == (1, "blastic", 2, "lytic")
    assert (large.volume_ml, small.volume_ml) == pytest.approx((1.875, 0.405))
    np.testing.assert_allclose(large.centre_mm, GRID.world([26.5, 24.5, 18.5]))
    assert (large.ash_g_cm3, small.ash_g_cm3) == pytest.approx((0.7, 0.05))
    assert large.healthy_g_cm3 == pytest.approx(HEALTHY_G_CM3)
    assert (large.destroyed, large.sclerotic) == (0.0, 1.0)


def test_halves_of_either_sort_are_mixed() -> None:
    half = (slice(22, 27), *LARGE[1:])
    (lesion,) = find_lesions(*block((LARGE, 0.7), (half, 0.05)))
    assert lesion.kind == "mixed"
    assert (lesion.destroyed, lesion.sclerotic) == pytest.approx((0.5, 0.5), abs=0.01)


@pytest.mark.parametrize(
    ("healthy", "lesion", "kind"),
    [
        (0.45, 0.25, "lytic"),  # denser than many vertebrae, but not than this bone
        (0.45, 0.48, "blastic"),  # neither sort, but denser than most of this bone
        (0.45, 0.40, "lytic"),
        (0.45, 0.52, "blastic"),
        (0.05, 0.33, "blastic"),
        (0.05, 0.06, "lytic"),
    ],
)
def test_dense_and_empty_are_judged_by_the_bone_around(
    healthy: float, lesion: float, kind: str
) -> None:
    labels, ash = block((LARGE, lesion))
    array = np.where(labels.array == 2, healthy, ash.array)
    (found,) = find_lesions(labels, ash.with_array(array))
    assert found.kind == kind
    assert found.healthy_g_cm3 == pytest.approx(healthy)


def test_less_than_the_bone_around_is_destroyed() -> None:
    labels, ash = block((LARGE, 0.25))
    (lesion,) = find_lesions(labels, ash.with_array(np.where(labels.array == 2, 0.45, ash.array)))
    assert (lesion.destroyed, lesion.sclerotic) == (1.0, 0.0)


def test_the_rim_of_a_lesion_does_not_count() -> None:
    inside = tuple(slice(part.start + 1, part.stop - 1) for part in LARGE)
    (lesion,) = find_lesions(*block((LARGE, 0.7), (inside, 0.05)))
    assert (lesion.kind, lesion.destroyed) == ("lytic", 1.0)


def test_boxes_that_touch_at_a_corner_are_one() -> None:
    (lesion,) = find_lesions(*block((box(5, 5, 5), 0.05), (box(13, 13, 13), 0.05)))
    assert lesion.volume_ml == pytest.approx(2 * 8**3 * GRID.voxel_mm3 / 1000)


def test_a_lesion_without_trabecular_bone_around_is_judged_alone() -> None:
    labels, ash = block((LARGE, 0.6))
    region = np.where(labels.array == 2, 1, labels.array)
    (lesion,) = find_lesions(LabelMap(region, GRID, labels.names), ash)
    assert (lesion.healthy_g_cm3, lesion.kind) == (None, "blastic")


def test_a_lesion_smaller_than_its_rim_has_a_core() -> None:
    (lesion,) = find_lesions(*block((box(10, 10, 10, 2), 0.7)))
    assert (lesion.kind, lesion.sclerotic) == ("blastic", 1.0)


def test_no_lesion() -> None:
    labels, ash = block()
    assert find_lesions(labels, ash) == ()
    assert not lesion_map(labels, ()).array.any()
    bare = LabelMap(labels.array, GRID, {1: "cortex", 2: "trabecular"})
    assert find_lesions(bare, ash) == ()
    assert numbers_at(GRID.world([[1, 2, 3]]), lesion_map(bare, ())).tolist() == [0]


def test_the_map_of_numbers_and_the_nearest_lesion() -> None:
    labels, ash = block((SMALL, 0.05), (LARGE, 0.7))
    numbers = lesion_map(labels, find_lesions(labels, ash))
    assert numbers.names == {1: "lesion_1", 2: "lesion_2"}
    assert (numbers.array[LARGE] == 1).all()
    assert (numbers.array[SMALL] == 2).all()
    assert np.count_nonzero(numbers.array) == 10**3 + 6**3
    points = GRID.world([[26.3, 24.2, 18.1], [7.0, 7.0, 7.0], [11.4, 10.0, 10.0], [99.0, 35, 29]])
    assert numbers_at(points, numbers).tolist() == [1, 2, 2, 1]


def test_a_map_needs_the_lesions_of_its_labels() -> None:
    labels, _ = block((SMALL, 0.05), (LARGE, 0.7))
    with pytest.raises(InputError, match="0 lesions given, the labels hold 2"):
        lesion_map(labels, ())


def test_other_densities_and_grids_are_refused() -> None:
    labels, ash = block((LARGE, 0.7))
    with pytest.raises(InputError, match="expected ash density, got hydroxyapatite density"):
        find_lesions(labels, DensityImage(ash.array, GRID, DensityKind.HA))
    with pytest.raises(InputError, match="different grids"):
        find_lesions(labels, ash.crop((1, 0, 0), GRID.shape))


SCANNER = ScannerParameters(spacing_mm=(1.2, 1.2, 2.0), margin_mm=2.0, supersampling=1)


def found_in(made: Phantom) -> Lesion:
    ash = (made.ct.array - made.hu_at_zero) / made.hu_per_g_cm3  # as scanned, with noise and blur
    density = DensityImage(ash.astype(np.float32), made.ct.grid, DensityKind.ASH)
    (lesion,) = find_lesions(made.labels, density)
    return lesion


@pytest.mark.parametrize(
    ("kind", "site"),
    [("lytic", "neck"), ("blastic", "head"), ("mixed", "subtrochanteric"), ("lytic", "shaft")],
)
def test_kinds_in_a_scanned_femur(kind: str, site: str) -> None:
    lesion = LesionParameters(kind=kind, site=site)
    made = femur_phantom(FemurParameters(shaft_length_mm=60), lesion, scanner=SCANNER, seed=2)
    found = found_in(made)
    assert found.kind == kind
    assert found.volume_ml == pytest.approx(made.truth["lesion_volume_mm3"] / 1000, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "site"),
    [("mixed", "body"), ("blastic", "superior_endplate"), ("lytic", "left_pedicle")],
)
def test_kinds_in_a_scanned_vertebra(kind: str, site: str) -> None:
    made = vertebra_phantom(
        VertebraParameters(), LesionParameters(kind=kind, site=site), scanner=SCANNER, seed=3
    )
    assert found_in(made).kind == kind
