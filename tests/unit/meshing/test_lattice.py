import numpy as np
import pytest

from bonekit.image.volume import Grid
from bonekit.meshing.distance import distance_field
from bonekit.meshing.elements import scaled_jacobian
from bonekit.meshing.lattice import LONGEST, lattice, refine, volumes
from bonekit.meshing.levelset import (
    boundary,
    crowded_edges,
    faces,
    level,
    manifold,
    pinched_nodes,
    snapped,
    split,
)

Mesh = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def block() -> Mesh:
    mask = np.ones((6, 6, 6), dtype=bool)
    return lattice(distance_field(mask, Grid.of(mask.shape, 1.0), 2.0), 3.0)


def test_refined_lattices_conform_and_follow_the_size(block: Mesh) -> None:
    def size(x: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.linalg.norm(x, axis=1)

    nodes, tetrahedra = refine(*block, size)
    each = volumes(nodes, tetrahedra)
    assert each.min() > 0
    assert each.sum() == pytest.approx(volumes(*block).sum())
    assert (
        np.unique(np.sort(faces(tetrahedra)[0], axis=1), axis=0).shape == faces(tetrahedra)[0].shape
    )
    assert scaled_jacobian(nodes, tetrahedra).min() > 0.5
    x = nodes[tetrahedra]
    longest = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1).max(axis=(1, 2))
    assert (longest <= LONGEST * size(x.mean(axis=1)) + 1e-9).all()
    assert len(tetrahedra) > 2 * len(block[1])
    # No node hangs on a face or an edge inside: the boundary is still that of the block.
    assert _hull_mm2(nodes, tetrahedra) == pytest.approx(_hull_mm2(*block))


def _hull_mm2(nodes: np.ndarray, tetrahedra: np.ndarray) -> float:
    corners, of = faces(tetrahedra)
    a, b, c = np.moveaxis(nodes[corners[of[:, 1] < 0]], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_a_cut_keeps_the_volume_and_divides_neighbours_alike(block: Mesh) -> None:
    nodes, tetrahedra = block
    reference = np.where(nodes[tetrahedra].mean(axis=1)[:, 0] > 2.5, 7, 1)
    values = np.linalg.norm(nodes - (2.4, 2.3, 2.6), axis=1) - 2.2
    cut = split((nodes, tetrahedra, reference), values, 1, 5)
    each = volumes(cut[0], cut[1])
    assert each.min() > 0
    assert each.sum() == pytest.approx(volumes(nodes, tetrahedra).sum())
    assert each[cut[2] == 7].sum() == pytest.approx(
        volumes(nodes, tetrahedra)[reference == 7].sum()
    )
    corners, of = faces(cut[1])
    between = (of[:, 1] >= 0) & (np.sort(cut[2][of], axis=1) == (1, 5)).all(axis=1)
    radius = np.linalg.norm(cut[0][corners[between]] - (2.4, 2.3, 2.6), axis=-1)
    assert between.sum() > 10
    assert radius.max() < 2.3


def test_snapping_takes_cuts_to_the_nodes_beside_them(block: Mesh) -> None:
    nodes, tetrahedra = block
    parts = (nodes, tetrahedra, np.ones(len(tetrahedra), dtype=int))
    values = nodes[:, 0] - np.unique(nodes[:, 0])[1] - 0.1
    out = snapped(parts, values, 1)
    assert (out[values == -0.1] == 0).mean() > 0.9
    np.testing.assert_array_equal(out[np.abs(values) > 1], values[np.abs(values) > 1])


def test_level_gives_the_volume_to_a_linear_field() -> None:
    """Below x = t the unit tetrahedron has the volume (1 - (1 - t)^3) / 6."""
    nodes = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    tetrahedra = np.array([[0, 1, 2, 3]])
    for values in (nodes[:, 0], nodes @ (1.0, 2.0, 3.0)):
        half = level(nodes, tetrahedra, values, 0.5 / 6, 3.0)
        points = np.random.default_rng(0).dirichlet(np.ones(4), 200_000) @ values
        assert np.mean(points < half) == pytest.approx(0.5, abs=0.005)


def test_a_node_between_two_fans_is_filled(block: Mesh) -> None:
    nodes, tetrahedra = block
    centre = nodes[tetrahedra].mean(axis=1)
    middle = np.unique(nodes[:, 0])[2]
    corner = np.isin((centre > middle).sum(axis=1), (0, 3))  # two cubes that meet in a node
    assert not len(crowded_edges(boundary(tetrahedra[corner])))
    (node,) = pinched_nodes(boundary(tetrahedra[corner]))
    np.testing.assert_allclose(nodes[node], middle)
    parts = manifold((nodes, tetrahedra, np.where(corner, 1, 9)), 9, 1)
    assert not len(pinched_nodes(boundary(tetrahedra[parts[2] == 1])))
    assert not len(crowded_edges(boundary(tetrahedra[parts[2] == 1])))
    assert (parts[2][corner] == 1).all()


def test_an_edge_with_four_outer_faces_is_filled(block: Mesh) -> None:
    nodes, tetrahedra = block
    centre = nodes[tetrahedra].mean(axis=1)
    middle = np.unique(nodes[:, 0])[1]
    right = (centre[:, 0] > middle) == (centre[:, 1] > middle)
    assert len(crowded_edges(boundary(tetrahedra[right])))
    parts = manifold((nodes, tetrahedra, np.where(right, 1, 9)), 9, 1)
    assert not len(crowded_edges(boundary(tetrahedra[parts[2] == 1])))
    assert (parts[2][right] == 1).all()
    assert 0 < (parts[2][~right] == 1).mean() < 0.9


def test_faces_are_paired_alike_whatever_the_numbers_of_the_nodes(block: Mesh) -> None:
    _, tetrahedra = block
    corners, of = faces(tetrahedra)
    far, same = faces(tetrahedra * 3_000_000)  # too large for one number to tell a face
    np.testing.assert_array_equal(far, corners * 3_000_000)
    np.testing.assert_array_equal(same, of)
    outer = np.count_nonzero(of[:, 1] < 0)
    assert outer + 2 * (len(of) - outer) == 4 * len(tetrahedra)
