from pathlib import Path

import meshio
import numpy as np
import pytest
import pyvista as pv

from bonekit.errors import InputError
from bonekit.image.volume import Grid
from bonekit.meshing.interchange import read_mesh, write_mesh
from bonekit.meshing.quadratic import quadratic
from bonekit.meshing.tetra import TetMesh
from bonekit.meshing.voxel import VoxelMesh

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
NAMES = {1: "cortex", 3: "lesion"}


def voxels(direction: np.ndarray) -> VoxelMesh:
    region = np.random.default_rng(2).choice(np.array([0, 1, 3], dtype=np.uint8), (4, 3, 5))
    return VoxelMesh(region, Grid.of(region.shape, 1.5, (5, 6, 7), direction), NAMES)


def tetrahedra() -> TetMesh:
    nodes = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]) + 0.1
    elements = np.array([[0, 1, 2, 3], [1, 2, 3, 4]])
    return TetMesh(nodes, elements, np.array([3, 1], dtype=np.uint8), NAMES)


@pytest.mark.parametrize("direction", [TURN, np.diag([-1.0, 1.0, 1.0])], ids=["turned", "mirror"])
def test_voxels_come_back_from_vtu(tmp_path: Path, direction: np.ndarray) -> None:
    mesh, path = voxels(direction), tmp_path / "mesh.vtu"
    E, u = np.arange(mesh.n_elements) * 1.1, mesh.nodes_mm * 2
    write_mesh(mesh, path, {"E_MPa": E}, {"u_mm": u})
    back, cells, points = read_mesh(path)
    assert isinstance(back, VoxelMesh)
    np.testing.assert_array_equal(back.region, mesh.region)
    np.testing.assert_array_equal(back.grid.affine, mesh.grid.affine)
    np.testing.assert_array_equal(cells["E_MPa"], E)
    np.testing.assert_array_equal(points["u_mm"], u)
    assert back.names == NAMES
    assert list(tmp_path.iterdir()) == [path]


def test_cells_have_positive_volume_in_the_world(tmp_path: Path) -> None:
    for number, mesh in enumerate([voxels(TURN), voxels(np.diag([-1.0, 1.0, 1.0])), tetrahedra()]):
        write_mesh(mesh, tmp_path / f"{number}.vtu")
        grid = pv.read(tmp_path / f"{number}.vtu")
        assert grid.compute_cell_sizes()["Volume"].min() > 0
        np.testing.assert_allclose(grid.points, mesh.nodes_mm, atol=1e-12)


def test_tetrahedra_come_back_from_vtu(tmp_path: Path) -> None:
    mesh = tetrahedra()
    write_mesh(mesh, tmp_path / "mesh.vtu", {"E_MPa": np.array([1.0, 2.0])})
    back, cells, _ = read_mesh(tmp_path / "mesh.vtu")
    assert isinstance(back, TetMesh)
    np.testing.assert_array_equal(back.tetrahedra, mesh.tetrahedra)
    np.testing.assert_array_equal(back.region, mesh.region)
    np.testing.assert_array_equal(cells["E_MPa"], [1.0, 2.0])


@pytest.mark.parametrize("suffix", [".msh", ".med", ".xdmf"])
def test_meshio_reads_what_it_wrote(tmp_path: Path, suffix: str) -> None:
    if suffix != ".msh":
        pytest.importorskip("h5py")
    mesh = voxels(TURN)
    E = np.arange(mesh.n_elements) * 1.1
    write_mesh(mesh, tmp_path / f"mesh{suffix}", {"E_MPa": E})
    back = meshio.read(tmp_path / f"mesh{suffix}")
    np.testing.assert_allclose(back.points, mesh.nodes_mm, atol=1e-9)
    order = [0, 3, 2, 1, 4, 7, 6, 5] if suffix == ".med" else list(range(8))  # MED's own
    np.testing.assert_array_equal(back.cells[0].data, mesh.elements[:, order])
    np.testing.assert_allclose(back.cell_data["E_MPa"][0].ravel(), E)
    if suffix == ".msh":
        np.testing.assert_array_equal(back.cell_data["gmsh:physical"][0], mesh.element_region)
        assert back.field_data["lesion"].tolist() == [3, 3]


def test_bad_input_is_refused(tmp_path: Path) -> None:
    mesh = tetrahedra()
    with pytest.raises(InputError, match=r"mesh\.stl.*\.vtu"):
        write_mesh(mesh, tmp_path / "mesh.stl")
    with pytest.raises(InputError, match=r"'E'.*2 elements"):
        write_mesh(mesh, tmp_path / "mesh.vtu", {"E": np.zeros(5)})
    with pytest.raises(InputError, match="not found"):
        read_mesh(tmp_path / "absent.vtu")
    pv.UnstructuredGrid({pv.CellType.TETRA: mesh.tetrahedra}, mesh.nodes_mm).save(
        tmp_path / "foreign.vtu"
    )
    with pytest.raises(InputError, match="no cell field 'region'"):
        read_mesh(tmp_path / "foreign.vtu")
    assert [p.name for p in tmp_path.iterdir()] == ["foreign.vtu"]


def test_curved_tetrahedra_come_back_from_vtu(tmp_path: Path) -> None:
    straight = tetrahedra()
    made = quadratic(straight.nodes_mm, straight.tetrahedra)
    curved = TetMesh(made.nodes_mm, made.tetrahedra, straight.region, NAMES)
    write_mesh(curved, tmp_path / "mesh.vtu", {"E_MPa": np.array([1.0, 2.0])})
    back, cells, _ = read_mesh(tmp_path / "mesh.vtu")
    assert isinstance(back, TetMesh)
    np.testing.assert_array_equal(back.tetrahedra, curved.tetrahedra)
    np.testing.assert_allclose(back.nodes_mm, curved.nodes_mm)
    np.testing.assert_allclose(back.volumes_mm3, straight.volumes_mm3)
    np.testing.assert_allclose(cells["E_MPa"], [1.0, 2.0])
