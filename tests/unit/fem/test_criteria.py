"""Failure criteria on strain fields that are known element by element."""

from dataclasses import replace

import numpy as np
import pytest

from bonekit.errors import InputError
from bonekit.fem.criteria import CRITERIA, contiguous_volume, pistoia, strain_fold, strain_volume
from bonekit.fem.loadcases import LoadCase
from bonekit.fem.model import Constraint, Load, Model, Solution
from bonekit.fem.solve import solve
from bonekit.image.volume import Grid
from bonekit.meshing.voxel import VoxelMesh

E_MPA, LENGTH, SIDE = 1000.0, 60, 12
AREA = float(SIDE**2)


@pytest.fixture(scope="module")
def pressed() -> tuple[Model, Solution, LoadCase]:
    """Bar of 12 x 12 x 60 bricks of 1 mm under 700 N: no lateral strain, -0.486 % along it."""
    shape = (SIDE, SIDE, LENGTH)
    mesh = VoxelMesh(np.ones(shape, dtype=np.uint8), Grid.of(shape, 1.0), {1: "bone"})
    top = np.flatnonzero(mesh.node_ijk[:, 2] == LENGTH)
    edge = (mesh.node_ijk[top, :2] == 0) | (mesh.node_ijk[top, :2] == SIDE)
    force = np.zeros((len(top), 3))
    share = np.where(edge, 0.5, 1.0).prod(axis=1)
    force[:, 2] = -700.0 * share / share.sum()
    held = Constraint("bottom", np.flatnonzero(mesh.node_ijk[:, 2] == 0))
    load = LoadCase(
        "bar",
        "",
        "",
        {},
        "top",
        "bottom",
        np.array([0, 0, -1.0]),
        (held,),
        (Load("top", top, force),),
    )
    model = load.model(mesh, np.full(mesh.n_elements, E_MPA), 0.0)
    return model, solve(model, rtol=1e-12), load


def strained(pressed: tuple, where: np.ndarray, factor: float) -> tuple[Model, Solution, LoadCase]:
    """Multiply the strain of some elements."""
    model, solution, load = pressed
    strain = solution.strain.copy()
    strain[where] *= factor
    return model, replace(solution, strain=strain), load


def middle(model: Model, n: int) -> np.ndarray:
    """Numbers of n elements in a row in the bar's middle."""
    ijk = model.mesh.element_ijk
    row = np.flatnonzero((ijk[:, 0] == 5) & (ijk[:, 2] == 30))
    return row[:n]


YIELD = 0.0104 * E_MPA * AREA


@pytest.mark.parametrize(
    "name", ["first_yield", "schileo", "volume_in_compression", "contiguous_volume", "strain_limit"]
)
def test_even_compression_meets_every_strain_criterion_at_once(pressed: tuple, name: str) -> None:
    made = CRITERIA[name](*pressed)
    assert made.name == name
    assert made.strength_N == pytest.approx(YIELD, rel=1e-8)
    assert made.stiffness_N_mm == pytest.approx(E_MPA * AREA / LENGTH, rel=1e-8)
    np.testing.assert_allclose(made.utilisation, 1.0, rtol=1e-7)


def test_first_element_and_first_surface_element_are_told_apart(pressed: tuple) -> None:
    model = pressed[0]
    inner = middle(model, 12)[5:6]
    made = strained(pressed, inner, 2.0)
    assert CRITERIA["first_yield"](*made).strength_N == pytest.approx(YIELD / 2, rel=1e-8)
    assert CRITERIA["schileo"](*made).strength_N == pytest.approx(YIELD, rel=1e-8)


def test_tension_and_compression_are_counted_apart(pressed: tuple) -> None:
    model = pressed[0]
    some = np.random.default_rng(0).permutation(model.mesh.n_elements)[: model.mesh.n_elements // 5]
    made = strained(pressed, some, -3.0)  # a fifth is pulled three times as much
    pulled = strain_volume(*made, side="tension").strength_N
    assert pulled == pytest.approx(0.0073 / 3 * E_MPA * AREA, rel=1e-8)
    assert strain_volume(*made, side="compression").strength_N == pytest.approx(YIELD, rel=1e-8)
    assert strain_volume(*made, side="tension", share=0.5).strength_N > 1e6  # nothing is pulled


def test_only_a_connected_volume_counts(pressed: tuple) -> None:
    model = pressed[0]
    row = middle(model, 12)
    together = strained(pressed, row[:8], 2.0)
    apart = strained(pressed, row[::2], 2.0)
    for case, factor in ((together, 0.5), (apart, 1.0)):
        made = contiguous_volume(*case, volume_mm3=6.0).strength_N
        assert made == pytest.approx(factor * YIELD, rel=1e-8)
    with pytest.raises(InputError, match="no connected piece of 1e\\+06 mm3"):
        contiguous_volume(*together, volume_mm3=1e6)


def test_pistoia_of_an_even_bar_and_its_percentile(pressed: tuple) -> None:
    model, solution, load = pressed
    expected = 0.007 * E_MPA * AREA
    for name in ("pistoia", "pistoia_mean_energy"):
        assert CRITERIA[name](*pressed).strength_N == pytest.approx(expected, rel=1e-7)
    assert [CRITERIA[n](*pressed).name for n in CRITERIA if "pistoia" in n] == [
        n for n in CRITERIA if "pistoia" in n
    ]
    ogo = CRITERIA["pistoia_ogo"](*pressed).strength_N
    assert ogo == pytest.approx(expected * 0.011 / 0.007, rel=1e-7)
    n = model.mesh.n_elements
    for many, factor in ((int(0.021 * n), 0.5), (int(0.019 * n), 1.0)):
        sed = solution.sed_MPa.copy()
        sed[:many] *= 4.0
        made = pistoia(model, replace(solution, sed_MPa=sed), load).strength_N
        assert made == pytest.approx(factor * expected, rel=1e-7)


def test_bending_energy_is_more_over_the_element_than_at_its_centroid() -> None:
    """One brick deep in bending: the centroid is not strained at all."""
    mesh = VoxelMesh(np.ones((10, 10, 10), dtype=np.uint8), Grid.of((10, 10, 10), 1.0), {1: "bone"})
    x, _, z = (mesh.nodes_mm - 4.5).T
    u = np.zeros((mesh.n_nodes, 3))
    u[:, 0] = 1e-3 * x * z
    solution_u = u
    held = Constraint("bottom", np.flatnonzero(mesh.node_ijk[:, 2] == 0))
    model = Model(mesh, np.full(mesh.n_elements, E_MPA), 0.0, (held,))
    from bonekit.fem.criteria import mean_energy_density

    class Moved:
        displacement_mm = solution_u

    mean = mean_energy_density(model, Moved())  # type: ignore[arg-type]
    ex, gxz = 1e-3 * mesh.centres_mm[:, 2] - 4.5e-3, 1e-3 * (mesh.centres_mm[:, 0] - 4.5)
    exact = 0.5 * E_MPA * (ex**2 + 1e-6 / 12) + 0.25 * E_MPA * (gxz**2 + 1e-6 / 12)
    np.testing.assert_allclose(mean, exact, rtol=1e-9)


def test_post_yield_and_height_are_not_asked_of_what_cannot_answer(pressed: tuple) -> None:
    with pytest.raises(
        InputError, match="stiffness_at_strain is for the compression of a vertebra, not for bar"
    ):
        CRITERIA["stiffness_at_strain"](*pressed)


def test_strain_fold_is_the_ratio_of_percentiles() -> None:
    intact = np.linspace(0.0, 1.0, 1001)
    assert strain_fold(1.6 * intact, intact) == pytest.approx(1.6)
    assert strain_fold(np.where(intact > 0.995, 9.0, intact), intact) == pytest.approx(1.0)
