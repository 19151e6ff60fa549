"""Which law each element gets, and what becomes of its lesions."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.density import DensityImage, DensityKind
from bonekit.errors import InputError
from bonekit.fem.laws import fixed_modulus
from bonekit.fem.mapping import element_modulus
from bonekit.fem.materials import LAWS
from bonekit.fem.model import Constraint, Model
from bonekit.fem.solve import solve
from bonekit.fem.tissue import (
    VOID,
    LesionPolicy,
    Tissue,
    assign,
    of_density,
    of_image,
    partition,
)
from bonekit.image.volume import Grid
from bonekit.lesions import Lesion
from bonekit.meshing.voxel import VoxelMesh
from bonekit.segmentation.base import REGIONS

KEYAK, KELLER, NECK = (
    LAWS[name] for name in ("keyak_2005", "keller_1994", "morgan_2003_femoral_neck")
)
REGION = np.array([2, 1, 3, 3, 2, 1, 3, 3, 3])
NUMBER = np.array([0, 0, 1, 2, 0, 0, 1, 3, 2])
ASH = np.array([0.3, 1.1, 0.05, 0.7, 0.001, 1.5, 0.04, 0.4, 0.6])


def lesion(number: int, kind: str) -> Lesion:
    return Lesion(number, kind, 1.0, (0.0, 0.0, 0.0), 0.1, 0.2, 0.0, 0.0)  # type: ignore[arg-type]


LESIONS = (lesion(1, "lytic"), lesion(2, "blastic"), lesion(3, "mixed"))


def made(tissue: Tissue):
    parts = partition(tissue, REGION, REGIONS, LESIONS, NUMBER)
    return assign(parts, of_density(ASH, DensityKind.ASH))


def test_by_default_one_law_holds_everywhere() -> None:
    done = made(Tissue(KEYAK))
    np.testing.assert_array_equal(done.elastic.E_MPa, KEYAK.modulus(ASH))
    assert (done.elastic.n_floor, done.elastic.n_ceiling) == (1, 1)
    assert [(c.name, c.treatment, c.n_elements) for c in done.counts] == [
        ("cortex", "density", 2),
        ("trabecular", "density", 2),
        ("lesion 1 (lytic)", "density", 2),
        ("lesion 2 (blastic)", "density", 2),
        ("lesion 3 (mixed)", "density", 1),
    ]
    assert done.part.tolist() == [1, 0, 2, 3, 1, 0, 2, 4, 3]


def test_a_law_for_each_region_at_its_own_density() -> None:
    done = made(Tissue(KEYAK, regions={"trabecular": NECK}))
    expected = KEYAK.modulus(ASH)
    expected[[0, 4]] = NECK.modulus(ASH[[0, 4]] / 0.6)
    np.testing.assert_allclose(done.elastic.E_MPa, expected)
    by_name = {count.name: count for count in done.counts}
    cortex, trabecular = by_name["cortex"], by_name["trabecular"]
    assert (cortex.law, cortex.n_floor, cortex.n_ceiling, cortex.n_extrapolated) == (
        *("keyak_2005", 0, 1),
        None,
    )
    assert (trabecular.law, trabecular.n_floor, trabecular.n_extrapolated) == (NECK.name, 1, 1)
    assert done.elastic.n_extrapolated == 1  # of those laws whose range is known


def test_the_most_specific_treatment_holds() -> None:
    policy = LesionPolicy(
        default=VOID,
        by_kind={"lytic": KELLER, "blastic": fixed_modulus(500.0)},
        by_number={2: "density"},
    )
    done = made(Tissue(KEYAK, lesions=policy))
    E = done.elastic.E_MPa
    np.testing.assert_array_equal(E[NUMBER == 1], KELLER.modulus(ASH[NUMBER == 1]))
    np.testing.assert_array_equal(E[NUMBER == 2], KEYAK.modulus(ASH[NUMBER == 2]))
    assert E[NUMBER == 3].tolist() == [0.1]
    assert [(c.law, c.treatment) for c in done.counts[2:]] == [
        ("keller_1994", "law"),
        ("keyak_2005", "density"),
        ("void", "void"),
    ]
    fixed = made(Tissue(KEYAK, lesions=replace(policy, by_number={})))
    assert fixed.elastic.E_MPa[NUMBER == 2].tolist() == [500.0, 500.0]
    assert (fixed.counts[3].law, fixed.counts[3].treatment) == ("fixed_500_MPa", "fixed")


def test_the_law_of_other_regions_is_not_that_of_lesions() -> None:
    done = made(Tissue(KELLER, regions={"cortex": KEYAK, "trabecular": KEYAK}))
    np.testing.assert_array_equal(done.elastic.E_MPa[NUMBER > 0], KELLER.modulus(ASH[NUMBER > 0]))


def test_every_element_is_in_one_part() -> None:
    parts = partition(Tissue(KEYAK), REGION, REGIONS, LESIONS, NUMBER)
    together = np.concatenate([part.elements for part in parts])
    assert sorted(together.tolist()) == list(range(len(REGION)))


def test_lesions_without_numbers_follow_the_default() -> None:
    parts = partition(Tissue(KEYAK, lesions=LesionPolicy(VOID)), REGION, REGIONS)
    assert [(part.name, part.law.name, len(part.elements)) for part in parts] == [
        ("cortex", "keyak_2005", 2),
        ("trabecular", "keyak_2005", 2),
        ("lesion", "void", 5),
    ]
    with pytest.raises(InputError, match="5 elements of lesions are not numbered"):
        partition(Tissue(KEYAK, lesions=LesionPolicy(by_kind={"lytic": VOID})), REGION, REGIONS)


@pytest.mark.parametrize(
    ("tissue", "message"),
    [
        (Tissue(KEYAK, regions={"cortical": KELLER}), "given for cortical; regions .* cortex, tra"),
        (Tissue(KEYAK, lesions=LesionPolicy(by_number={4: VOID})), "lesion 4; found: 1, 2, 3"),
    ],
)
def test_what_does_not_exist_is_refused(tissue: Tissue, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(tissue)


def test_elements_without_a_name_or_a_lesion_are_refused() -> None:
    with pytest.raises(InputError, match=r"elements of region \[7\] have no name"):
        partition(Tissue(KEYAK), np.array([1, 7]), REGIONS)
    with pytest.raises(InputError, match=r"elements belong to lesion \[3\], which is not listed"):
        partition(Tissue(KEYAK), REGION, REGIONS, LESIONS[:2], NUMBER)
    with pytest.raises(InputError, match="not as that of a region"):
        Tissue(KEYAK, regions={"lesion": KELLER})


GRID = Grid.of((6, 6, 6), 2.0, (3.0, -4.0, 50.0))


def mesh() -> VoxelMesh:
    region = np.full(GRID.shape, 2, np.uint8)
    region[0], region[2:4, 2:4, 2:4], region[:, 0, 0] = 1, 3, 0
    return VoxelMesh(region, GRID, {1: "cortex", 2: "trabecular", 3: "lesion"})


def density() -> DensityImage:
    fine = Grid.of((20, 20, 20), 1.0, GRID.origin_mm - 4.0)
    i, j, k = np.indices(fine.shape)
    return DensityImage(0.1 + 0.01 * i + 0.02 * j + 0.001 * k**2, fine, DensityKind.ASH)


@pytest.mark.parametrize("how", ["modulus", "density", "centroid"])
@pytest.mark.parametrize("pair", [False, True])
def test_moduli_of_parts_are_those_of_the_whole(how: str, pair: bool) -> None:
    bricks, image = mesh(), density()
    asked = (bricks.nodes_mm, bricks.world_elements) if pair else bricks
    tissue = Tissue(KEYAK, regions={"cortex": KELLER})
    parts = partition(tissue, bricks.element_region, bricks.names)
    done = assign(parts, of_image(image, asked, how)).elastic  # type: ignore[arg-type]
    keyak, keller = (
        element_modulus(image, bricks, law, how=how)  # type: ignore[arg-type]
        for law in (KEYAK, KELLER)
    )
    cortex = bricks.element_region == 1
    np.testing.assert_allclose(done.E_MPa, np.where(cortex, keller.E_MPa, keyak.E_MPa), rtol=1e-12)
    assert done.mapping == how


def stiffness(cavity_E_MPa: float | None) -> float:
    """Force to press a block with a ball of another modulus in its middle."""
    n = 12
    grid = Grid.of((n, n, n), 2.0)
    ball = np.linalg.norm(grid.points() - grid.world([(n - 1) / 2] * 3), axis=-1) < 7
    region = np.full(grid.shape, 2, np.uint8)
    if cavity_E_MPa is None:
        region[ball] = 0
    bricks = VoxelMesh(region, grid, {2: "trabecular"})
    E = np.where(ball, cavity_E_MPa or 0.0, 400.0)[bricks.mask]
    layer = bricks.node_ijk[:, 2]
    low, high = np.flatnonzero(layer == 0), np.flatnonzero(layer == n)
    held = (Constraint("low", low), Constraint("high", high, (2,), -0.1))
    solution = solve(Model(bricks, E, 0.3, held), 1e-9)
    return float(abs(solution.reaction_N["low"][2]))


def test_a_void_is_as_soft_as_a_hole() -> None:
    hole = stiffness(None)
    assert stiffness(float(VOID.modulus(np.zeros(1))[0])) == pytest.approx(hole, rel=3e-4)
    assert stiffness(40.0) > 1.005 * hole
