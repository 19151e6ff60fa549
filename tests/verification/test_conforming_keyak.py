"""The law of Keyak et al. 2005 in the conforming engine: what breaking a column costs.

The column of test_keyak_energy.py, of bricks and of tetrahedra, in simple shear: its lowest layer
is weaker by a fiftieth and alone breaks. Steps end at the corners of the curve, between which force
and displacement are linear, so that the work of the steps is exact.
"""

from collections.abc import Callable

import numpy as np
import pytest

from bonekit.fem.catalogue import LAWS
from bonekit.fem.conforming_plastic import NonlinearSolution, solve_conforming_nonlinear
from bonekit.fem.conforming_problem import mesh_axes_mm
from bonekit.fem.interpreters import find_interpreters
from bonekit.fem.keyak_law import keyak_law
from bonekit.fem.model import Constraint, Mesh, Model
from bonekit.image.volume import Grid
from bonekit.meshing.tetmesh import TetMesh
from bonekit.meshing.voxel import VoxelMesh

pytestmark = pytest.mark.skipif(not find_interpreters(), reason="no interpreter has dolfinx")

KEYAK = LAWS["keyak_2005"]
HIGH_MM = 6.0


def column(kind: str, edge_mm: float, block: Callable[..., TetMesh]) -> Mesh:
    n = round(HIGH_MM / edge_mm)
    if kind == "bricks":
        return VoxelMesh(np.ones((1, 1, n), np.uint8), Grid.of((1, 1, n), edge_mm), {1: "bar"})
    made = block((1, 1, n), lambda t: t * [edge_mm, edge_mm, HIGH_MM])
    if kind == "ten nodes":
        return made
    used, number = np.unique(made.elements[:, :4], return_inverse=True)
    return TetMesh(made.nodes_mm[used], number.reshape(-1, 4), made.region)


def lowest(mesh: Mesh, edge_mm: float) -> np.ndarray:
    return np.asarray(mesh_axes_mm(mesh)[mesh.elements, 2].mean(axis=1) < edge_mm)


def curve(region: str, rho: float, rest: float, edge_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners: displacement over the root of 3 in mm, von Mises' stress in MPa.

    The energy over the section is that of the specimen and knows no element: plateau
    ``S eps L``, softening ``(S^2 - s^2) (1 / |Ep| + 1 / E) L / 2``, then s.
    """
    after = KEYAK.after_yield("cortical" if region == "cortical" else "trabecular")
    weak, L = np.array([rho]), after.specimen_mm
    assert KEYAK.strength is not None
    S, s = KEYAK.strength(weak)[0], after.minimum_stress(weak)[0]
    E, other = KEYAK.modulus(np.array([rho, rest]))
    flow = after.plateau(weak)[0] * L
    soften = (S - s) * (1 / -after.softening(weak)[0] + 1 / E) * L
    elastic = 2.6 / 3 * (edge_mm / E + (HIGH_MM - edge_mm) / other)
    moved = np.cumsum([0.0, elastic * S, flow, soften - elastic * (S - s), 1.0])
    return moved, np.array([0.0, S, S, s, s])


def broken(
    mesh: Mesh, region: str, edge_mm: float
) -> tuple[NonlinearSolution, np.ndarray, np.ndarray, float]:
    """Solution; factors and work at the corners; energy to be dissipated, over the section."""
    rho = 0.4 if region == "trabecular" else 1.1
    density = np.where(lowest(mesh, edge_mm), 0.98 * rho, rho)
    E = KEYAK.modulus(density)
    law = keyak_law(KEYAK, density, E, np.full(mesh.n_elements, region == "cortical"), edge_mm)
    moved, stress = curve(region, 0.98 * rho, rho, edge_mm)
    z, every = mesh_axes_mm(mesh)[:, 2], np.arange(mesh.n_nodes)
    held = (
        Constraint("rails", every, (1, 2)),
        Constraint("bottom", every[np.isclose(z, 0)], (0,)),
        Constraint("top", every[np.isclose(z, HIGH_MM)], (0,), moved[-1] * np.sqrt(3)),
    )
    corners = moved[1:] / moved[-1]
    # just past yield, where the rest is elastic: a step from the corner itself would break it too
    steps = np.insert(corners, 1, 1.01 * corners[0])
    s = solve_conforming_nonlinear(Model(mesh, E, 0.3, held), law, steps, 1e-9)
    work = np.cumsum(np.diff(moved) * (stress[1:] + stress[:-1]) / 2)
    left = stress[-1] ** 2 * moved[1] / stress[1] / 2  # elastic, at the end
    return s, corners, work, float(work[-1] - left)


@pytest.mark.parametrize("region", ["trabecular", "cortical"])
@pytest.mark.parametrize("edge_mm", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["bricks", "four nodes"])
def test_energy_over_the_section_is_that_of_the_specimen(
    kind: str, edge_mm: float, region: str, block: Callable[..., TetMesh]
) -> None:
    mesh = column(kind, edge_mm, block)
    s, corners, work, dissipated = broken(mesh, region, edge_mm)
    np.testing.assert_array_equal((s.history[..., 0] > 1e-9).any(axis=1), lowest(mesh, edge_mm))
    np.testing.assert_allclose(
        np.interp(corners, s.factors, s.work_Nmm), work * edge_mm**2, rtol=1e-6
    )
    assert s.dissipated_Nmm / edge_mm**2 == pytest.approx(dissipated, rel=1e-6)
    assert s.energy_balance < 1e-9


def test_elements_of_ten_nodes_break_in_a_part_of_their_height(
    block: Callable[..., TetMesh],
) -> None:
    """Their strain varies within: plateau and softening, stretched for the edge, cost less."""
    s, _, _, dissipated = broken(column("ten nodes", 1.0, block), "trabecular", 1.0)
    assert 0.8 * dissipated < s.dissipated_Nmm < 0.99 * dissipated
