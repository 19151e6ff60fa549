"""Nodes brought onto shapes, elements spoilt and mended, limits enforced."""

import numpy as np
import pytest

from bonekit.errors import MeshQualityError
from bonekit.image.volume import Grid
from bonekit.meshing import mend
from bonekit.meshing.conforming import check_parts
from bonekit.meshing.distance import DistanceField, distance_field
from bonekit.meshing.elements import ROOM, fitness
from bonekit.meshing.lattice import Parts, lattice, volumes
from bonekit.meshing.levelset import boundary, crowded_edges, interfaces, on_surfaces, split
from bonekit.meshing.mend import Stars, mended
from bonekit.meshing.move import Fit, fitted, moved, projected
from bonekit.meshing.shapes import Shape, body_shape
from bonekit.meshing.untangle import crossing, unpinched, untangled

POINTS = np.stack(np.meshgrid(*[np.arange(31.0)] * 3, indexing="ij"), axis=-1)
BALL = np.linalg.norm(POINTS - 15, axis=-1) < 10


@pytest.fixture(scope="module")
def ball() -> Shape:
    return body_shape(BALL, Grid.of(BALL.shape, 1.0), 6.0, 1.0)


@pytest.fixture(scope="module")
def block() -> Parts:
    mask = np.ones((12, 12, 12), dtype=bool)
    nodes, tetrahedra = lattice(distance_field(mask, Grid.of(mask.shape, 1.0), 2.0), 3.0)
    return nodes, tetrahedra, np.ones(len(tetrahedra), dtype=int)


def flattened(nodes: np.ndarray, tetrahedra: np.ndarray) -> np.ndarray:
    """Nodes of which one in the middle is almost on the opposite face of an element."""
    out = nodes.copy()
    row = tetrahedra[np.linalg.norm(nodes[tetrahedra].mean(axis=1) - 5.5, axis=1).argmin()]
    out[row[0]] += 0.97 * (nodes[row[1:]].mean(axis=0) - nodes[row[0]])
    return out


def test_points_go_to_the_nearest_place_of_a_surface(ball: Shape) -> None:
    way = np.random.default_rng(0).normal(size=(200, 3))
    way /= np.linalg.norm(way, axis=1)[:, None]
    on = np.ones((200, 1), dtype=bool)
    out = projected(15 + 9.2 * way, on, [ball], 2.0)
    assert np.abs(ball.at(out)).max() < 0.02
    assert np.abs(np.linalg.norm(out - 15, axis=1) - 10).max() < 0.55  # smoothing: half a voxel
    assert (np.einsum("ij,ij->i", out - 15, way) > 9.5).all()
    np.testing.assert_array_equal(projected(15 + way, ~on, [ball], 2.0), 15 + way)
    assert (
        np.linalg.norm(projected(15 + 5 * way, on, [ball], 1.0) - 15 - 5 * way, axis=1).max()
        < 1.001
    )


def test_moves_stop_before_elements_are_spoilt(block: Parts) -> None:
    nodes, tetrahedra, _ = block
    target = nodes + np.random.default_rng(1).normal(0, 1.5, nodes.shape)
    assert volumes(target, tetrahedra).min() < 0
    out = moved(nodes, tetrahedra, target)
    assert fitness(out, tetrahedra).min() >= min(1, fitness(nodes, tetrahedra).min()) - 1e-6
    assert np.linalg.norm(out - nodes, axis=1).mean() > 0.3


def test_bad_elements_are_mended_in_place(block: Parts, ball: Shape) -> None:
    nodes, tetrahedra, reference = block
    nodes = flattened(nodes, tetrahedra)
    before = fitness(nodes, tetrahedra)
    assert before.min() < 1 / ROOM
    out = mended((nodes, tetrahedra, reference), [ball], 1.0)
    assert fitness(out[0], tetrahedra).min() > 1 / ROOM
    np.testing.assert_array_equal(out[1], tetrahedra)
    again = mended((nodes, tetrahedra, reference), [ball], 1.0)
    np.testing.assert_array_equal(again[0], out[0])


def test_fitting_gives_the_volume_to_coarse_faces(ball: Shape) -> None:
    nodes, tetrahedra = lattice(ball.field, 5.0)
    parts = split((nodes, tetrahedra, np.full(len(tetrahedra), 9)), ball.at(nodes), 9, 1)
    tetrahedra = parts[1][parts[2] == 1]
    parts = (parts[0], tetrahedra, np.ones(len(tetrahedra), dtype=int))
    lack = volumes(*parts[:2]).sum() / BALL.sum() - 1
    assert lack < -0.02
    fit = fitted(Fit(parts, [ball], np.zeros((len(parts[0]), 1))), 8, 1.0, relax=0.3)
    assert volumes(*fit.parts[:2]).sum() == pytest.approx(BALL.sum(), rel=0.005)
    on = on_surfaces(len(fit.parts[0]), *fit.surfaces, n_surfaces=1)[:, 0]
    radius = np.linalg.norm(fit.parts[0][on] - 15, axis=1)
    assert 10 < np.median(radius) < 10.5
    assert np.median(fit.lift_mm[on]) > 0.1
    assert len(interfaces(tetrahedra, parts[2], ())[0]) == len(fit.surfaces[0])


def test_elements_beyond_the_limits_are_named_with_their_place(block: Parts, ball: Shape) -> None:
    check_parts(block, [ball], {})
    nodes = flattened(*block[:2])
    bad = np.flatnonzero(fitness(nodes, block[1]) < 1 / ROOM)
    with pytest.raises(
        MeshQualityError, match=rf"{bad.size} of .*: {bad[0]} at \(.*\) mm.* shorter"
    ):
        check_parts((nodes, *block[1:]), [ball], {})
    lost = Shape(3, ball.field, 12.0)
    with pytest.raises(MeshQualityError, match=r"'lesion' .12 mm3. has got no element"):
        check_parts(block, [ball, lost], {3: "lesion"})
    two = block[1][np.unique(block[1], axis=0, return_index=True)[1]]
    pair = two[[0]], two[[k for k in range(len(two)) if len(set(two[0]) & set(two[k])) == 2][:1]]
    edge = np.concatenate(pair)
    with pytest.raises(MeshQualityError, match="touches itself at 1 edges"):
        check_parts((block[0], edge, np.ones(2, dtype=int)), [ball], {})


def test_batches_share_no_element_and_leave_no_node(block: Parts) -> None:
    nodes, tetrahedra, _ = block
    todo = np.random.default_rng(2).permutation(len(nodes))
    batches = list(Stars(tetrahedra, len(nodes)).apart(todo))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(len(nodes)))
    assert todo[0] in batches[0]
    for batch in batches:
        assert np.isin(tetrahedra, batch).sum(axis=1).max() == 1


def test_nodes_of_surfaces_stay_on_them_when_mended(block: Parts) -> None:
    nodes, tetrahedra, reference = block
    slab = DistanceField((POINTS[..., 2] - 30).astype(np.float32), Grid.of(POINTS.shape[:3], 1.0))
    shape = Shape(0, slab, 1.0, float(nodes[:, 2].max()) - 30)  # through the upper end
    top = np.isclose(nodes[:, 2], nodes[:, 2].max())
    spoilt = nodes.copy()
    corner = np.flatnonzero(top)[(nodes[top][:, :2] ** 2).sum(axis=1).argsort()[4]]
    spoilt[corner, :2] += 2.6
    assert fitness(spoilt, tetrahedra).min() < 1 / ROOM
    out = mended((spoilt, tetrahedra, reference), [shape], 1.0)[0]
    assert fitness(out, tetrahedra).min() > fitness(spoilt, tetrahedra).min() + 0.1
    assert np.abs(out[top][:, 2] - nodes[top][:, 2]).max() < 1e-6


def test_what_can_not_be_mended_on_a_surface_leaves_it_by_half_a_voxel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slab = DistanceField((POINTS[..., 2] - 15).astype(np.float32), Grid.of(POINTS.shape[:3], 1.0))
    shape = Shape(0, slab, 1.0)
    flat = np.array([[10, 10, 15.0], [18, 10, 15.0], [10, 18, 15.0], [12.7, 12.7, 15.01]])
    tetrahedra, reference = np.array([[0, 1, 2, 3]]), np.array([1])
    out = mended((flat, tetrahedra, reference), [shape], 1.0)[0]
    assert fitness(out, tetrahedra)[0] > 1 / ROOM
    assert 0.2 < np.abs(out[:, 2] - 15).max() <= 0.5
    monkeypatch.setattr(mend, "LAST", 0)
    kept = mended((flat, tetrahedra, reference), [shape], 1.0)[0]
    assert fitness(kept, tetrahedra)[0] < 1 / ROOM


def test_a_boundary_that_crosses_itself_is_taken_apart_or_refused(
    block: Parts, ball: Shape
) -> None:
    nodes, tetrahedra, _ = block
    gap = float(np.ptp(nodes[:, 0])) + 0.3
    both = np.concatenate([nodes, nodes + np.array([gap, 0, 0])])
    two = np.concatenate([tetrahedra, tetrahedra + len(nodes)])
    end = np.isclose(nodes[:, 0], nodes[:, 0].max())
    off = np.linalg.norm(nodes - nodes[end].mean(axis=0), axis=1)
    poked = both.copy()
    poked[off.argmin(), 0] += 0.7
    parts = poked, two, np.ones(len(two), dtype=int)
    assert not len(crossing(both, boundary(two)))
    assert len(crossing(poked, boundary(two)))
    with pytest.raises(MeshQualityError, match=r"crosses itself at \d+ triangles, the first near"):
        check_parts(parts, [ball], {})
    out = untangled(parts, ())
    check_parts(out, [ball], {})
    assert np.count_nonzero((out[0] != poked).any(axis=1)) < 20


def test_edges_at_which_the_boundary_touches_itself_are_taken_out(block: Parts) -> None:
    nodes, tetrahedra, reference = block
    # Take out two elements that have an inner edge and nothing else of its fan in common.
    inner = nodes[np.linalg.norm(nodes - 5.5, axis=1).argsort()[:2]]
    a, b = (int(np.linalg.norm(nodes - x, axis=1).argmin()) for x in inner)
    fan = np.flatnonzero((tetrahedra == a).any(axis=1) & (tetrahedra == b).any(axis=1))
    apart = [k for k in fan if np.isin(tetrahedra[k], tetrahedra[fan[0]]).sum() == 2]
    kept = ~np.isin(np.arange(len(tetrahedra)), [fan[0], apart[0]])
    pinched = nodes, tetrahedra[kept], reference[kept]
    assert len(crowded_edges(boundary(pinched[1]))) == 1
    out = unpinched(pinched)
    assert not len(crowded_edges(boundary(out[1])))
    assert len(pinched[1]) - 4 <= len(out[1]) < len(pinched[1])
    assert len(unpinched(block)[1]) == len(tetrahedra)
